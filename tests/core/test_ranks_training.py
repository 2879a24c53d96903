"""A job on two processes is the job of one: the same losses, weights and facts; and they end together."""

# ruff: noqa: N806 - a tensor's name ends with its axes

import hashlib
import json
import math
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from torch.nn.parallel import DistributedDataParallel
from transformers import LlamaConfig, LlamaForCausalLM

from neftune_core import train
from neftune_core.batches import Arrangement, steps
from neftune_core.losses import LossHead
from neftune_core.noise import Layout, Noise, draw, noisy_embeddings
from neftune_core.progress import Wanted
from neftune_core.ranks import ALONE, Ranks
from neftune_core.rows import read_rows
from neftune_core.sampling import held_out
from neftune_core.spec import TrainingSpec
from neftune_core.stepper import Stepper
from tests.core.processes import in_processes
from tests.core.test_batches import make_examples
from tests.core.tiny import CONFIG, AfterStep, Never, Notebook, make_base, make_rows, make_spec

pytestmark = [
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning"),
]  # long: ranks themselves are tested in test_ranks.py

STEPS, ROWS = 8, make_rows(26)
PACKED = {"packing": "on"}
MEANS = {"loss_reduction": "micro_batch", "micro_batch_size": 3}
# 25 rows in steps of 8: each epoch's last step has one example, so one process has none.
CASES = {
    "lora": {"alpha": 10.0},
    "lora, packed": {"alpha": 10.0, "training": PACKED},
    "lora, alpha 0": {"alpha": 0.0},
    "nf4": {"alpha": 10.0, "method": "qlora"},
    "nf4, packed": {"alpha": 10.0, "method": "qlora", "training": PACKED},
    "full": {"alpha": 10.0, "method": "full"},
    "full, recomputed": {"alpha": 10.0, "method": "full", "training": {"gradient_checkpointing": True}},
    "mean of means": {"alpha": 10.0, "training": MEANS},
}
SAME = 1e-5


def spec_of(dropout=0.0, **parts):
    training = {"max_steps": STEPS, "packing": "off", "eval_every": 4, **parts.get("training", {})}
    common = {"lora": {"lora_dropout": dropout}, "noise": {"clean_loss_every": 4}, "resources": {"gpus": 0}}
    return make_spec(**{**common, **parts, "training": training})


class Watched(Stepper):
    """Remembers what reaches the first layer, example by example."""

    arrived = {}  # noqa: RUF012 - one process, one set

    def __init__(self, model, head, noisy, training, **options):
        super().__init__(model, head, noisy, training, **options)
        layer = next(module for module in model.modules() if type(module).__name__ == "LlamaDecoderLayer")
        layer.register_forward_pre_hook(self.watch, with_kwargs=True)

    def watch(self, _layer, args, kwargs):
        if self._noisy._batch is None:
            return
        layout, epoch, _strength = self._noisy._batch
        hidden_BTD = (*args, kwargs.get("hidden_states"))[0].detach()
        for number, key in enumerate(layout.key_S.tolist()):
            mine_ND = hidden_BTD[layout.segment_BT == number].contiguous()
            self.arrived[epoch, key] = hashlib.sha256(mine_ND.numpy().data).hexdigest()


def train_once(ranks, base, out, spec, *, stop=None, checkpoints=None):
    """Train on 25 rows; give what was told. ``stop``: after which step, and on which rank it is asked."""
    torch.set_num_threads(1)
    notebook, folder = Notebook(), out / str(ranks.rank)
    folder.mkdir(parents=True, exist_ok=True)
    asked = AfterStep(notebook, stop[0]) if stop and stop[1] == ranks.rank else Never()
    notebook.outcome = train.run(
        spec, ROWS[:25], ROWS[25:], folder, base, notebook, asked, ranks, checkpoints=checkpoints
    )
    return notebook


def train_all(ranks, base, out):
    """Train every case; what was told, and what reached the first layer."""
    train.Stepper = Watched
    told = {}
    for number, (case, parts) in enumerate(CASES.items()):
        Watched.arrived = {}
        told[case] = train_once(ranks, base, out / str(number), spec_of(**parts))
        told[case].arrived = Watched.arrived
    train.Stepper = Stepper
    return told


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def alone(base, tmp_path_factory):
    return train_all(ALONE, base, tmp_path_factory.mktemp("alone"))


@pytest.fixture(scope="module")
def both(base, tmp_path_factory):
    return results(in_processes(train_all, base, tmp_path_factory.mktemp("both")))


def results(ended):
    assert [(each.code, each.detail, each.by_signal) for each in ended] == [("", "", None)] * len(ended)
    return [each.result for each in ended]


def weights(outcome):
    [file] = outcome.folder.glob("*.safetensors")
    return load_file(file)


def furthest(ones, others):
    """Give the largest difference between two sets of weights."""
    assert ones.keys() == others.keys()
    return max(float((ones[name] - others[name]).abs().max()) for name in ones)


# The same run


@pytest.mark.parametrize("case", CASES)
def test_two_processes_take_the_steps_of_one(case, alone, both):
    for name in ("train_loss", "clean_train_loss", "eval_loss"):
        expected = alone[case].series(name)
        assert len(expected) == {"train_loss": 8, "clean_train_loss": 3, "eval_loss": 3}[name]
        for rank in both:
            assert rank[case].series(name) == pytest.approx(expected, abs=SAME, rel=0)
    assert alone[case].series("train_loss")[-1] < alone[case].series("train_loss")[0] - 0.1, "it learns"


@pytest.mark.parametrize("case", CASES)
def test_two_processes_end_with_the_weights_of_one(case, alone, both):
    # AdamW divides a gradient by its own size, so weights show the last bits of tiny ones: measured 3e-7 to
    # 1.4e-5 here, and up to 1.6e-5 between micro-batches of 8 and of 1 in one process. A step moves 1e-3.
    assert furthest(weights(both[0][case].outcome), weights(alone[case].outcome)) <= 5e-5


@pytest.mark.parametrize("case", CASES)
def test_only_the_process_that_leads_has_a_result(case, both):
    assert both[0][case].outcome.kind in {"adapter", "model"}
    assert both[1][case].outcome.kind == ""


@pytest.mark.parametrize("case", ["lora", "lora, packed", "nf4"])
def test_each_example_gets_the_same_noise_to_the_bit(case, alone, both):
    """The embedding is frozen here, so what reaches the first layer tells the noise."""
    first, second = (rank[case].arrived for rank in both)
    assert len(alone[case].arrived) >= 50, "two epochs"
    assert {**first, **second} == alone[case].arrived == alone["lora"].arrived
    assert not first.keys() & second.keys()
    assert len(first) > 15
    assert len(second) > 15


def test_the_noise_of_all_processes_is_verified(alone, both):
    [expected] = alone["lora"].named("neftune.verified")
    for rank in both:
        [verified] = rank["lora"].named("neftune.verified")
        assert verified == pytest.approx(expected, rel=1e-9)
    assert both[0]["lora"].series("noise_effective_alpha") == pytest.approx(
        alone["lora"].series("noise_effective_alpha"), rel=1e-9
    )


# Faults


def not_a_number(ranks, base, out):
    """On rank 1 the losses of one batch are no number."""
    calls = []
    whole = LossHead.__call__

    def spoiled(head, batch):
        losses = whole(head, batch)
        calls.extend([1] * torch.is_grad_enabled())
        spoils = ranks.rank == 1 and len(calls) == 2 and torch.is_grad_enabled()
        return replace(losses, loss_M=losses.loss_M * math.nan) if spoils else losses

    LossHead.__call__ = spoiled
    return train_once(ranks, base, out, spec_of(alpha=5.0))


def test_a_loss_that_is_no_number_skips_the_step_on_all(base, tmp_path):
    told = results(in_processes(not_a_number, base, tmp_path))
    for rank in told:
        assert [skipped["step"] for skipped in rank.named("run.step_skipped")] == [2]
        assert [rank.steps[step]["train_loss"] is None for step in (1, 2, 3)] == [False, True, False]
    assert told[0].series("train_loss") == told[1].series("train_loss")


class AnotherIsUnbounded(Ranks):
    """Two ranks, of which the other one found its gradient norm infinite."""

    def share(self, examples, **_how):
        return list(examples)

    def sum_gradients(self, parameters):
        """Leave them."""

    def sum(self, *values):
        loss, correct, unbounded = values
        return [loss, correct, unbounded + 1]


def test_a_norm_that_is_infinite_on_any_rank_skips_the_step_on_all():
    model = LlamaForCausalLM(LlamaConfig(**CONFIG))
    before = [parameter.clone() for parameter in model.parameters()]
    [step] = steps(make_examples(8), batch_size=8, total_steps=1, seed=1)
    with noisy_embeddings(model, Noise(0.0, 1)) as noisy:
        head, ranks = LossHead(model, torch.device("cpu")), AnotherIsUnbounded(0, 2)
        stepper = Stepper(model, head, noisy, TrainingSpec(), arrangement=Arrangement(8, 0), ranks=ranks)
        taken = stepper.take(step, 1e-3)
    assert taken.skipped
    assert taken.loss > 0
    assert all(map(torch.equal, before, model.parameters()))


def out_of_memory(ranks, base, out):
    """On rank 1 the first batch of several examples does not fit."""
    whole, fits = LossHead.__call__, []

    def first_too_large(head, batch):
        if torch.is_grad_enabled() and ranks.rank == 1 and not fits:
            fits.append(True)
            raise torch.OutOfMemoryError("no memory")
        return whole(head, batch)

    LossHead.__call__ = first_too_large
    return train_once(ranks, base, out, spec_of(alpha=10.0, training={"micro_batch_size": "auto"}))


def test_a_rank_that_runs_out_of_memory_halves_its_own_rows_and_changes_no_number(base, tmp_path, alone):
    first, second = results(in_processes(out_of_memory, base, tmp_path))
    assert first.series("train_loss") == second.series("train_loss")
    assert first.series("train_loss") == pytest.approx(alone["lora"].series("train_loss"), abs=SAME, rel=0)


def with_another_seed(ranks, base, out):
    return train_once(ranks, base, out, spec_of(training={"seed": ranks.rank}))


def test_ranks_with_different_specs_are_refused(base, tmp_path):
    for ended in in_processes(with_another_seed, base, tmp_path):
        assert (ended.code, ended.detail) == ("ranks_differ", "The processes of this job differ in spec.")


def with_other_first_weights(ranks, base, out):
    seeded = torch.manual_seed
    torch.manual_seed = lambda seed: seeded(seed + ranks.rank)
    return train_once(ranks, base, out, spec_of())


def test_ranks_that_begin_with_different_weights_are_refused(base, tmp_path):
    for ended in in_processes(with_other_first_weights, base, tmp_path):
        assert ended.code == "ranks_differ"
        assert "first weights" in ended.detail


# Stopping and going on


def stopped_and_straight(ranks, base, out):
    """Stop when rank 1 is asked after step 3, go on; and the same run without a stop."""
    spec = spec_of(dropout=0.1, alpha=5.0)
    folder = out / "checkpoints"
    asked = train_once(ranks, base, out / "a", spec, stop=(3, 1), checkpoints=Wanted(folder))
    went_on = train_once(ranks, base, out / "a", spec, checkpoints=Wanted(folder, resume=True))
    return asked, went_on, train_once(ranks, base, out / "b", spec)


@pytest.fixture(scope="module")
def stopped(base, tmp_path_factory):
    return results(in_processes(stopped_and_straight, base, tmp_path_factory.mktemp("stopped")))


def test_a_stop_asked_of_one_rank_ends_all_after_the_same_step(stopped):
    for asked, _, _ in stopped:
        assert asked.outcome.stopped
        assert sorted(asked.steps) == [0, 1, 2, 3]


def test_a_stopped_job_of_two_goes_on_to_the_bit_with_dropout(stopped):
    _, went_on, straight = stopped[0]
    assert sorted(went_on.steps) == [4, 5, 6, 7, 8]
    assert weights(went_on.outcome).keys() == weights(straight.outcome).keys()
    assert furthest(weights(went_on.outcome), weights(straight.outcome)) == 0


# A foreign wrapper


def wrapped_in_ddp(ranks):
    """Give the noise that reaches a model in ``DistributedDataParallel``, and the gradients' sum."""
    torch.manual_seed(0)
    model = DistributedDataParallel(LlamaForCausalLM(LlamaConfig(**CONFIG)).train())
    ids_BT, mask_BT = torch.arange(24).view(2, 12), torch.ones(2, 12, dtype=torch.int64)
    mask_BT[1, 7:] = 0
    layout = Layout.padded(mask_BT, torch.tensor([10, 11]) + ranks.rank * 100)
    arrived = []
    model.module.model.layers[0].register_forward_pre_hook(
        lambda _layer, args, kwargs: arrived.append((*args, kwargs.get("hidden_states"))[0]), with_kwargs=True
    )
    noise = Noise(10.0, 42)
    with noisy_embeddings(model, noise) as noisy, noisy.during(layout, 1):
        arrived.clear()
        model(input_ids=ids_BT, attention_mask=mask_BT, labels=ids_BT, use_cache=False).loss.backward()
    clean_BTD = model.module.model.embed_tokens(ids_BT)
    drawn_BTD = draw(noise, layout, 1, 64, torch.device("cpu"))
    gradient = model.module.lm_head.weight.grad
    return torch.equal(arrived[-1], clean_BTD + drawn_BTD), drawn_BTD.tolist(), float(gradient.sum())


def test_the_noise_reaches_a_model_in_ddp_each_rank_its_own():
    (first, one, gradient), (second, other, same) = results(in_processes(wrapped_in_ddp))
    assert first
    assert second
    assert one != other
    assert gradient == same


# The command


@pytest.mark.long  # processes started by hand are as many
def test_torchrun_makes_one_record_and_the_result_of_one_process(base, tmp_path):
    rows, spec, asked = tmp_path / "rows.jsonl", tmp_path / "spec.json", spec_of(alpha=10.0)
    spec.write_text(asked.model_dump_json())
    turns = [[{"role": turn.role, "content": turn.content} for turn in row.messages] for row in ROWS]
    rows.write_text("\n".join(json.dumps({"messages": each}) for each in turns))
    launched = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "neftune_core"]
    told = subprocess.run(
        [sys.executable, "-m", *launched, "run", spec, rows, tmp_path / "two", "--model-dir", base],
        env={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    assert told.stderr.count("run.completed") == told.stderr.count("step 8/8") == 1

    (tmp_path / "one").mkdir()
    one = train.run(
        asked, *held_out(list(read_rows(rows)), 0.05, 42), tmp_path / "one", base, Notebook(), Never()
    )
    record = json.loads((tmp_path / "two" / "record.json").read_text())
    assert record["hardware"]["processes"] == 2
    assert record["final"] == pytest.approx(one.final, abs=SAME, rel=0)
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == ["adapter", "record.json"]
    adapter = load_file(tmp_path / "two" / "adapter" / "adapter_model.safetensors")
    assert furthest(adapter, weights(one)) <= SAME

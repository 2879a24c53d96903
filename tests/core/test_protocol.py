"""The paper's protocol in whole runs: what is cut, split, left out and told, pad tokens, seeds, presets."""

import hashlib

import pytest
import torch

from neftune_core import train
from neftune_core.batches import steps
from neftune_core.errors import SpecError
from neftune_core.material import gather
from neftune_core.rows import Message, Row
from neftune_core.sampling import held_out
from neftune_core.spec import JobSpec
from tests.core.tiny import Never, Notebook, make_base, make_rows, make_spec, make_tokenizer

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
GREETING = 143  # tokens of Vicuna's system sentence and what is around it


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture
def trained(base, tmp_path):
    """Train and give what was told, with the hash of the weights that came out."""

    def run(rows=None, eval_rows=(), model_dir=base, spec=None, **parts):
        torch.set_num_threads(1)
        told = Notebook()
        spec = spec or make_spec(**parts)
        rows = make_rows(24) if rows is None else rows
        told.outcome = train.run(spec, rows, eval_rows, tmp_path, model_dir, told, Never())
        weights = sorted(told.outcome.folder.glob("*.safetensors"))
        told.weights = hashlib.sha256(b"".join(path.read_bytes() for path in weights)).hexdigest()
        [told.planned] = told.named("run.planned")
        return told

    return run


def conversation(number, exchanges):
    turns = [
        turn
        for n in range(exchanges)
        for turn in (
            Message("user", f"question {n} of {number}"),
            Message("assistant", f"answer {n} of {number}"),
        )
    ]
    return Row("sharegpt", messages=tuple(turns))


# What is cut, split and left out


def test_rows_that_lost_their_end_are_told(trained):
    told = trained(training={"max_length": 60})
    [warning] = told.planned["warnings"][1:]
    assert warning == "6 examples were cut at 60 tokens; 6 of them lost their end-of-text token"


def test_split_conversations_are_counted_as_rows_and_planned_as_examples(trained):
    rows = [conversation(number, 8) for number in range(4)]
    told = trained(rows, [conversation(9, 8)], training={"max_length": GREETING + 160})
    planned = told.planned
    assert (planned["train_rows"], planned["eval_rows"]) == (4, 1)
    assert planned["train_examples"] > 8
    assert planned["steps_per_epoch"] == -(-planned["train_examples"] // 8)
    assert "4 conversations were split at their turns" in planned["warnings"][0]
    assert told.outcome.resolved["train_examples"] == planned["train_examples"]


def test_a_smaller_last_step_is_left_out_where_asked(trained, base):
    training = {"max_steps": None, "epochs": 2.0, "batch_size": 5}
    kept, dropped = (trained(training={**training, "drop_last": choice}) for choice in (False, True))
    examples = gather(make_spec(), make_rows(24), (), base).train.examples
    taken = list(steps(examples, 5, 8, 42, drop_last=True))
    assert (kept.planned["total_steps"], dropped.planned["total_steps"]) == (10, 8)
    assert [len(step.examples) for step in taken] == [5] * 8
    assert dropped.steps[8]["tokens"] == sum(step.tokens for step in taken)
    assert dropped.steps[5]["epoch"] == 1.25


def test_the_only_step_of_an_epoch_is_taken_however_small(trained):
    few = trained(training={"batch_size": 30, "drop_last": True})
    assert few.planned["steps_per_epoch"] == 1
    assert "drop_last drops nothing" in few.planned["warnings"][-1]


# The noise's target


@pytest.mark.parametrize("target", ["prompt", "response"])
def test_text_is_response_whole(target, trained):
    rows = [Row("text", kind="text", text=f"some words {number}") for number in range(24)]
    if target == "prompt":
        with pytest.raises(SpecError, match="have no prompt"):
            trained(rows, noise={"target": target})
        assert trained(rows, alpha=0, noise={"target": target}).steps
    else:
        everything = trained(rows)
        assert trained(rows, noise={"target": target}).weights == everything.weights


# Pad tokens


@pytest.fixture(scope="module")
def padless(tmp_path_factory):
    """The same base with other ideas of a pad token."""

    def made(pad_token):
        folder = make_base(tmp_path_factory.mktemp("padless"))
        tokenizer = make_tokenizer()
        tokenizer.pad_token = pad_token
        tokenizer.save_pretrained(folder)
        return folder

    return {name: made(name) for name in (None, "</s>", "<s>")}


@pytest.mark.parametrize("pad_token", [None, "</s>", "<s>"])
@pytest.mark.parametrize("packing", ["on", "off"])
def test_what_the_pad_token_is_changes_nothing(pad_token, packing, trained, padless):
    rows = [Row("alpaca", messages=row.messages) for row in make_rows(24)]
    how = {"method": "full", "training": {"packing": packing, "max_length": 512, "max_steps": 2}}

    usual, other = trained(rows, **how), trained(rows, model_dir=padless[pad_token], **how)

    assert other.outcome.resolved["template"] == "alpaca"
    assert other.weights == usual.weights  # the end-of-text token learnt, nothing resized
    assert other.steps == {step: {**values, "tokens_per_s": other.steps[step]["tokens_per_s"]}
                           for step, values in usual.steps.items()}  # fmt: skip


# Seeds


def test_a_seed_repeats_everything(trained):
    how = {"training": {"seed": 2**31 - 1, "max_steps": 2}, "lora": {"lora_dropout": 0.2}}
    assert trained(**how).weights == trained(**how).weights


# With all rows in one step their order decides nothing, and a fresh adapter does nothing in the first one.
ALL_ROWS = {"batch_size": 24}


@pytest.mark.parametrize(
    ("seeded", "parts", "step"),
    [
        ("nothing", {"training": ALL_ROWS}, 1),
        ("the adapter's first weights", {"training": ALL_ROWS}, 2),
        ("noise", {"training": ALL_ROWS, "alpha": 5}, 1),
        ("order", {"training": {"batch_size": 4}}, 1),
        ("dropout", {"training": ALL_ROWS, "model_dir": "dropping", "method": "full"}, 1),
    ],
)
def test_a_seed_decides(seeded, parts, step, trained, tmp_path):
    parts = {"alpha": 0, **parts}
    if "model_dir" in parts:
        parts["model_dir"] = make_base(tmp_path / "base", attention_dropout=0.3)

    def loss(seed):
        training = {"max_steps": 2, **parts["training"], "seed": seed}
        return trained(**{**parts, "training": training}).steps[step]["train_loss"]

    assert loss(1) == loss(1)
    assert (loss(1) == pytest.approx(loss(2), rel=1e-6)) == (seeded == "nothing")


def test_a_seed_decides_what_is_held_out():
    assert held_out(range(24), 0.5, 1) == held_out(range(24), 0.5, 1) != held_out(range(24), 0.5, 2)


# Presets


@pytest.mark.parametrize(("preset", "kind"), [("paper-alpaca", "model"), ("paper-qlora", "adapter")])
def test_a_preset_trains(preset, kind, trained):
    spec = JobSpec.model_validate(
        {
            "model": "acme/tiny",
            "dataset": "ds_tiny",
            "preset": preset,
            "training": {"batch_size": 8, "epochs": 1},
        }
    )
    rows = [Row("alpaca", messages=row.messages) for row in make_rows(30)]

    told = trained(rows, spec=spec)

    assert told.outcome.kind == kind
    assert told.planned["total_steps"] == 3  # of 30 rows, 6 make no whole step
    assert (told.outcome.resolved["packing"], told.outcome.resolved["micro_batch_size"]) == ("off", 4)
    assert told.named("neftune.verified")[0]["effective_alpha"] == pytest.approx(5, rel=0.02)
    assert (
        f"preset {preset} gives way to the job's own training.epochs, training.batch_size"
        in (told.planned["warnings"])
    )

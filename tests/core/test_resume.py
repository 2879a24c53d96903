"""Stopping and going on: the run that was interrupted is the run that was not, to the bit."""

import itertools
import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from neftune_core import progress, train
from neftune_core.batches import Step, steps
from neftune_core.errors import CheckpointDamaged, CheckpointMismatch, NonFiniteLoss
from neftune_core.guards import EarlyStop, SkipGuard
from neftune_core.progress import Wanted
from neftune_core.prompts import render
from neftune_core.spec import JobSpec
from neftune_core.stepper import Taken
from neftune_core.surroundings import versions
from neftune_core.tokenise import prepare
from tests.core.tiny import AfterStep, Never, Notebook, make_base, make_rows, make_spec, make_tokenizer

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

ROWS, HELD_OUT = make_rows(22), make_rows(30)[22:]
STEPS = 24  # of 4 rows: six in an epoch, the last of them with two rows
WEIGHTS = {"full": "model/model.safetensors"}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def spec_of(**parts):
    training = {"max_steps": STEPS, "batch_size": 4, "seed": 3, "eval_every": 5, **parts.pop("training", {})}
    return make_spec(**parts, training=training)


def begin(base, out, spec, stop=None, *, resume=False, checkpoints=True, rows=ROWS, held_out=HELD_OUT):
    """Run, or go on; give what was told. ``stop``: after which step, or how to make a signal."""
    # Whatever a process before this one did with the generators must not matter.
    torch.manual_seed(int(resume) + 1000)
    notebook = Notebook()
    signal = AfterStep(notebook, stop) if isinstance(stop, int) else stop(notebook) if stop else Never()
    notebook.outcome = train.run(
        spec,
        rows,
        held_out,
        out,
        base,
        notebook,
        signal,
        checkpoints=Wanted(out / "checkpoints", resume) if checkpoints else None,
    )
    return notebook


def interrupted(base, out, spec, stops, **options):
    """Run with interruptions; give what all the runs told."""
    first, *others = (*stops, None)
    told = [begin(base, out, spec, first, **options)]
    return told + [begin(base, out, spec, stop, resume=True, **options) for stop in others]


def weights(out, spec):
    return (out / WEIGHTS.get(spec.method, "adapter/adapter_model.safetensors")).read_bytes()


def numbers(notebooks):
    """Give what was told of each step, but for what the clock said; a step told twice has two entries."""
    return [
        (step, {name: value for name, value in values.items() if name != "tokens_per_s"})
        for notebook in notebooks
        for step, values in sorted(notebook.steps.items())
    ]


@pytest.mark.parametrize(
    "parts",
    [
        {"lora": {"lora_dropout": 0.1}, "training": {"packing": "off"}},
        {"lora": {"lora_dropout": 0.1}, "training": {"packing": "on"}},
        {"method": "qlora"},
        {"method": "full"},
    ],
    ids=["lora padded", "lora packed", "qlora", "full"],
)
def test_stopped_at_steps_3_10_and_17_a_run_comes_to_the_same_bytes(parts, base, tmp_path):
    spec = spec_of(alpha=10.0, **parts)

    whole = begin(base, tmp_path / "whole", spec, checkpoints=False)
    pieces = interrupted(base, tmp_path / "pieces", spec, (3, 10, 17))

    assert [piece.outcome.stopped for piece in pieces] == [True, True, True, False]
    assert [max(piece.steps) for piece in pieces] == [3, 10, 17, STEPS]
    assert weights(tmp_path / "pieces", spec) == weights(tmp_path / "whole", spec)
    # Each step was told once, with the very numbers: the noise is the same, and so are data and dropout
    assert numbers(pieces) == numbers([whole])
    assert pieces[-1].outcome.final == whole.outcome.final
    assert pieces[-1].outcome.noise == whole.outcome.noise
    assert pieces[-1].outcome.probe == whole.outcome.probe
    assert (whole.outcome.resumed, pieces[-1].outcome.resumed) == ([], [3, 10, 17])
    assert [piece.named("run.resumed") for piece in pieces] == [
        [], *([{"step": step, "other_versions": []}] for step in (3, 10, 17))
    ]  # fmt: skip


def test_stopped_in_an_evaluation_the_step_is_told_when_its_loss_is_known(base, tmp_path):
    class InEvaluation(AfterStep):
        """Comes after step 4 was told and step 5 begun, whose held-out rows are measured."""

        asked = 0

        def requested(self):
            self.asked += super().requested()
            return self.asked > 1

    spec = spec_of(training={"max_steps": 6})
    whole = begin(base, tmp_path / "whole", spec, checkpoints=False)

    stopped = begin(base, tmp_path / "out", spec, lambda notebook: InEvaluation(notebook, 4))
    resumed = begin(base, tmp_path / "out", spec, resume=True)

    assert [sorted(told.steps)[-1] for told in (stopped, resumed)] == [4, 6]
    assert [step for step, _ in stopped.checkpoints] == [5]
    assert numbers([stopped, resumed]) == numbers([whole])
    assert weights(tmp_path / "out", spec) == weights(tmp_path / "whole", spec)


def test_patience_goes_on_where_it_was(base, tmp_path):
    training = {"eval_every": 1, "early_stop": {"patience": 2}, "learning_rate": 0.5}
    spec = spec_of(training=training)
    whole = begin(base, tmp_path / "whole", spec, checkpoints=False)
    last = max(whole.steps)

    pieces = interrupted(base, tmp_path / "out", spec, (last - 2, last - 1))

    assert last < STEPS
    assert numbers(pieces) == numbers([whole])
    assert pieces[-1].named("run.stopped_early") == whole.named("run.stopped_early")
    assert pieces[-1].outcome.final == whole.outcome.final


def test_a_run_that_stopped_early_takes_no_further_step(base, tmp_path):
    class InFinalReport(AfterStep):
        def requested(self):
            return bool(self.notebook.named("run.stopped_early"))

    training = {"eval_every": 1, "early_stop": {"patience": 2}, "learning_rate": 0.5}
    spec = spec_of(training=training)
    whole = begin(base, tmp_path / "whole", spec, checkpoints=False)

    stopped = begin(base, tmp_path / "out", spec, lambda notebook: InFinalReport(notebook, 0))
    resumed = begin(base, tmp_path / "out", spec, resume=True)

    assert stopped.outcome.stopped
    assert resumed.steps == {}
    assert resumed.outcome.final == whole.outcome.final
    assert weights(tmp_path / "out", spec) == weights(tmp_path / "whole", spec)


def test_noise_is_verified_once_with_all_that_was_measured(base, tmp_path):
    spec = spec_of(alpha=10.0, training={"max_steps": 12, "batch_size": 1})
    whole = begin(base, tmp_path / "whole", spec, checkpoints=False)
    enough = whole.outcome.noise["examples"]  # one a step

    pieces = interrupted(base, tmp_path / "out", spec, (enough - 1, enough + 1))

    assert 1 < enough < 11
    assert [len(piece.named("neftune.verified")) for piece in pieces] == [0, 1, 0]
    assert pieces[-1].outcome.noise == whole.outcome.noise


def test_guards_hand_on_what_they_remember():
    early = EarlyStop(2, 1.0)
    early.saw(2.0)
    another = EarlyStop(2, None)
    another.go_on(json.loads(json.dumps(early.state())))
    assert another.saw(1.5)

    skips = SkipGuard(Notebook())
    step, bad = Step(1, 0, ()), Taken(None, None, 0.0)
    for _ in range(2):
        skips.saw(step, bad)
    others = SkipGuard(Notebook())
    others.go_on(json.loads(json.dumps(skips.state())))
    others.saw(step, bad)
    with pytest.raises(NonFiniteLoss, match="4 steps in a row"):
        others.saw(step, bad)


# When a checkpoint is saved, and which is taken


class Killed(Exception):
    """The process is gone."""


def killed_after(step, base, out, spec):
    """Run until a step was told and then die, as far as a test in one process can."""

    class Mortal(Notebook):
        def metrics(self, number, values):
            super().metrics(number, values)
            if number == step:
                raise Killed

    notebook = Mortal()
    with pytest.raises(Killed):
        train.run(spec, ROWS, HELD_OUT, out, base, notebook, Never(), checkpoints=Wanted(out / "checkpoints"))
    return notebook


def names(out):
    return sorted(path.name for path in (out / "checkpoints").iterdir())


def test_a_killed_run_goes_on_from_the_last_saved_step(base, tmp_path):
    spec = spec_of(training={"max_steps": 10, "save_every": 2})
    whole = begin(base, tmp_path / "whole", spec, checkpoints=False)

    dead = killed_after(7, base, tmp_path / "out", spec)
    saved = names(tmp_path / "out")
    resumed = begin(base, tmp_path / "out", spec, resume=True)

    assert [step for step, _ in dead.checkpoints] == [2, 4, 6]
    assert saved == ["step-00000004", "step-00000006"]  # keep_checkpoints is 2
    assert numbers([resumed]) == numbers([whole])[7:]
    assert [step for step, _ in resumed.checkpoints] == [8, 10]
    assert names(tmp_path / "out") == ["step-00000008", "step-00000010"]
    assert weights(tmp_path / "out", spec) == weights(tmp_path / "whole", spec)


def test_a_run_that_is_stopped_where_it_was_just_saved_is_not_saved_again(base, tmp_path):
    told = begin(base, tmp_path, spec_of(training={"max_steps": 6, "save_every": 2}), 4)

    assert told.outcome.stopped
    assert [step for step, _ in told.checkpoints] == [2, 4]


def test_by_time_a_checkpoint_is_saved_when_it_has_passed(base, tmp_path, monkeypatch):
    ticks = itertools.count(step=25)  # seconds between two looks at the clock
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(ticks)))

    told = begin(base, tmp_path, spec_of(training={"max_steps": 6, "save_every": "1m"}))

    # Looked at when the run begins, after each step, and after each saving
    assert [step for step, _ in told.checkpoints] == [3, 6]


def test_without_a_checkpoint_to_go_on_from_a_run_begins(base, tmp_path):
    told = begin(base, tmp_path, spec_of(training={"max_steps": 2}), resume=True)

    assert sorted(told.steps) == [0, 1, 2]
    assert told.named("run.resumed") == []


def flip(path):
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.fixture(scope="module")
def saved(base, tmp_path_factory):
    """Checkpoints of steps 4 and 5 of a run of six steps, and the weights it comes to."""
    out = tmp_path_factory.mktemp("saved")
    spec = spec_of(lora={"lora_dropout": 0.1}, training={"max_steps": 6, "save_every": 1, "eval_every": 1})
    killed_after(6, base, out, spec)
    begin(base, out / "whole", spec, checkpoints=False)
    return out, spec, weights(out / "whole", spec)


@pytest.fixture
def copied(saved, tmp_path):
    shutil.copytree(saved[0] / "checkpoints", tmp_path / "checkpoints")
    return tmp_path, *saved[1:]


@pytest.mark.parametrize(
    "name",
    [
        "weights.safetensors",
        "optimizer.safetensors",
        "generators.safetensors",
        "best.safetensors",
        "state.json",
        "manifest.json",
    ],
)
@pytest.mark.fault("F40")
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(name, base, copied):
    out, spec, expected = copied
    flip(out / "checkpoints" / "step-00000005" / name)

    told = begin(base, out, spec, resume=True)

    [refused] = told.named("checkpoint.refused")
    assert refused["name"] == "step-00000005"
    assert told.named("run.resumed") == [{"step": 4, "other_versions": []}]
    assert weights(out, spec) == expected


def test_with_every_checkpoint_damaged_nothing_is_thrown_away_silently(base, copied):
    out, spec, _ = copied
    for folder in (out / "checkpoints").iterdir():
        (folder / "weights.safetensors").unlink()

    with pytest.raises(
        CheckpointDamaged, match=r"step-00000004 is not as it was written: weights\.safetensors"
    ):
        begin(base, out, spec, resume=True)


@pytest.mark.parametrize(
    ("parts", "told"),
    [({"alpha": 6.0}, "spec"), ({"lora": {"r": 8, "lora_dropout": 0.1}}, "spec"), ({"rows": 21}, "data")],
)
def test_a_checkpoint_of_another_run_is_refused(parts, told, base, copied):
    out, spec, _ = copied
    rows = ROWS[: parts.pop("rows", None)]
    changed = JobSpec.model_validate({**spec.model_dump(mode="json"), **parts})

    with pytest.raises(CheckpointMismatch, match=f"belongs to another run: {told} differ"):
        begin(base, out, changed, resume=True, rows=rows)


def test_a_checkpoint_of_another_base_is_refused(copied, tmp_path):
    out, spec, _ = copied
    other = make_base(tmp_path / "other", seed=1)

    with pytest.raises(CheckpointMismatch, match="belongs to another base model"):
        begin(other, out, spec, resume=True)


def test_what_decides_no_weight_may_change(base, copied):
    out, spec, expected = copied
    told = spec.model_dump(mode="json")
    training = {**told["training"], "save_every": "1h", "keep_checkpoints": 1}
    changed = JobSpec.model_validate({**told, "name": "again", "tags": ["late"], "training": training})

    begin(base, out, changed, resume=True)

    assert weights(out, spec) == expected


def test_another_version_of_a_library_is_told_and_taken(base, copied, monkeypatch):
    out, spec, _ = copied
    here = {**versions(), "torch": "9.0"}
    monkeypatch.setattr(progress, "versions", lambda: here)

    told = begin(base, out, spec, resume=True)

    assert told.named("run.resumed") == [{"step": 5, "other_versions": ["torch"]}]


def test_generators_go_on_from_where_they_were(base, copied):
    """With dropout on, other states of the generator would be other weights."""
    out, spec, expected = copied
    folder = out / "checkpoints" / "step-00000005"
    states = load_file(folder / "generators.safetensors")
    assert set(states) == ({"cpu", "cuda"} if torch.cuda.is_available() else {"cpu"})

    begin(base, out, spec, resume=True)

    assert weights(out, spec) == expected


def test_the_walk_of_a_plan_begins_anywhere_with_the_same_steps():
    tokenizer = make_tokenizer()
    rendered = ((number, render(row, "chat", tokenizer)) for number, row in enumerate(make_rows(10)))
    examples = prepare(rendered, tokenizer, 128).examples
    whole = list(steps(examples, batch_size=4, total_steps=8, seed=1))

    for after in range(9):
        assert list(steps(examples, 4, 8, 1, after=after)) == whole[after:]

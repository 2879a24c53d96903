"""Stopping and going on: the run that was interrupted is the run that was not, to the bit."""

import pytest
import torch

from neftune_core import train
from neftune_core.batches import steps
from neftune_core.progress import Wanted
from neftune_core.prompts import render
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


def begin(base, out, spec, stop_after=None, *, resume=False, checkpoints=True, rows=ROWS, held_out=HELD_OUT):
    """Run, or go on; give what was told."""
    # Whatever a process before this one did with the generators must not matter.
    torch.manual_seed(int(resume) + 1000)
    notebook = Notebook()
    notebook.outcome = train.run(
        spec,
        rows,
        held_out,
        out,
        base,
        notebook,
        Never() if stop_after is None else AfterStep(notebook, stop_after),
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
    assert [piece.named("run.resumed") for piece in pieces] == [
        [], *([{"step": step, "other_versions": []}] for step in (3, 10, 17))
    ]  # fmt: skip


def test_the_walk_of_a_plan_begins_anywhere_with_the_same_steps():
    tokenizer = make_tokenizer()
    rendered = ((number, render(row, "chat", tokenizer)) for number, row in enumerate(make_rows(10)))
    examples = prepare(rendered, tokenizer, 128).examples
    whole = list(steps(examples, batch_size=4, total_steps=8, seed=1))

    for after in range(9):
        assert list(steps(examples, 4, 8, 1, after=after)) == whole[after:]

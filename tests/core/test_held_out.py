"""What is kept of each held-out example: it adds up to the losses that are told, and nothing else changes."""

import pytest
import torch

from neftune_core import train
from neftune_core.eval_losses import decoded, encoded
from neftune_core.progress import Wanted
from neftune_core.rows import Message, Row
from tests.core.tiny import AfterStep, Never, Notebook, make_base, make_rows, make_spec

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

OVERSHOOTING = {"max_steps": 8, "eval_every": 1, "learning_rate": 0.05, "scheduler": "constant"}
WORDS = ("quick", "waxy plums", "jazz")
HELD_OUT = make_rows(30)[24:]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def run(base, out, eval_rows=HELD_OUT, stop=None, checkpoints=None, **parts):
    notebook = Notebook()
    out.mkdir(exist_ok=True)
    stop = Never() if stop is None else AfterStep(notebook, stop)
    spec, rows = make_spec(**parts), make_rows(24)
    return train.run(spec, rows, eval_rows, out, base, notebook, stop, checkpoints=checkpoints)


def test_what_each_example_pays_adds_up_to_the_losses_of_last_and_best(base, tmp_path):
    told = run(base, tmp_path, alpha=5.0, training=OVERSHOOTING)

    losses, final = told.eval_losses, told.final
    assert losses.examples == len(losses.tokens) == len(HELD_OUT)
    assert (losses.last.step, losses.best.step) == (8, final["best_step"])
    assert 0 < losses.best.step < 8
    assert losses.mean(losses.last) == pytest.approx(final["eval_loss"], rel=1e-6)
    assert losses.mean(losses.best) == pytest.approx(final["best_eval_loss"], rel=1e-6)
    assert decoded(encoded(losses)) == losses


def test_layout_changes_no_examples_place(base, tmp_path):
    wide = run(base, tmp_path / "a", training={"micro_batch_size": 8, "packing": "off"})
    narrow = run(base, tmp_path / "b", training={"micro_batch_size": 1, "packing": "off"})
    packed = run(base, tmp_path / "c", training={"micro_batch_size": 8, "packing": "on"})

    for other in (narrow, packed):
        assert other.eval_losses.rows == wide.eval_losses.rows
        assert other.eval_losses.last.losses == pytest.approx(wide.eval_losses.last.losses, rel=1e-3)
    # Examples pay differently enough for that to mean something
    assert max(wide.eval_losses.last.losses) > 2 * min(wide.eval_losses.last.losses)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_where_the_base_was_best_it_is_the_base_that_is_told(base, tmp_path, method):
    # Given held-out answers without the digits that are trained on
    letters = [
        Row("messages", messages=(Message("user", "say"), Message("assistant", word))) for word in WORDS
    ]
    told = run(base, tmp_path, letters, method=method, training={**OVERSHOOTING, "eval_every": 8})

    losses, final = told.eval_losses, told.final
    assert (final["best_step"], losses.best.step) == (0, 0)
    assert losses.mean(losses.best) == pytest.approx(final["base_eval_loss"], rel=1e-6)
    assert losses.mean(losses.last) > losses.mean(losses.best)


def test_a_run_that_goes_on_tells_what_an_undisturbed_one_tells(base, tmp_path):
    calm = run(base, tmp_path / "calm", alpha=5.0, training=OVERSHOOTING)
    wanted = Wanted(tmp_path / "checkpoints", resume=True)
    first = run(base, tmp_path / "a", stop=5, checkpoints=wanted, alpha=5.0, training=OVERSHOOTING)
    second = run(base, tmp_path / "b", checkpoints=wanted, alpha=5.0, training=OVERSHOOTING)

    assert first.stopped
    assert second.resumed
    assert encoded(second.eval_losses) == encoded(calm.eval_losses)


def test_without_held_out_rows_there_is_nothing_to_tell(base, tmp_path):
    assert run(base, tmp_path, eval_rows=[]).eval_losses is None


def test_equal_rows_have_equal_names_and_others_another(base, tmp_path):
    one = run(base, tmp_path / "a", alpha=0.0).eval_losses
    noisy = run(base, tmp_path / "b", alpha=15.0).eval_losses
    other = run(base, tmp_path / "c", eval_rows=HELD_OUT[1:]).eval_losses

    assert one.rows == noisy.rows != other.rows
    assert one.last != noisy.last

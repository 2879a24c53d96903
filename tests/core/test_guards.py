"""The guards of a run: what it bears, and when it has had enough."""

import pytest

from neftune_core.batches import Step
from neftune_core.errors import NonFiniteLoss
from neftune_core.guards import EarlyStop, SkipGuard
from neftune_core.stepper import Taken
from tests.core.test_batches import make_examples
from tests.core.tiny import Notebook

GOOD, BAD_LOSS, BAD_NORM = Taken(1.0, 1.0, 0.5), Taken(None, 1.0, 0.5), Taken(1.0, None, 0.5)


def step(number):
    return Step(number, 0, make_examples(2))


def test_three_bad_steps_in_a_row_are_borne_as_often_as_they_come():
    notebook = Notebook()
    guard = SkipGuard(notebook)

    for number, taken in enumerate([BAD_LOSS, BAD_NORM, BAD_LOSS, GOOD] * 3, start=1):
        guard.saw(step(number), taken)

    assert [told["in_a_row"] for told in notebook.named("run.step_skipped")] == [1, 2, 3] * 3
    assert notebook.named("run.step_skipped")[0]["rows"] == [0, 1]
    guard.finished(12)


def test_the_fourth_ends_the_run_and_names_its_rows():
    guard = SkipGuard(Notebook())
    for number in (1, 2, 3):
        guard.saw(step(number), BAD_NORM)

    with pytest.raises(NonFiniteLoss, match=r"4 steps in a row, the last at step 4 \(rows 0, 1\)"):
        guard.saw(step(4), BAD_NORM)


def test_a_run_of_nothing_but_skipped_steps_has_learnt_nothing():
    guard = SkipGuard(Notebook())
    guard.saw(step(1), BAD_LOSS)

    with pytest.raises(NonFiniteLoss, match="nothing was learnt"):
        guard.finished(1)


def test_patience_counts_evaluations_without_improvement():
    early = EarlyStop(patience=2, base=3.0)

    assert [early.saw(loss) for loss in (2.0, 2.5, 1.9, 1.9, None)] == [False, False, False, False, True]


def test_without_patience_nothing_stops():
    early = EarlyStop(patience=None, base=None)

    assert not any(early.saw(loss) for loss in (1.0, 2.0, 3.0, None) * 5)

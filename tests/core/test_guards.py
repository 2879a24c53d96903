"""The guards of a run: what it bears, and when it has had enough."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from neftune_core.batches import Arrangement, Step, arrange
from neftune_core.errors import NeftuneMisapplied, NonFiniteLoss
from neftune_core.guards import EarlyStop, NoiseGuard, SkipGuard
from neftune_core.noise import Noise, apply
from neftune_core.noise.meter import NoiseMeter
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


# Noise

ASKED = Noise(5.0, 1)
EXAMPLES = make_examples(24)


def reading_of(examples, *, strength=1.0, target="all", rows="right", wrongly=lambda layout: layout):
    """Measure what the examples of a step get, laid out as asked, or wrongly."""
    meter = NoiseMeter(1.0)
    for batch in arrange(examples, Arrangement(5, 0, rows=rows, target=target)):
        embeds, layout = torch.ones(*batch.ids_BT.shape, 64), wrongly(batch.layout)
        meter.record(embeds, apply(embeds, ASKED, layout, 0, strength)[1], layout)
    return meter.read()


@pytest.mark.parametrize("target", ["all", "prompt", "response"])
@pytest.mark.parametrize("rows", ["right", "left", "packed"])
def test_noise_that_is_alphas_is_told_once(target, rows):
    notebook = Notebook()
    guard = NoiseGuard(ASKED, notebook, target)

    for _ in range(3):
        guard.saw(EXAMPLES, reading_of(EXAMPLES, target=target, rows=rows))
    guard.finished()

    [verified] = notebook.named("neftune.verified")
    assert verified == guard.facts
    assert verified["effective_alpha"] == pytest.approx(verified["expected_alpha"], rel=0.02)
    noised = sum(
        {"all": len(e.ids), "response": e.response.sum(), "prompt": (~e.response).sum()}[target]
        for e in EXAMPLES
    )
    assert (noised == sum(len(e.ids) for e in EXAMPLES)) == (target == "all")
    assert verified["elements"] % (noised * 64) == 0
    if target == "all":
        assert verified["expected_alpha"] == pytest.approx(5.0)
    else:
        assert verified["expected_alpha"] < 4.9


@pytest.mark.parametrize(
    "wrongly",
    [
        lambda layout: replace(layout, length_S=layout.length_S + 9),
        lambda layout: replace(layout, length_S=torch.full_like(layout.length_S, layout.segment_BT.shape[1])),
        lambda layout: replace(layout, key_S=layout.key_S + 1),
        lambda layout: replace(
            layout, segment_BT=torch.where(layout.position_BT == 0, -1, layout.segment_BT)
        ),
    ],
    ids=["lengths too long", "lengths of the row", "other examples", "a token left out"],
)
def test_a_layout_that_is_wrong_is_found_out_in_the_first_step(wrongly):
    """The drawing follows the layout, so only the examples themselves can tell."""
    with pytest.raises(NeftuneMisapplied):
        NoiseGuard(ASKED, Notebook()).saw(EXAMPLES, reading_of(EXAMPLES, wrongly=wrongly))


def test_strength_is_held_to_the_step_that_asked_for_it():
    guard = NoiseGuard(ASKED, Notebook())
    guard.saw(EXAMPLES, reading_of(EXAMPLES, strength=0.25), 0.25)
    with pytest.raises(NeftuneMisapplied):
        NoiseGuard(ASKED, Notebook()).saw(EXAMPLES, reading_of(EXAMPLES, strength=0.25), 0.3)


def test_a_share_of_the_step_is_held_to_the_examples_of_that_share():
    NoiseGuard(ASKED, Notebook()).saw(EXAMPLES[:7], reading_of(EXAMPLES[:7]))
    NoiseGuard(ASKED, Notebook()).saw((), reading_of(()))
    with pytest.raises(NeftuneMisapplied, match="not the step's"):
        NoiseGuard(ASKED, Notebook()).saw(EXAMPLES, reading_of(EXAMPLES[:7]))


def test_a_short_run_is_concluded_with_the_margin_its_elements_allow():
    notebook = Notebook()
    guard = NoiseGuard(ASKED, notebook)
    guard.saw(EXAMPLES[:1], reading_of(EXAMPLES[:1]))
    assert notebook.named("neftune.verified") == []

    guard.finished()
    guard.finished()

    [verified] = notebook.named("neftune.verified")
    assert verified["tolerance"] == pytest.approx(5 * verified["sampling_error"])
    assert verified["tolerance"] > 0.02


def test_examples_without_a_token_to_noise_prove_nothing_and_are_no_fault():
    """Such as answers that were cut off whole, where only answers get noise."""
    unanswered = [replace(example, response=np.zeros(len(example.ids), dtype=bool)) for example in EXAMPLES]
    notebook = Notebook()
    guard = NoiseGuard(ASKED, notebook, "response")

    guard.saw(unanswered, reading_of(unanswered, target="response"))
    guard.finished()

    assert notebook.events == []
    assert guard.facts == {"alpha": ASKED.alpha, "effective_alpha": 0.0}


def test_without_alpha_there_is_nothing_to_verify():
    notebook = Notebook()
    guard = NoiseGuard(Noise(0.0, 1), notebook)
    guard.saw(EXAMPLES, NoiseMeter(1.0).read())
    guard.finished()

    assert notebook.events == []
    assert guard.facts == {"alpha": 0.0, "effective_alpha": 0.0}


def test_a_guard_goes_on_where_another_stopped():
    told = []
    for stops in (False, True):
        notebook = Notebook()
        guard = NoiseGuard(ASKED, notebook)
        for number, example in enumerate(EXAMPLES):
            if stops and number in {1, 20}:
                before, guard = guard, NoiseGuard(ASKED, notebook)
                guard.go_on(before.state())
            guard.saw([example], reading_of([example]))
        told.append((guard.facts, notebook.named("neftune.verified")))

    assert told[0] == told[1]
    assert len(told[0][1]) == 1

"""Benchmarks of base and checkpoint are held side by side, document by document."""

import math

import pytest

from neftune_core.evaluate.benchmarks import Score, Scores
from neftune_core.evaluate.comparison import kept, scored
from neftune_core.evaluate.plan import Part


def scores(task="arc", **metrics):
    return kept({task: Scores(task, 4, 25, "1.0", {name: Score(*one) for name, one in metrics.items()})})


def part(subject, rows="arc"):
    return Part(f"benchmark-0-{subject}", "benchmark", subject, rows)


BASE = scores(acc=(0.5, 0.2887, (1.0, 0.0, 1.0, 0.0)))
TUNED = scores(acc=(0.75, 0.25, (1.0, 1.0, 1.0, 0.0)))


def test_the_difference_has_the_error_of_paired_documents():
    [found] = scored({part("base"): BASE, part("checkpoint"): TUNED})
    assert (found.value, found.base, found.difference) == (0.75, 0.5, 0.25)
    assert found.difference_standard_error == pytest.approx(0.25)  # of 0, 1, 0, 0
    assert (found.task, found.metric, found.filter, found.num_fewshot) == ("arc", "acc", "none", 25)


@pytest.mark.parametrize("subject", ["base", "checkpoint"])
def test_one_alone_has_no_difference(subject):
    [found] = scored({part(subject): TUNED})
    assert (found.value, found.base, found.difference) == (0.75, None, None)


def test_the_filter_of_a_metric_is_told_apart():
    [found] = scored({part("base"): scores(**{"exact_match,strict": (0.5, None, ())})})
    assert (found.metric, found.filter, found.standard_error) == ("exact_match", "strict", None)


def test_what_is_no_number_is_left_out():
    told = scores(acc=(math.nan, 0.1, ()), f1=(0.5, math.nan, ()))
    [found] = scored({part("base"): told})
    assert (found.metric, found.value, found.standard_error) == ("f1", 0.5, None)

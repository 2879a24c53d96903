"""Judges with a taste of their own, over real HTTP: what of it gets into the figures."""

import random

import pytest

from neftune_core.evaluate.judge.alpaca_eval import Pair
from neftune_core.evaluate.judge.judging import estimate, judge_pairs
from neftune_core.evaluate.judge.remembered import Remembered
from tests.core.evaluate.judges import Going, first_always, judge_at, judging, longer, undecided


def texts_of_lengths(count: int, *, ours: float = 1.4) -> list[Pair]:
    """Pairs that differ in length alone, ours the longer in most."""
    drawn = random.Random(7)
    lengths = [
        (int(drawn.lognormvariate(4.5, 0.6) * ours), int(drawn.lognormvariate(4.5, 0.6)))
        for _ in range(count)
    ]
    return [
        Pair(f"Question {number}", "x" * (mine + 1), "x" * (other + 1))
        for number, (mine, other) in enumerate(lengths)
    ]


def result_of(pairs, judge, remembered=None):
    judged = judge_pairs(pairs, judge, remembered or Remembered(), Going())
    return judged.result("reference:texts", "judge_annotations.json"), judged


def test_a_judge_that_goes_by_length_wins_nothing_at_equal_length():
    with judging(longer) as server:
        result, _ = result_of(texts_of_lengths(300), judge_at(server.url))
    assert result.win_rate.percent > 60
    assert result.length_controlled.percent == pytest.approx(50, abs=5)
    assert not result.position.biased


def test_a_judge_that_goes_by_the_place_is_found_out_and_wins_nothing():
    with judging(first_always) as server:
        result, _ = result_of(texts_of_lengths(60), judge_at(server.url))
    assert result.win_rate.percent == pytest.approx(50, abs=2)
    assert (result.position.first_percent, result.position.biased) == (100.0, True)
    assert result.position.disagreed == result.ties == 60


def test_each_pair_is_asked_in_both_orders():
    with judging(undecided) as server:
        result, _ = result_of([Pair("Who?", "mine", "yours")], judge_at(server.url))
    asked = [call["messages"][1]["content"] for call in server.calls]
    assert sorted(text.index("mine") < text.index("yours") for text in asked) == [False, True]
    assert (result.ties, result.win_rate.percent) == (1, 50.0)


def test_every_third_call_failing_changes_no_figure():
    troubles = [(500, b"", {}), (429, b"{}", {"Retry-After": "0"}), None, "I can't decide, sorry."]
    failing = lambda number: troubles[number // 3 % 4] if number % 3 == 0 else ""  # noqa: E731 - one line
    pairs = texts_of_lengths(60)
    with judging(longer) as server:
        healthy, _ = result_of(pairs, judge_at(server.url))
    with judging(longer, failing) as server:
        found, judged = result_of(pairs, judge_at(server.url))
    assert found.cost.failed >= 40
    assert not judged.missing()
    assert found.model_copy(update={"cost": None}) == healthy.model_copy(update={"cost": None})


def test_a_second_run_asks_nobody(tmp_path):
    path, pairs = tmp_path / "known.jsonl", texts_of_lengths(20)
    with judging(longer) as server:
        judge = judge_at(server.url, price_in=2, price_out=10)
        before = estimate(pairs, judge, Remembered(path))
        first, _ = result_of(pairs, judge, Remembered(path))
        after = estimate(pairs, judge, Remembered(path))
        calls = len(server.calls)
        second, _ = result_of(pairs, judge, Remembered(path))
    assert (calls, len(server.calls)) == (40, 40)
    assert (before.calls, after.calls, after.cached, after.price) == (40, 0, 40, 0)
    assert (first.cost.calls, second.cost.calls, second.cost.cached) == (40, 0, 40)
    assert (first.cost.prompt_tokens, first.cost.completion_tokens) == (4000, 40)
    assert second.model_copy(update={"cost": first.cost}) == first


def test_the_same_text_twice_is_a_tie_that_nobody_is_asked_about():
    with judging(longer) as server:
        result, _ = result_of(
            [Pair("Who?", "same", "same"), Pair("Who?", "longer", "short")], judge_at(server.url)
        )
    assert len(server.calls) == 2
    assert (result.wins, result.ties, result.position.first_percent) == (1, 1, 50.0)


def test_a_draw_that_nobody_was_asked_about_says_nothing_of_the_judges_place():
    with judging(first_always) as server:
        result, _ = result_of([Pair("Who?", "same", "same"), Pair("Who?", "a", "b")], judge_at(server.url))
    assert result.position.first_percent == 100.0

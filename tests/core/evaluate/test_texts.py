"""Length and repetition: laws on small texts, and the figures that others have published of real ones."""

import json
import math
import os
from pathlib import Path

import pytest

from neftune_core.evaluate.texts import (
    chunk,
    diversity_of,
    log_diversity,
    log_diversity_published,
    repetition,
    spread,
)

LOOP = ["a", "b", "a", "b", "a", "b", "a", "b"]
PROSE = ["each", "word", "of", "this", "text", "is", "another", "one", "here"]


def outputs(model):
    data = Path(os.environ["NEFTUNE_TEST_DATA"]) / f"alpaca_eval_{model}.json"
    return [row["output"] for row in json.loads(data.read_bytes())]


def test_repetition_is_the_share_of_ngrams_that_came_before():
    assert repetition(LOOP, 2) == pytest.approx(1 - 2 / 7)
    assert repetition(LOOP, 3) == pytest.approx(1 - 2 / 6)
    assert repetition(PROSE, 2) == 0


def test_log_diversity_is_of_the_product_of_what_is_left():
    left = (2 / 7) * (2 / 6) * (2 / 5)
    assert log_diversity(LOOP) == pytest.approx(-math.log(1 - left))
    assert log_diversity(PROSE) == pytest.approx(20)


def test_the_published_form_takes_shares_for_per_cent_and_leaves_out_the_last_ngram():
    shares = (1 - 2 / 6, 1 - 2 / 5, 1 - 2 / 4)
    product = math.prod(1 - share / 100 for share in shares)
    assert log_diversity_published(LOOP) == pytest.approx(-math.log(1 - product))
    assert log_diversity_published(LOOP) == pytest.approx(-math.log(sum(shares) / 100), rel=2e-2)


def test_texts_are_cut_to_one_length_and_shorter_ones_drop_out():
    cut = chunk([LOOP, PROSE, PROSE[:4]], 5)
    assert (cut.kept, cut.dropped) == (2, 1)
    assert cut.repetition.two == pytest.approx((repetition(LOOP[:5], 2) + 0) / 2)
    assert cut.log_diversity == pytest.approx((log_diversity(LOOP[:5]) + 20) / 2)


def test_a_cut_that_no_text_reaches_has_no_numbers():
    cut = chunk([PROSE], 50)
    assert (cut.kept, cut.repetition, cut.log_diversity, cut.log_diversity_published) == (0, None, None, None)


def test_nothing_but_short_and_empty_texts_is_measured_too():
    found = diversity_of(["", "one two"], None, (5,))
    assert (found.empty, found.characters.mean, found.whole) == (1, 3.5, None)


def test_no_text_at_all_has_no_length():
    found = diversity_of([], [], (5,))
    assert (found.characters.count, found.characters.mean, found.characters_as_listed) == (0, None, None)


def test_a_spread_leaves_out_what_is_no_number():
    found = spread([1.0, 2.0, 3.0, math.nan, math.inf])
    assert (found.count, found.mean, found.std, found.median) == (3, 2.0, 1.0, 2.0)
    assert spread([4.0]).std is None


@pytest.mark.skipif("NEFTUNE_TEST_DATA" not in os.environ, reason="needs the answers that were published")
@pytest.mark.parametrize(
    ("model", "listed", "repeated", "diverse", "published"),
    [
        ("alpaca_7b", 396, 0.064709, 7.435522, 11.053959),
        ("text_davinci_003", 307, 0.073190, 6.200869, 9.839482),
    ],
)
def test_real_answers_are_as_long_as_the_leaderboard_lists(model, listed, repeated, diverse, published):
    found = diversity_of(outputs(model), None, (50, 100, 150))
    assert found.characters_as_listed == listed
    assert found.whole.two == pytest.approx(repeated, abs=1e-6)
    assert found.chunks[0].log_diversity == pytest.approx(diverse, abs=1e-6)
    # By the very code that was published, on the same texts.
    assert found.chunks[0].log_diversity_published == pytest.approx(published, abs=1e-6)

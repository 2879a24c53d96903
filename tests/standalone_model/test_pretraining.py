"""Pretraining: the same seed gives the same bits, and it learns."""

from itertools import islice

import pytest
import torch

from standalone.base_model import pretrain, tokenizer
from standalone.base_model.corpus import ANSWERED, ASKED, Part, texts
from standalone.base_model.recipe import LONG, SHORT, TOKENS

pytestmark = pytest.mark.long  # the model is built once, and is tested itself


@pytest.fixture(scope="module")
def words():
    return tokenizer.train(islice(texts(1), 3000))


def test_two_builds_are_equal_bit_for_bit(words):
    first, second = pretrain.build(words), pretrain.build(words)
    told = [pretrain.pretrain(model, words, pretrain.Plan(steps=4), tokens=512) for model in (first, second)]
    assert told[0].train_loss == told[1].train_loss
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


def test_it_learns(words):
    model = pretrain.build(words)
    before = pretrain.held_out_loss(model, words, steps=1)
    pretrain.pretrain(model, words, pretrain.Plan(steps=12), tokens=1024)
    assert pretrain.held_out_loss(model, words, steps=1) < before - 2


def test_the_clock_ends_it_early(words):
    told = pretrain.pretrain(
        pretrain.build(words), words, pretrain.Plan(steps=500, minutes=0.005), tokens=512
    )
    assert told.steps < 20


def test_linear_sizes_suit_nf4(words):
    model = pretrain.build(words)
    for module in model.modules():
        if isinstance(module, torch.nn.Linear) and module is not model.lm_head:
            assert module.in_features % 64 == 0
            assert module.out_features % 64 == 0


def test_rows_are_full_and_every_fourth_step_has_long_ones(words):
    shapes = [batch.ids.shape for batch in islice(pretrain.batches(words, 1), 5)]
    short, long = (TOKENS // SHORT, SHORT), (TOKENS // LONG, LONG)
    assert shapes == [short, short, short, long, short]


def test_answers_count_more_than_questions(words):
    parts = iter([[Part("What?", ASKED), Part("That.", ANSWERED)]] * 50)
    ids, weights = pretrain.packed(words, parts, 64)
    asked = len(words.encode("What?", add_special_tokens=False).ids)
    assert weights[:asked] == [ASKED] * asked
    assert weights[asked] == ANSWERED
    assert len(ids) == len(weights) == 64

"""Measuring leaves no trace: neither modes, nor generators, nor weights; dropout is off meanwhile."""

import math

import pytest
import torch
from transformers import AutoModelForCausalLM

from neftune_core.batches import Arrangement, arrange, lay
from neftune_core.clean_losses import clean_loss, measuring
from neftune_core.losses import LossHead
from tests.core.test_batches import make_examples
from tests.core.tiny import make_base

CPU = torch.device("cpu")


@pytest.fixture
def model(tmp_path):
    return AutoModelForCausalLM.from_pretrained(make_base(tmp_path, attention_dropout=0.5)).train()


def test_dropout_is_off_and_back_on_afterwards(model):
    batches = arrange(make_examples(6), Arrangement(4, 0))
    head = LossHead(model, CPU)
    model.model.layers[0].eval()  # somebody's choice, to be kept

    measured = [clean_loss(model, head, batches, CPU) for _ in range(2)]

    assert measured[0] == measured[1]
    assert model.training
    assert model.model.layers[1].training
    assert not model.model.layers[0].training


def test_generators_and_gradients_are_left_alone(model):
    before = torch.get_rng_state()

    with measuring(model):
        torch.rand(3)
        assert not torch.is_grad_enabled()

    assert torch.equal(torch.get_rng_state(), before)
    assert torch.is_grad_enabled()


def test_modes_come_back_after_an_exception(model):
    with pytest.raises(RuntimeError, match="boom"), measuring(model):
        raise RuntimeError("boom")

    assert model.training


def test_the_mean_is_over_tokens_not_over_batches(model):
    examples = make_examples(7)
    head = LossHead(model, CPU)

    whole = clean_loss(model, head, [lay(examples, Arrangement(7, 0))], CPU)
    uneven = clean_loss(model, head, arrange(examples, Arrangement(3, 0)), CPU)

    assert uneven == pytest.approx(whole, rel=1e-6)


def test_a_loss_that_is_no_number_is_none(model):
    with torch.no_grad():
        model.model.norm.weight[0] = math.inf

    assert clean_loss(model, LossHead(model, CPU), [lay(make_examples(2), Arrangement(2, 0))], CPU) is None

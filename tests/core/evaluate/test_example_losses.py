"""Losses of single examples: they are those of training's clean loss, in the order of the rows."""

import math

import pytest
import torch

from neftune_core.batches import Arrangement, arrange
from neftune_core.clean_losses import clean_loss
from neftune_core.errors import NeftuneMisapplied
from neftune_core.evaluate import losses
from neftune_core.evaluate.losses import edges_for, example_losses, losses_of, measured_losses
from neftune_core.losses import LossHead
from neftune_core.model import Numerics, load_base
from tests.core.test_batches import make_examples
from tests.core.tiny import make_base

CPU = torch.device("cpu")


@pytest.fixture
def model(tmp_path):
    base = make_base(tmp_path, attention_dropout=0.5)
    return load_base(base, Numerics(CPU, torch.float32, autocast=False, quantization=None))


def measured(values, subject="checkpoint", rows="train"):
    examples = make_examples(len(values))
    return measured_losses(subject, rows, examples, values)


def test_each_example_has_its_own_loss_in_its_own_place(model, monkeypatch):
    monkeypatch.setattr(losses, "TOKENS_AT_ONCE", 64)  # several batches, of several rows
    examples, head = make_examples(9), LossHead(model, CPU)

    found = example_losses(model, head, examples, CPU)

    alone = [clean_loss(model, head, arrange([one], Arrangement(1, 0)), CPU) for one in examples]
    assert found == pytest.approx(alone, rel=1e-5)
    assert len({round(loss, 4) for loss in alone}) > 5


def test_their_mean_over_tokens_is_the_clean_loss_of_all(model):
    examples, head = make_examples(9), LossHead(model, CPU)
    found = measured_losses("base", "train", examples, example_losses(model, head, examples, CPU))

    whole = clean_loss(model, head, arrange(examples, Arrangement(4, 0)), CPU)

    assert losses_of(found, (0.0, 20.0), "file").per_token == pytest.approx(whole, rel=1e-6)


def test_dropout_is_off_meanwhile_and_back_on_afterwards(model):
    examples, head = make_examples(3), LossHead(model, CPU)
    quiet = example_losses(model, head, examples, CPU)
    model.train()
    assert example_losses(model, head, examples, CPU) == quiet
    assert model.training


def test_a_model_that_carries_noise_is_not_measured(model):
    examples, head = make_examples(3), LossHead(model, CPU)
    model.get_input_embeddings().register_forward_hook(lambda *_: None)
    with pytest.raises(NeftuneMisapplied):
        example_losses(model, head, examples, CPU)


def test_a_loss_that_is_no_number_is_told_as_none_and_spoils_the_mean(model):
    with torch.no_grad():
        model.model.norm.weight[0] = math.inf
    examples = make_examples(2)
    values = example_losses(model, LossHead(model, CPU), examples, CPU)
    assert values == [None, None]
    found = losses_of(measured(values), (0.0, 1.0), "file")
    assert (found.per_token, found.per_example.count, found.histogram.counts) == (None, 0, (0,))


def test_bars_hold_everyone_measured_on_the_rows_and_are_round():
    two = [measured([1.03, 2.5, 3.9]), measured([0.4, 2.2], "base")]
    edges = edges_for(two, 10)
    assert edges == (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0)
    assert losses_of(two[0], edges, "file").histogram.counts == (0, 0, 1, 0, 0, 1, 0, 1)


@pytest.mark.parametrize(
    "values", [[2.0, 2.0], [0.0], [], [None], [0.9999999, 12.000001], [1e-7, 900.0], [5.0, 5.0000001]]
)
def test_no_loss_falls_outside_the_bars(values):
    one = measured(values)
    for bins in (2, 7, 40):
        edges = edges_for([one], bins)
        assert len(edges) <= bins + 1
        finite = [value for value in values if value is not None]
        assert sum(losses_of(one, edges, "file").histogram.counts) == len(finite)

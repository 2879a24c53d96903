"""The loss on trained tokens alone is the model's own loss, in one chunk or many."""

import pytest
import torch
from transformers import AutoModelForCausalLM, Gemma2Config, Gemma2ForCausalLM

from neftune_core import losses
from neftune_core.batches import Arrangement, lay
from neftune_core.losses import LossHead
from tests.core.test_batches import make_examples
from tests.core.tiny import CONFIG, make_base

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return AutoModelForCausalLM.from_pretrained(make_base(tmp_path_factory.mktemp("base")))


@pytest.fixture(scope="module")
def batch():
    return lay(make_examples(5), Arrangement(5, pad_id=0))


def ask(model, batch):
    return LossHead(model, CPU)(batch)


def own_loss(model, batch):
    labels = torch.full_like(batch.ids_BT, -100)
    labels.view(-1)[batch.place_M + 1] = batch.label_M
    return model(input_ids=batch.ids_BT, attention_mask=batch.mask_BT, labels=labels).loss


def test_it_is_the_models_own_loss(model, batch):
    assert LossHead(model, CPU).splits
    assert float(ask(model, batch).loss_M.mean().detach()) == pytest.approx(
        float(own_loss(model, batch).detach()), rel=1e-6
    )


def test_chunks_change_neither_losses_nor_gradients(model, batch, monkeypatch):
    def gradients():
        model.zero_grad()
        told = ask(model, batch)
        told.loss_M.sum().backward()
        return told, [parameter.grad.clone() for parameter in model.parameters()]

    whole, plain = gradients()
    monkeypatch.setattr(losses, "LOGITS_AT_ONCE", 320 * 7)
    cut, chunked = gradients()

    assert torch.allclose(whole.loss_M, cut.loss_M, rtol=1e-6)
    assert torch.equal(whole.correct_M, cut.correct_M)
    for one, other in zip(plain, chunked, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-5)


def test_a_model_that_caps_its_logits_is_asked_whole(batch):
    torch.manual_seed(0)
    config = {key: value for key, value in CONFIG.items() if key != "initializer_range"}
    model = Gemma2ForCausalLM(
        Gemma2Config(**config, head_dim=16, final_logit_softcapping=0.5, initializer_range=0.3)
    )

    assert not LossHead(model, CPU).splits
    assert float(ask(model, batch).loss_M.mean().detach()) == pytest.approx(
        float(own_loss(model, batch).detach()), rel=1e-5
    )


def test_accuracy_counts_the_tokens_it_would_have_guessed(model, batch):
    with torch.no_grad():
        logits = model(input_ids=batch.ids_BT, attention_mask=batch.mask_BT).logits.flatten(0, 1)
    guessed = logits[batch.place_M].argmax(-1)

    assert torch.equal(ask(model, batch).correct_M, guessed == batch.label_M)

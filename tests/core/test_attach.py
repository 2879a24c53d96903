"""How noise is put on a model and taken off: where it is on, and what is refused."""

import pytest
import torch
from torch import nn

from neftune_core.errors import NeftuneMisapplied
from neftune_core.noise import Noise, noisy_embeddings
from tests.core.test_drawing import padded


class Embedder(nn.Module):
    """As much of a model as the noise wants to know."""

    def __init__(self, width=64):
        super().__init__()
        self.embed = nn.Embedding(50, width)

    def get_input_embeddings(self):
        return self.embed

    def forward(self, ids):
        return self.embed(ids)


def test_the_embedding_keeps_its_plain_gradient():
    model, ids = Embedder(), torch.arange(6).view(1, 6)
    model(ids).sum().backward()
    plain = model.embed.weight.grad.clone()
    model.zero_grad()

    with noisy_embeddings(model, Noise(5.0, 1)) as noisy, noisy.during(padded(6), 0):
        model(ids).sum().backward()

    assert torch.equal(model.embed.weight.grad, plain)


def test_noise_is_there_inside_a_batch_and_nowhere_else():
    model, ids, layout = Embedder(), torch.arange(6).view(1, 6), padded(6)
    clean = model(ids)

    with noisy_embeddings(model, Noise(5.0, 1)) as noisy:
        with noisy.during(layout, 0):
            noised = model(ids)
        model.eval()
        outside = model(ids)

    assert not torch.equal(noised, clean)
    assert torch.equal(outside, clean)
    assert torch.equal(model(ids), clean)


def test_the_hook_is_gone_after_an_exception():
    model = Embedder()

    with (
        pytest.raises(RuntimeError, match="boom"),
        noisy_embeddings(model, Noise(5.0, 1)) as noisy,
        noisy.during(padded(6), 0),
    ):
        raise RuntimeError("boom")

    assert not model.embed._forward_hooks
    with noisy_embeddings(model, Noise(5.0, 1)):  # and it can be attached again
        pass


def test_a_second_attachment_is_refused_and_leaves_the_first():
    model = Embedder()

    with noisy_embeddings(model, Noise(5.0, 1)):
        with pytest.raises(NeftuneMisapplied), noisy_embeddings(model, Noise(5.0, 1)):
            pass
        assert len(model.embed._forward_hooks) == 1


def test_the_librarys_own_hook_is_seen_and_refused():
    from transformers.integrations.neftune import neftune_post_forward_hook  # noqa: PLC0415 - slow to import

    model = Embedder()
    model.embed.register_forward_hook(neftune_post_forward_hook)

    with pytest.raises(NeftuneMisapplied), noisy_embeddings(model, Noise(5.0, 1)):
        pass


def test_alpha_zero_hooks_nothing():
    model = Embedder()

    with noisy_embeddings(model, Noise(0.0, 1)) as noisy, noisy.during(padded(6), 0):
        assert not model.embed._forward_hooks


def test_an_evaluation_inside_a_noisy_batch_is_refused():
    model = Embedder().eval()

    with noisy_embeddings(model, Noise(5.0, 1)) as noisy, noisy.during(padded(6), 0):
        with pytest.raises(NeftuneMisapplied, match="evaluation"):
            model(torch.arange(6).view(1, 6))
        model.train()
        model(torch.arange(6).view(1, 6))


def test_a_training_pass_without_a_layout_is_refused():
    model = Embedder()

    with noisy_embeddings(model, Noise(5.0, 1)), pytest.raises(NeftuneMisapplied, match="layout"):
        model(torch.arange(6).view(1, 6))


def test_a_model_that_passes_its_embedding_by_is_found_out():
    model = Embedder()

    with (
        noisy_embeddings(model, Noise(5.0, 1)) as noisy,
        pytest.raises(NeftuneMisapplied, match="0 times"),
        noisy.during(padded(6), 0),
    ):
        torch.nn.functional.embedding(torch.arange(6), model.embed.weight)

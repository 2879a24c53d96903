"""How noise reaches a model and how it is measured there."""

import math

import pytest
import torch
from torch import nn

from neftune_core.errors import NeftuneMisapplied
from neftune_core.noise import Noise, later_multiplier, noisy_embeddings
from neftune_core.noise.meter import Verification
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


def test_a_later_multiplier_is_divided_out():
    class Granite:
        model_type = "granite"
        embedding_multiplier = 12.0

    class Other(Granite):
        model_type = "llama"

    assert later_multiplier(Granite()) == 12.0
    assert later_multiplier(Other()) == 1.0
    assert Noise(5.0, 1, later_multiplier=12.0).bound(100, 64) == pytest.approx(0.0625 / 12)


# Measuring


def measured(model, noise, layout, alpha=5.0):
    ids = torch.zeros(layout.segment_BT.shape, dtype=torch.int64)
    with noisy_embeddings(model, noise) as noisy:
        with noisy.during(layout, 0):
            model(ids)
        reading = noisy.meter.read()
    check = Verification(alpha)
    check.add(reading, int(layout.length_S.sum()), 64)
    return reading, check


def test_the_meter_finds_alpha_and_the_ratio_to_the_embeddings():
    model, layout = Embedder(), padded(300, 500, 40)

    reading, check = measured(model, Noise(5.0, 1), layout)

    assert reading.effective_alpha == pytest.approx(5.0, rel=0.02)
    assert reading.on_pads == 0.0
    noise_rms = math.sqrt(3 * 25.0 / 3 / (840 * 64))  # three examples of energy alpha squared / 3
    embedding_rms = float(model.embed.weight[0].detach().square().mean().sqrt())
    assert reading.ratio == pytest.approx(noise_rms / embedding_rms, rel=0.03)
    assert check.enough
    assert check.conclude()["effective_alpha"] == pytest.approx(5.0, rel=0.02)


def test_a_twelvefold_multiplier_is_measured_where_the_model_sees_it():
    reading, check = measured(Embedder(), Noise(5.0, 1, later_multiplier=12.0), padded(500))

    assert reading.effective_alpha == pytest.approx(5.0, rel=0.02)
    check.conclude()


def test_noise_scaled_by_the_padded_width_is_found_out():
    _, check = measured(Embedder(), Noise(5.0, 1, scale="batch_width"), padded(100, 500))

    with pytest.raises(NeftuneMisapplied, match="alpha 5 was asked for"):
        check.conclude()


def test_noise_on_fewer_tokens_than_the_examples_have_is_found_out():
    layout = padded(100, 200)
    model = Embedder()
    with noisy_embeddings(model, Noise(5.0, 1)) as noisy:
        with noisy.during(layout, 0):
            model(torch.zeros(2, 200, dtype=torch.int64))
        reading = noisy.meter.read()

    with pytest.raises(NeftuneMisapplied, match="values were noised"):
        Verification(5.0).add(reading, real_tokens=301, width=64)


def test_few_elements_are_not_enough_to_judge():
    _, check = measured(Embedder(), Noise(5.0, 1), padded(2))

    assert not check.enough
    check.conclude()  # what chance allows is no fault

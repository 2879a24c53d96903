"""The noise beside the paper's: the same spread in other shapes, from the same words."""

import math

import numpy as np
import pytest
import torch

from neftune_core.noise import Noise
from tests.core.golden_noise import philox
from tests.core.test_drawing import drawn, mixed, packed, padded

SHAPES = ("uniform", "gaussian", "sphere")


def units(distribution, length=4096, width=64):
    """Draw 262,144 values and divide by the standard deviation that they should have."""
    values = drawn(Noise(5.0, 21, distribution=distribution), padded(length, keys=[77]), width=width)
    return values.double().flatten() * math.sqrt(3 * length * width) / 5.0


@pytest.mark.parametrize("distribution", SHAPES)
def test_mean_and_variance_are_matched(distribution):
    values = units(distribution)

    assert abs(float(values.mean())) < 4 / math.sqrt(len(values))
    assert float(values.var()) == pytest.approx(1.0, abs=4 * math.sqrt(2 / len(values)))


@pytest.mark.parametrize(("distribution", "kurtosis"), [("uniform", 1.8), ("gaussian", 3.0), ("sphere", 3.0)])
def test_the_kurtosis_is_that_of_the_shape(distribution, kurtosis):
    values = units(distribution)

    assert float(values.pow(4).mean()) == pytest.approx(kurtosis, abs=4 * math.sqrt(96 / len(values)))


def test_gaussian_noise_is_normal():
    values = np.sort(units("gaussian").numpy())

    below = 0.5 * (1 + torch.erf(torch.from_numpy(values) / math.sqrt(2)).numpy())
    distance = np.abs(below - (np.arange(len(values)) + 0.5) / len(values)).max()
    assert distance < 1.63 / math.sqrt(len(values))  # Kolmogorov-Smirnov at one per cent


def test_neighbouring_channels_of_gaussian_noise_are_not_related():
    pairs = units("gaussian").view(-1, 2)

    bound = 4 / math.sqrt(len(pairs))
    assert abs(float((pairs[:, 0] * pairs[:, 1]).mean())) < bound
    assert abs(float(((pairs[:, 0] ** 2 - 1) * (pairs[:, 1] ** 2 - 1)).mean())) < 2 * bound


def test_gaussian_noise_is_box_and_mullers_of_the_counters_words():
    seed, epoch, key, width = 5, 6, 1 << 40, 6

    values = drawn(Noise(5.0, seed, distribution="gaussian"), padded(2, keys=[key]), epoch, width)[0]

    for position in range(2):
        for channel in range(width):
            words = philox((seed, epoch), (channel // 4, position, 0, 1 << 8))
            first, second = ((word + 0.5) / 2**32 for word in words[channel % 4 // 2 * 2 :][:2])
            turned = (math.cos, math.sin)[channel % 2](2 * math.pi * second)
            expected = 5.0 / math.sqrt(3 * 2 * width) * math.sqrt(-2 * math.log(first)) * turned
            assert float(values[position, channel]) == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("scale", ["paper", "batch_width"])
def test_an_examples_noise_on_the_sphere_has_the_norm_exactly(scale):
    noise = Noise(5.0, 1, distribution="sphere", scale=scale)

    values = drawn(noise, packed(3, 100, 1, keys=[1, 2, 3], pads=4)).double()

    for first, length in ((0, 3), (3, 100), (103, 1)):
        expected = 5.0 / math.sqrt(3) * (1.0 if scale == "paper" else math.sqrt(length / 108))
        assert float(values[0, first : first + length].norm()) == pytest.approx(expected, rel=1e-6)


def test_the_norm_on_the_sphere_is_that_before_places_are_chosen():
    noise, layout = Noise(5.0, 1, distribution="sphere"), mixed()

    chosen = drawn(noise, layout)

    everywhere = drawn(
        noise, type(layout)(layout.segment_BT, layout.position_BT, layout.length_S, layout.key_S)
    )
    assert torch.equal(chosen, everywhere * (layout.chosen_BT & (layout.segment_BT >= 0))[..., None])
    assert not torch.equal(chosen, everywhere)


@pytest.mark.parametrize("distribution", SHAPES)
def test_layout_decides_nothing_in_any_shape(distribution):
    noise, keys = Noise(alpha=10.0, seed=7, distribution=distribution), [3, -42]
    alone = drawn(noise, padded(50, keys=[-42]), 2, 10)[0]
    left = drawn(noise, padded(90, 50, keys=keys, left=True), 2, 10)[1, 40:]
    second = drawn(noise, packed(90, 50, keys=keys, pads=5), 2, 10)[0, 90:140]

    assert torch.equal(alone, left)
    assert torch.equal(alone, second)

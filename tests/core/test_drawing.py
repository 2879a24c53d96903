"""What the noise must be: the paper's bound per example, nothing on pads, a function of its key alone."""

import math

import numpy as np
import pytest
import torch

from neftune_core.errors import NeftuneMisapplied
from neftune_core.noise import Layout, Noise, apply, draw

CPU = torch.device("cpu")


def padded(*lengths, width=None, keys=None, left=False):
    width = width or max(lengths)
    mask = torch.zeros(len(lengths), width, dtype=torch.int64)
    for row, length in enumerate(lengths):
        mask[row, width - length :] = 1 if left else 0
        if not left:
            mask[row, :length] = 1
    return Layout.padded(mask, torch.tensor(keys or [100 + row for row in range(len(lengths))]))


@pytest.mark.parametrize(
    ("length", "bound"),
    [
        (12, 0.180422),
        (40, 0.098821),
        (80, 0.069877),
        (100, 0.062500),
        (400, 0.031250),
        (512, 0.027621),
        (1, 0.625000),
    ],
)
def test_the_bound_is_the_papers_reference_value_and_is_nearly_reached(length, bound):
    noise = Noise(alpha=5.0, seed=3)
    layout = padded(length, width=512)

    drawn = draw(noise, layout, epoch=0, width=64, device=CPU)

    assert noise.bound(length, 64) == pytest.approx(bound, abs=5e-7)
    assert float(drawn.abs().max()) <= bound + 5e-7
    assert float(drawn.abs().max()) > 0.9 * bound


def test_each_example_of_a_padded_batch_has_its_own_length_and_pads_have_nothing():
    layout = padded(12, 40, 100, 400)

    drawn = draw(Noise(alpha=5.0, seed=1), layout, epoch=0, width=64, device=CPU)

    for row, length in enumerate((12, 40, 100, 400)):
        effective = math.sqrt(3) * float(drawn[row].norm())
        assert effective == pytest.approx(5.0, rel=5 * 0.5 * math.sqrt(0.8 / (length * 64)))
        assert torch.count_nonzero(drawn[row, length:]) == 0


def test_the_noise_is_uniform():
    drawn = draw(Noise(alpha=1.0, seed=11), padded(1024), epoch=0, width=64, device=CPU).flatten()

    unit = np.sort((drawn / Noise(1.0, 11).bound(1024, 64)).double().numpy())
    distance = np.abs((unit + 1) / 2 - (np.arange(len(unit)) + 0.5) / len(unit)).max()
    assert distance < 1.63 / math.sqrt(len(unit))  # Kolmogorov-Smirnov at one per cent


def test_layout_decides_nothing():
    # Given an example alone in its row, beside longer ones, and padded on the left
    noise = Noise(alpha=10.0, seed=7)
    alone = draw(noise, padded(5, keys=[-42]), epoch=2, width=10, device=CPU)
    beside = draw(noise, padded(9, 5, keys=[3, -42]), epoch=2, width=10, device=CPU)
    left = draw(noise, padded(9, 5, keys=[3, -42], left=True), epoch=2, width=10, device=CPU)

    # Then its noise has the same bits everywhere
    assert torch.equal(alone[0], beside[1, :5])
    assert torch.equal(alone[0], left[1, 4:])


def test_chunks_decide_nothing(monkeypatch):
    noise, layout = Noise(alpha=10.0, seed=7), padded(30, 7)
    whole = draw(noise, layout, epoch=0, width=64, device=CPU)

    monkeypatch.setattr("neftune_core.noise.distributions.COUNTERS_AT_ONCE", 33)

    assert torch.equal(draw(noise, layout, epoch=0, width=64, device=CPU), whole)


def test_seed_epoch_example_position_and_channel_each_change_the_noise():
    def unit(seed=1, epoch=1, key=1):
        return draw(Noise(1.0, seed), padded(8, keys=[key]), epoch=epoch, width=8, device=CPU)[0]

    drawn = unit()
    assert not torch.equal(drawn, unit(seed=2))
    assert not torch.equal(drawn, unit(epoch=2))
    assert not torch.equal(drawn, unit(key=2))
    assert not torch.equal(drawn, unit(key=1 + (1 << 40)))
    assert len(set(drawn.flatten().tolist())) == drawn.numel()


def test_the_noise_has_the_bits_of_a_plain_reading_of_the_definition():
    key, seed, epoch, alpha, length, width = 0x8123456789ABCDEF - (1 << 64), 42, 3, 5.0, 3, 6

    drawn = draw(Noise(alpha, seed), padded(length, keys=[key]), epoch=epoch, width=width, device=CPU)[0]

    bound = np.float32(alpha / math.sqrt(length * width))
    for position in range(length):
        for channel in range(width):
            words = _philox(
                (seed, epoch), (channel // 4, position, key & 0xFFFFFFFF, (key >> 32) & 0xFFFFFFFF)
            )
            unit = (2 * (words[channel % 4] >> 8) + 1 - 2**24) * 2.0**-24
            assert float(drawn[position, channel]) == float(np.float32(unit) * bound)


def test_the_noise_keeps_its_bits_over_versions():
    """Golden: changing these changes every run ever made."""
    drawn = draw(Noise(5.0, 42), padded(2, keys=[0x0123456789ABCDEF]), epoch=3, width=6, device=CPU)

    units = [
        [-13183769, 15387319, 16205779, 10383171, 13706635, -10180307],
        [-4400319, -12077755, -9971197, -4771083, 13032623, -14762969],
    ]
    assert torch.equal(drawn[0], torch.tensor(units) * 2.0**-24 * np.float32(5.0 / math.sqrt(12)))


def _philox(key, counter):
    """Philox4x32-10 in plain integers, from the paper."""
    (k0, k1), (c0, c1, c2, c3) = key, counter
    for _ in range(10):
        high0, low0 = divmod(c0 * 0xD2511F53, 1 << 32)
        high1, low1 = divmod(c2 * 0xCD9E8D57, 1 << 32)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + 0x9E3779B9) % (1 << 32), (k1 + 0xBB67AE85) % (1 << 32)
    return c0, c1, c2, c3


def test_noise_in_bf16_is_added_in_fp32_and_cast_once():
    embeds = torch.randn(1, 400, 64, dtype=torch.bfloat16)
    noise, layout = Noise(5.0, 1), padded(400)

    noised, exact = apply(embeds, noise, layout, 0)

    assert noised.dtype == torch.bfloat16
    assert torch.equal(exact, embeds.float() + draw(noise, layout, 0, 64, CPU))
    assert torch.equal(noised, exact.to(torch.bfloat16))


def test_a_layout_of_another_shape_is_refused():
    with pytest.raises(NeftuneMisapplied):
        apply(torch.zeros(2, 7, 8), Noise(5.0, 1), padded(6, 6), 0)


def test_no_random_generator_is_moved():
    before = torch.get_rng_state()

    draw(Noise(5.0, 1), padded(6), epoch=0, width=8, device=CPU)

    assert torch.equal(torch.get_rng_state(), before)

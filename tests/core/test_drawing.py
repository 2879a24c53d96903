"""What the noise must be: the paper's bound per example, nothing on pads, a function of its key alone."""

# ruff: noqa: N806 - a tensor's name ends with its axes

import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from neftune_core.errors import NeftuneMisapplied, SpecError
from neftune_core.noise import Layout, Noise, apply, draw
from tests.core.golden_noise import asked, bits, cases, plain
from tests.core.tiny import make_spec

CPU = torch.device("cpu")


def padded(*lengths, width=None, keys=None, left=False):
    width = width or max(lengths)
    mask = torch.zeros(len(lengths), width, dtype=torch.int64)
    for row, length in enumerate(lengths):
        mask[row, width - length :] = 1 if left else 0
        if not left:
            mask[row, :length] = 1
    return Layout.padded(mask, torch.tensor(keys or [100 + row for row in range(len(lengths))]))


def packed(*lengths, keys, pads=0):
    """Lay examples one after the other into one row, with pads behind."""
    segment = [number for number, length in enumerate(lengths) for _ in range(length)] + [-1] * pads
    position = [place for length in lengths for place in range(length)] + [0] * pads
    return Layout(
        torch.tensor([segment]), torch.tensor([position]), torch.tensor(lengths), torch.tensor(keys)
    )


def mixed():
    """Make a layout of everything: several examples in a row, pads within and behind, chosen places."""
    segment_BT = torch.tensor([[0, 0, 0, -1, 1, 1, 1, 1, 1], [2, 2, -1, -1, -1, -1, -1, 3, 3]])
    position_BT = torch.tensor([[0, 1, 2, 0, 0, 1, 2, 3, 4], [0, 1, 0, 0, 0, 0, 0, 0, 1]])
    length_S, key_S = torch.tensor([3, 5, 2, 2]), torch.tensor([-42, 1 << 62, 0, 7])
    return Layout(segment_BT, position_BT, length_S, key_S, chosen_BT=position_BT != 1)


def drawn(noise, layout, epoch=0, width=64, **more):
    return draw(noise, layout, epoch, width, CPU, **more)


# How large


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

    values = drawn(noise, padded(length, width=512))

    assert noise.bound(length, 64) == pytest.approx(bound, abs=5e-7)
    assert float(values.abs().max()) <= bound + 5e-7
    assert float(values.abs().max()) > 0.9 * bound


def test_each_example_of_a_padded_batch_has_its_own_length_and_pads_have_nothing():
    values = drawn(Noise(alpha=5.0, seed=1), padded(12, 40, 100, 400))

    for row, length in enumerate((12, 40, 100, 400)):
        effective = math.sqrt(3) * float(values[row].norm())
        assert effective == pytest.approx(5.0, rel=5 * 0.5 * math.sqrt(0.8 / (length * 64)))
        assert torch.count_nonzero(values[row, length:]) == 0


def test_pads_have_positive_zeros():
    assert not drawn(Noise(5.0, 1), mixed())[mixed().segment_BT < 0].view(torch.int32).any()


def test_the_noise_is_uniform():
    values = drawn(Noise(alpha=1.0, seed=11), padded(1024)).flatten()

    unit = np.sort((values / Noise(1.0, 11).bound(1024, 64)).double().numpy())
    distance = np.abs((unit + 1) / 2 - (np.arange(len(unit)) + 0.5) / len(unit)).max()
    assert distance < 1.63 / math.sqrt(len(unit))  # Kolmogorov-Smirnov at one per cent


def test_strength_multiplies_alpha_for_a_batch():
    layout = padded(5, 3)

    assert torch.equal(drawn(Noise(8.0, 1), layout, strength=0.25), drawn(Noise(2.0, 1), layout))
    given_as_tensor = drawn(Noise(8.0, 1), layout, strength=torch.tensor(0.25, dtype=torch.float64))
    assert torch.equal(given_as_tensor, drawn(Noise(2.0, 1), layout))


@pytest.mark.parametrize("noise", [Noise(0.0, 1), Noise(5.0, 1)], ids=["alpha 0", "strength 0"])
def test_no_strength_is_no_noise(noise):
    values = drawn(noise, padded(5, 3), strength=1.0 if noise.alpha == 0 else 0.0)

    assert not values.any()


@pytest.mark.parametrize("strength", [-0.5, math.nan, math.inf])
def test_a_strength_that_is_no_strength_is_refused(strength):
    with pytest.raises(ValueError, match="strength"):
        drawn(Noise(5.0, 1), padded(5), strength=strength)


def test_only_the_chosen_places_get_noise_and_theirs_is_that_of_the_whole_example():
    layout = padded(9, 5)
    chosen_BT = layout.position_BT >= 3

    values = drawn(Noise(5.0, 1), replace(layout, chosen_BT=chosen_BT))

    assert torch.equal(
        values, drawn(Noise(5.0, 1), layout) * (chosen_BT & (layout.segment_BT >= 0))[..., None]
    )


def test_by_the_batchs_width_every_example_has_the_noise_of_the_longest():
    layout = padded(100, 7, width=100)

    values = drawn(Noise(5.0, 1, scale="batch_width"), layout)

    paper = drawn(Noise(5.0, 1), layout)
    assert torch.equal(values[0], paper[0])
    assert torch.allclose(values[1], paper[1] * math.sqrt(7 / 100), rtol=1e-6)


@pytest.mark.parametrize("alpha", [-1e-9, math.nan, math.inf, 1e6, 100.001])
def test_an_alpha_out_of_range_is_refused_by_the_noise_as_by_a_spec(alpha):
    with pytest.raises(SpecError, match="alpha is"):
        Noise(alpha, 1)
    with pytest.raises(ValidationError):
        make_spec(alpha=alpha)


def test_the_largest_alpha_of_a_spec_is_one():
    assert Noise(make_spec(alpha=100).alpha, 1).alpha == 100


@pytest.mark.parametrize("seed", [-1, 1 << 31, 1.0, True, "1"])
def test_a_seed_out_of_range_is_refused(seed):
    with pytest.raises(SpecError, match="seed"):
        Noise(5.0, seed)


@pytest.mark.parametrize("epoch", [-1, 1 << 31])
def test_an_epoch_out_of_range_is_refused(epoch):
    with pytest.raises(ValueError, match="epoch"):
        drawn(Noise(5.0, 1), padded(5), epoch)


@pytest.mark.parametrize("multiplier", [0.0, -12.0, math.nan, math.inf])
def test_a_multiplier_that_nothing_undoes_is_refused(multiplier):
    with pytest.raises(SpecError, match="multiplies"):
        Noise(5.0, 1, later_multiplier=multiplier)


@pytest.mark.parametrize("word", [{"distribution": "normal"}, {"scale": "row"}])
def test_a_word_that_names_no_noise_is_refused(word):
    with pytest.raises(SpecError, match="it knows"):
        Noise(5.0, 1, **word)


# What decides it


def test_layout_decides_nothing():
    # Given an example alone, beside a longer one, padded on the left, and packed between others
    noise, keys = Noise(alpha=10.0, seed=7), [3, -42]
    alone = drawn(noise, padded(5, keys=[-42]), 2, 10)[0]
    beside = drawn(noise, padded(9, 5, keys=keys), 2, 10)[1, :5]
    left = drawn(noise, padded(9, 5, keys=keys, left=True), 2, 10)[1, 4:]
    second = drawn(noise, packed(9, 5, keys=keys), 2, 10)[0, 9:]
    first = drawn(noise, packed(5, 9, 2, keys=[-42, 3, 8], pads=3), 2, 10)[0, :5]

    # Then its noise has the same bits everywhere
    assert all(torch.equal(alone, elsewhere) for elsewhere in (beside, left, second, first))


def test_chunks_decide_nothing(monkeypatch):
    noise = Noise(alpha=10.0, seed=7)
    whole, holed = drawn(noise, padded(30)), drawn(noise, mixed())

    monkeypatch.setattr("neftune_core.noise.distributions.COUNTERS_AT_ONCE", 33)

    assert torch.equal(drawn(noise, padded(30)), whole)
    assert torch.equal(drawn(noise, mixed()), holed)


def test_seed_epoch_example_position_and_channel_each_change_the_noise():
    def unit(seed=1, epoch=1, key=1):
        return drawn(Noise(1.0, seed), padded(8, keys=[key]), epoch, 8)[0]

    values = unit()
    assert not torch.equal(values, unit(seed=2))
    assert not torch.equal(values, unit(epoch=2))
    assert not torch.equal(values, unit(key=2))
    assert not torch.equal(values, unit(key=1 + (1 << 40)))
    assert len(set(values.flatten().tolist())) == values.numel()


def test_seed_and_epoch_cannot_be_taken_for_each_other():
    layout = padded(8)

    assert not torch.equal(drawn(Noise(1.0, 1), layout, 2), drawn(Noise(1.0, 2), layout, 1))


def test_the_golden_file_is_the_plain_reading_of_the_definition():
    assert [plain(case) for case in cases()] == [case["values"] for case in cases()]


@pytest.mark.parametrize("case", cases(), ids=lambda case: f"width {case['width']}")
def test_the_noise_is_the_golden_one(case):
    """Changing its bits changes every run ever made."""
    assert bits(drawn(*asked(case)), case) == case["values"]


def test_no_random_generator_is_read_or_moved():
    torch.manual_seed(1)
    before, values = torch.get_rng_state(), drawn(Noise(5.0, 1), padded(6))
    assert torch.equal(torch.get_rng_state(), before)

    torch.manual_seed(2)
    assert torch.equal(drawn(Noise(5.0, 1), padded(6)), values)


def test_where_triton_is_not_installed_the_noise_is_the_same():
    told = "import sys; sys.modules['triton'] = None\nfrom tests.core.golden_noise import *\n" + (
        "from neftune_core.noise import draw\n"
        "drawn = [bits(draw(*asked(case), torch.device('cpu')), case) for case in cases()]\n"
        "assert drawn == [case['values'] for case in cases()]"
    )
    subprocess.run([sys.executable, "-c", told], check=True, timeout=100)


# Its sum with the embeddings


def test_noise_in_bf16_is_added_in_fp32_and_cast_once():
    embeds = torch.randn(1, 400, 64, dtype=torch.bfloat16, generator=torch.Generator().manual_seed(1))
    noise, layout = Noise(5.0, 1), padded(400)

    noised, exact = apply(embeds, noise, layout, 0)

    assert noised.dtype == torch.bfloat16
    assert torch.equal(exact, embeds.float() + drawn(noise, layout))
    assert torch.equal(noised, exact.to(torch.bfloat16))


def test_noise_on_bf16_embeddings_has_no_bias():
    # Given four million values, enough to see what noise drawn in bf16 is off: -0.33 % of its spread
    noise, layout = Noise(5.0, 1), padded(*[64] * 1000)

    noised, exact = apply(torch.zeros(1000, 64, 64, dtype=torch.bfloat16), noise, layout, 0)

    # Then the means are those of chance: within four standard errors
    allowed = noise.bound(64, 64) * 4 / math.sqrt(3 * noised.numel())
    assert abs(float(noised.double().mean())) < allowed
    assert abs(float(exact.double().mean())) < allowed


def test_the_embeddings_gradient_passes_unchanged():
    embeds = torch.randn(2, 5, 8, dtype=torch.bfloat16, requires_grad=True)
    weight = torch.randn(2, 5, 8, dtype=torch.bfloat16)

    noised, _ = apply(embeds, Noise(5.0, 1), padded(5, 3), 0)
    noised.backward(weight)

    assert torch.equal(embeds.grad, weight)


def test_a_layout_of_another_shape_is_refused():
    with pytest.raises(NeftuneMisapplied):
        apply(torch.zeros(2, 7, 8), Noise(5.0, 1), padded(6, 6), 0)

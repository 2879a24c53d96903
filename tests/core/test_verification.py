"""Measured noise against the options: what must be found out, and what chance may do."""

import math
from dataclasses import replace

import pytest
import torch

from neftune_core.errors import NeftuneMisapplied
from neftune_core.noise import Layout, Noise, apply
from neftune_core.noise.meter import NoiseMeter
from neftune_core.noise.verification import Due, Verification
from tests.core.test_drawing import padded

EMBEDS = torch.nn.Embedding(50, 64).weight.detach()


def measured(noise, *layouts, strength=1.0):
    """Measure what ``noise`` gives batches of these layouts."""
    meter = NoiseMeter(noise.later_multiplier)
    for epoch, layout in enumerate(layouts):
        embeds = EMBEDS[torch.arange(layout.segment_BT.numel()) % 50].view(*layout.segment_BT.shape, -1)
        meter.record(embeds, apply(embeds, noise, layout, epoch, strength)[1], layout)
    return meter.read()


def dues(*lengths, noised=None):
    """Name the examples as ``padded`` does."""
    return [Due(100 + row, length, noised or length) for row, length in enumerate(lengths)]


def verified(asked, reading, due, strength=1.0):
    check = Verification(asked)
    check.add(reading, due, strength)
    return check.conclude()


def chosen(layout, places):
    """Let only the first places of each row have noise."""
    mask = torch.zeros(layout.segment_BT.shape, dtype=torch.bool)
    mask[:, :places] = True
    return replace(layout, chosen_BT=mask)


def test_the_meter_finds_alpha_and_the_ratio_to_the_embeddings():
    reading = measured(Noise(5.0, 1), padded(300, 500, 40))

    assert reading.effective_alpha == pytest.approx(5.0, rel=0.02)
    assert reading.elsewhere == 0.0
    assert reading.places_S.tolist() == [300, 500, 40]
    assert reading.row_S.tolist() == [500] * 3
    noise_rms = math.sqrt(3 * 25.0 / 3 / (840 * 64))  # three examples of energy alpha squared / 3
    assert reading.ratio == pytest.approx(noise_rms / float(EMBEDS.square().mean().sqrt()), rel=0.05)

    facts = verified(Noise(5.0, 1), reading, dues(300, 500, 40))
    assert facts["effective_alpha"] == pytest.approx(5.0, rel=0.02)
    assert facts["expected_alpha"] == pytest.approx(5.0)
    assert (facts["examples"], facts["elements"]) == (3, 840 * 64)
    assert facts["sampling_error"] == pytest.approx(
        0.5 * math.sqrt(0.8 / 64 * (1 / 300 + 1 / 500 + 1 / 40)) / 3
    )
    assert facts["tolerance"] == 0.02


def test_a_reading_is_of_what_came_since_the_last_one():
    meter = NoiseMeter(1.0)
    layout = padded(3)
    meter.record(torch.zeros(1, 3, 4), torch.ones(1, 3, 4), layout)

    assert meter.read().square_S.tolist() == [12.0]
    empty = meter.read()
    assert (len(empty.key_S), empty.effective_alpha, empty.ratio, empty.elsewhere) == (0, 0.0, 0.0, 0.0)


def test_a_twelvefold_multiplier_is_measured_where_the_model_sees_it():
    noise = Noise(5.0, 1, later_multiplier=12.0)
    reading = measured(noise, padded(500))

    assert reading.effective_alpha == pytest.approx(5.0, rel=0.02)
    facts = verified(noise, reading, dues(500))
    assert facts["later_multiplier"] == 12.0


@pytest.mark.parametrize("distribution", ["uniform", "gaussian", "sphere"])
@pytest.mark.parametrize("scale", ["paper", "batch_width"])
@pytest.mark.parametrize("noised", [None, 60])
def test_each_option_is_held_to_its_own_expectation(distribution, scale, noised):
    noise = Noise(5.0, 1, distribution, scale)
    layouts = [padded(100, 400, keys=[100, 101])] * 8
    if noised:
        layouts = [chosen(layout, noised) for layout in layouts]

    check = Verification(noise)
    for layout in layouts:
        check.add(measured(noise, layout, strength=0.5), dues(100, 400, noised=noised), 0.5)
    facts = check.conclude()

    by = (100, 400) if scale == "paper" else (400, 400)
    share = sum((noised or length) / of for length, of in zip((100, 400), by, strict=True)) / 2
    assert facts["expected_alpha"] == pytest.approx(2.5 * math.sqrt(share))
    assert facts["effective_alpha"] == pytest.approx(facts["expected_alpha"], rel=0.02)


@pytest.mark.parametrize("distribution", ["uniform", "gaussian", "sphere"])
def test_chance_is_as_large_as_said(distribution):
    """The squared norms of 400 examples scatter as the law of their distribution has it."""
    noise, layout = Noise(5.0, 1, distribution), padded(*[40] * 400)
    layout = replace(layout, chosen_BT=(layout.position_BT < 10) & (layout.segment_BT >= 0))
    reading = measured(noise, layout)
    check = Verification(noise)
    check.add(reading, [Due(100 + row, 40, 10) for row in range(400)])

    said = 2 * check.sampling_error * math.sqrt(400)  # of one example's squared norm
    seen = float(reading.square_S.std() / reading.square_S.mean())
    assert seen == pytest.approx(said, rel=0.15)  # four sigmas of a deviation over 400


def test_noise_scaled_by_the_padded_width_is_found_out():
    reading = measured(Noise(5.0, 1, scale="batch_width"), padded(100, 500))

    with pytest.raises(NeftuneMisapplied, match="An example of 100 tokens"):
        verified(Noise(5.0, 1), reading, dues(100, 500))


def test_one_wrong_length_among_many_is_found_out():
    """The batch's own layout has it wrong, so the drawing and a sum over all examples look right."""
    layout = padded(*[50] * 30)
    length = layout.length_S.clone()
    length[17] = 65
    reading = measured(Noise(5.0, 1), replace(layout, length_S=length))

    with pytest.raises(NeftuneMisapplied, match="An example of 50 tokens"):
        verified(Noise(5.0, 1), reading, dues(*[50] * 30))


def test_a_small_error_in_all_examples_is_found_out_by_their_number():
    layout = padded(*[100] * 40)
    reading = measured(Noise(5.0 * 1.03, 1), layout)

    with pytest.raises(NeftuneMisapplied, match="alpha 5 was asked for"):
        verified(Noise(5.0, 1), reading, dues(*[100] * 40))
    verified(Noise(5.0 * 1.03, 1), reading, dues(*[100] * 40))


def test_noise_on_fewer_tokens_than_the_examples_have_is_found_out():
    reading = measured(Noise(5.0, 1), padded(100, 200))

    with pytest.raises(NeftuneMisapplied, match=r"200 tokens of an example were noised; .* 201"):
        verified(Noise(5.0, 1), reading, dues(100, 201))


@pytest.mark.parametrize(
    "due", [dues(100), [*dues(100, 200), Due(7, 5, 5)], [Due(100, 100, 100), Due(9, 200, 200)]]
)
def test_other_examples_than_the_steps_are_found_out(due):
    with pytest.raises(NeftuneMisapplied, match="not the step's"):
        verified(Noise(5.0, 1), measured(Noise(5.0, 1), padded(100, 200)), due)


def test_noise_on_a_pad_is_found_out():
    layout = padded(3, 6)
    embeds = torch.zeros(2, 6, 64)
    noised = apply(embeds, Noise(5.0, 1), layout, 0)[1].clone()
    noised[0, 4, 2] = 1e-6
    meter = NoiseMeter(1.0)
    meter.record(embeds, noised, layout)

    with pytest.raises(NeftuneMisapplied, match="Pads"):
        Verification(Noise(5.0, 1)).add(meter.read(), dues(3, 6))


def test_noise_on_tokens_left_out_is_found_out():
    """The layout chooses three tokens of each example, and all of them have noise."""
    layout, embeds = padded(5, 6), torch.zeros(2, 6, 64)
    meter = NoiseMeter(1.0)
    meter.record(embeds, apply(embeds, Noise(5.0, 1), layout, 0)[1], chosen(layout, 3))

    with pytest.raises(NeftuneMisapplied, match="tokens that were to have no noise"):
        Verification(Noise(5.0, 1)).add(meter.read(), dues(5, 6, noised=3))


def test_a_step_without_strength_has_no_noise_and_proves_nothing():
    check = Verification(Noise(5.0, 1))
    check.add(measured(Noise(5.0, 1), padded(100), strength=0.0), dues(100), 0.0)
    assert not check.enough

    with pytest.raises(NeftuneMisapplied, match="asks for 0"):
        check.add(measured(Noise(5.0, 1), padded(100)), dues(100), 0.0)


@pytest.mark.parametrize("steps", [1, 10_000, 100_000])
def test_noise_that_fp32_rounds_is_no_fault_and_noise_twice_as_strong_is(steps):
    """The first step of a warm-up over many, on embeddings as large as Gemma's."""
    asked, layout, embeds = Noise(5.0, 1), padded(400), 2 * EMBEDS.repeat(8, 8)[None]

    def found(noise):
        meter = NoiseMeter(1.0)
        meter.record(embeds, apply(embeds, noise, layout, 0, 1 / steps)[1], layout)
        return meter.read()

    assert verified(asked, found(asked), dues(400), 1 / steps)["expected_alpha"] == pytest.approx(5 / steps)
    if steps < 100_000:  # beyond, rounding is all there is
        with pytest.raises(NeftuneMisapplied):
            verified(asked, found(Noise(10.0, 1)), dues(400), 1 / steps)


def test_few_elements_are_not_enough_to_judge():
    check = Verification(Noise(5.0, 1))
    check.add(measured(Noise(5.0, 1), padded(2)), dues(2))

    assert not check.enough
    facts = check.conclude()  # what chance allows is no fault
    assert facts["tolerance"] == pytest.approx(5 * facts["sampling_error"])
    assert facts["tolerance"] > 0.02


def test_weights_that_are_no_numbers_prove_nothing_and_are_not_the_noises_fault():
    meter, layout = NoiseMeter(1.0), padded(4, 6)
    embeds = torch.full((2, 6, 64), math.nan)
    meter.record(embeds, apply(embeds, Noise(5.0, 1), layout, 0)[1], layout)
    reading = meter.read()

    check = Verification(Noise(5.0, 1))
    check.add(reading, dues(4, 6))
    assert (check.examples, reading.effective_alpha, reading.ratio) == (0, None, None)


def test_noise_that_is_no_number_is_found_out():
    meter, layout = NoiseMeter(1.0), padded(4)
    embeds = torch.ones(1, 4, 64)
    meter.record(embeds, embeds + math.nan, layout)

    with pytest.raises(NeftuneMisapplied):
        Verification(Noise(5.0, 1)).add(meter.read(), dues(4))


def test_packed_rows_are_measured_example_by_example():
    segment = torch.tensor([[0] * 30 + [1] * 200 + [2] * 9 + [-1] * 3])
    position = torch.cat([torch.arange(n) for n in (30, 200, 9, 3)])[None]
    layout = Layout(segment, position, torch.tensor([30, 200, 9]), torch.tensor([100, 101, 102]))

    reading = measured(Noise(5.0, 1), layout)

    assert reading.places_S.tolist() == [30, 200, 9]
    verified(Noise(5.0, 1), reading, dues(30, 200, 9))


def test_another_verification_goes_on_from_what_one_collected():
    first, second, whole = (Verification(Noise(5.0, 1)) for _ in range(3))
    one, two = (measured(Noise(5.0, 1), padded(n)) for n in (30, 40))
    first.add(one, dues(30))
    second.go_on(first.state())
    second.add(two, dues(40))
    whole.add(one, dues(30))
    whole.add(two, dues(40))

    assert second.conclude() == whole.conclude()

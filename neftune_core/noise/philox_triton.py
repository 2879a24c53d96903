"""Uniform noise in one Triton kernel: the words of :mod:`neftune_core.noise.philox`, the same bits.

Imported only where tensors lie on a GPU and Triton is installed. Knows no layouts: places, their examples
and bounds are given.

Axes: P places, S examples, D channels; inside the kernel p places and c counters of a block.
"""

# ruff: noqa: N803, N806 - a tensor's name ends with its axes

import torch
import triton
import triton.language as tl
from torch import Tensor

_PLACES = 4
_COUNTERS = 64  # of one place: four channels each


def uniform(  # noqa: PLR0913, PLR0917 - what a kernel is launched with
    stream: tuple[int, int],
    segment_P: Tensor,
    position_P: Tensor,
    key_S: Tensor,
    bound_S: Tensor,
    width: int,
) -> Tensor:
    """Draw the noise of each place in fp32: ``[P, width]``, zeros where the segment is -1.

    All tensors lie on the device: int64, the bounds fp32.
    """
    seed, epoch = stream
    places = len(segment_P)
    drawn_PD = torch.empty(places, width, dtype=torch.float32, device=segment_P.device)
    grid = (triton.cdiv(places, _PLACES), triton.cdiv(width, 4 * _COUNTERS))
    with torch.cuda.device_of(segment_P):  # type: ignore[no-untyped-call]  # torch's; Triton launches on it
        _uniform[grid](
            drawn_PD,
            segment_P,
            position_P,
            key_S,
            bound_S,
            seed | epoch << 32,
            places,
            width,
            _PLACES,
            _COUNTERS,
        )
    return drawn_PD


@triton.jit
def philox_words(stream: tl.tensor, counter: tl.tensor, position: tl.tensor, key: tl.tensor) -> tl.tensor:
    """Give four words, uint32, for each counter (counter, position, key low, key high) and key ``stream``."""
    low = key.to(tl.uint32)
    high = (key >> 32).to(tl.uint32)
    return tl.philox(stream, counter.to(tl.uint32), position.to(tl.uint32), low, high)


@triton.jit(do_not_specialize=["stream", "places"])
def _uniform(  # noqa: PLR0913, PLR0917 - as above
    drawn_PD: tl.tensor,
    segment_P: tl.tensor,
    position_P: tl.tensor,
    key_S: tl.tensor,
    bound_S: tl.tensor,
    stream: tl.tensor,
    places: tl.tensor,
    width: tl.tensor,
    PLACES: tl.constexpr,
    COUNTERS: tl.constexpr,
) -> None:
    place_p = tl.program_id(0).to(tl.int64) * PLACES + tl.arange(0, PLACES)
    here_p = place_p < places
    segment_p = tl.load(segment_P + place_p, mask=here_p, other=-1)
    noisy_p = segment_p >= 0
    position_p = tl.load(position_P + place_p, mask=noisy_p, other=0)
    key_p = tl.load(key_S + segment_p, mask=noisy_p, other=0)
    bound_p = tl.load(bound_S + segment_p, mask=noisy_p, other=0.0)

    counter_c = tl.program_id(1) * COUNTERS + tl.arange(0, COUNTERS)
    words = philox_words(stream, counter_c[None, :], position_p[:, None], key_p[:, None])
    word_0, word_1, word_2, word_3 = words
    even, odd = tl.interleave(word_0, word_2), tl.interleave(word_1, word_3)
    word_pd = tl.interleave(even, odd)  # neighbouring channels side by side, to be stored in one piece

    unit_pd = (2 * (word_pd >> 8).to(tl.int32) - 16777215).to(tl.float32) * (1.0 / 16777216)  # exact
    channel_d = tl.program_id(1) * (4 * COUNTERS) + tl.arange(0, 4 * COUNTERS)
    inside_pd = here_p[:, None] & (channel_d < width)[None, :]
    # A bound of zero would leave negative zeros at pads.
    value_pd = tl.where(noisy_p[:, None], unit_pd * bound_p[:, None], 0.0)
    tl.store(drawn_PD + place_p[:, None] * width + channel_d[None, :], value_pd, mask=inside_pd)

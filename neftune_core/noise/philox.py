"""Philox4x32-10: random words as a pure function of a key and a counter.

The counter-based generator of Salmon et al. (SC'11), written with wrapping int64 tensor operations so
that one code serves every device. Knows nothing of tokens or noise; :mod:`neftune_core.noise` decides
what the counters mean. There is no state: the same key and counter always give the same words.
"""

import torch
from torch import Tensor

WORD = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10

Words = tuple[Tensor, Tensor, Tensor, Tensor]


def philox4x32(key: tuple[int, int], counter: Words) -> Words:
    """Give the four 32-bit words of each counter, held in int64.

    The four counter words are int64 tensors with values below 2**32 whose shapes broadcast together.
    """
    key0, key1 = key
    c0, c1, c2, c3 = counter
    # Shapes grow by broadcasting in the first rounds (a lane needs no position yet), so those cost next to
    # nothing. From the fourth round on all are whole and each round works in place.
    for number in range(_ROUNDS):
        product0 = c0 * _MULTIPLIERS[0]
        product1 = c2 * _MULTIPLIERS[1]
        whole = number > 2
        c0 = _mix(product1, c1, key0, c0 if whole else None)
        c2 = _mix(product0, c3, key1, c2 if whole else None)
        c1, c3 = product1, product0
        key0 = (key0 + _WEYL[0]) & WORD
        key1 = (key1 + _WEYL[1]) & WORD
    return c0, c1.bitwise_and_(WORD), c2, c3.bitwise_and_(WORD)


def _mix(product: Tensor, word: Tensor, key: int, out: Tensor | None) -> Tensor:
    """Give a product's high word, mixed with a word and the key.

    A product of two 32-bit words wraps in int64, but its 64 bits are the right ones. ``word`` may carry
    rubbish above bit 31: only what is multiplied next, the result, is cut.
    """
    if out is None:
        return ((product >> 32) ^ (word ^ key)).bitwise_and_(WORD)
    torch.bitwise_right_shift(product, 32, out=out)
    return out.bitwise_xor_(word.bitwise_xor_(key)).bitwise_and_(WORD)


def interleaved(words: Words) -> Tensor:
    """Lay the words of neighbouring counters side by side, as int32 with the same bits: ``[..., 4 * C]``."""
    laid = torch.empty(*words[0].shape, 4, dtype=torch.int32, device=words[0].device)
    for place, word in enumerate(words):
        laid[..., place] = word  # cut to its low 32 bits
    return laid.flatten(-2)


def to_unit(words: Tensor) -> Tensor:
    """Map 32-bit words, held in int32 with the same bits, to fp32 in (-1, 1): odd multiples of 2**-24.

    Symmetric about zero and exact in fp32; -1, 0 and 1 never come out.
    """
    upper = (words >> 8).bitwise_and_((1 << 24) - 1)
    return upper.mul_(2).sub_((1 << 24) - 1).to(torch.float32).mul_(2.0**-24)

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
    # A product of two 32-bit words wraps in int64, but its 64 bits are the right ones. Words 1 and 3 may
    # carry rubbish above bit 31 between rounds: only words 0 and 2 are multiplied, so only they are cut.
    shape = torch.broadcast_shapes(*(word.shape for word in counter))  # type: ignore[no-untyped-call]  # torch's
    c0, c1, c2, c3 = (word.expand(shape) for word in counter)
    for _ in range(_ROUNDS):
        product0 = c0 * _MULTIPLIERS[0]
        product1 = c2 * _MULTIPLIERS[1]
        c0 = (product1 >> 32).bitwise_xor_(c1 ^ key0).bitwise_and_(WORD)
        c2 = (product0 >> 32).bitwise_xor_(c3 ^ key1).bitwise_and_(WORD)
        c1, c3 = product1, product0
        key0 = (key0 + _WEYL[0]) & WORD
        key1 = (key1 + _WEYL[1]) & WORD
    return c0, c1 & WORD, c2, c3 & WORD


def to_unit(words: Tensor) -> Tensor:
    """Map 32-bit words to fp32 in (-1, 1): odd multiples of 2**-24.

    Symmetric about zero and exact in fp32; -1, 0 and 1 never come out.
    """
    return (words >> 8).mul_(2).sub_((1 << 24) - 1).to(torch.float32).mul_(2.0**-24)

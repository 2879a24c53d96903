"""Which rows are held out, and in what order the rest are walked: decided by the seed alone.

Orders are made by hashing, so they are the same on every platform and in every version of a library.
"""

import hashlib
from collections.abc import Sequence
from typing import TypeVar

from neftune_core.plan import held_out_rows

T = TypeVar("T")


def shuffled(count: int, seed: int, purpose: str) -> list[int]:
    """Order the numbers below ``count``; each purpose, such as an epoch, has an order of its own."""

    def rank(index: int) -> bytes:
        return hashlib.blake2b(f"{seed}:{purpose}:{index}".encode(), digest_size=16).digest()

    return sorted(range(count), key=rank)


def held_out(rows: Sequence[T], share: float, seed: int) -> tuple[list[T], list[T]]:
    """Split rows into those that train and those held out, each in their old order.

    With too few rows for the share nothing is held out; one row always trains.
    """
    count = held_out_rows(len(rows), share)
    chosen = set(shuffled(len(rows), seed, "held out")[:count])
    return (
        [row for index, row in enumerate(rows) if index not in chosen],
        [row for index, row in enumerate(rows) if index in chosen],
    )

"""How a long curve is cut for a reader: which spans to read, and what each piece keeps.

Knows numbers of steps; knows no SQL.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from neftune_store.spans import WIDTHS

Point = tuple[int, float]
Piece = tuple[int, float, int, float, int, int]  # span; low and its step, high and its; points
FINE = 512  # spans of a curve that are read at least


@dataclass(frozen=True, slots=True)
class Cut:
    """Steps ``first`` to ``last`` in buckets of ``together`` spans; spans ``begin`` to ``end`` are there."""

    first: int
    last: int
    width: int
    begin: int
    end: int
    together: int

    def bucket(self, step: int) -> int:
        """Tell to which piece a step belongs."""
        return step // (self.width * self.together)


def cut_of(first: int, last: int, until: int, max_points: int) -> Cut | None:
    """Choose spans to read, and how many make a piece; ``None``: read the rows themselves.

    What is read is finer than what is shown where that is little: so the end of a curve, which no span
    holds yet, stays short.
    """
    most = max(1, max_points // 2)
    fine = max(most, FINE)

    def pieces(width: int) -> int:
        return last // width - first // width + 1

    if last - first < max(max_points, WIDTHS[0] * fine // 2):
        return None  # rows show more of it, and are quick to read
    width = next((width for width in WIDTHS if pieces(width) <= fine), WIDTHS[-1])
    together = 1
    while pieces(width * together) > most:
        together *= 2
    begin, end = -(-first // width), until // width
    return Cut(first, last, width, begin, end, together) if begin < end else None


def thinned(cut: Cut, pieces: Sequence[Piece], max_points: int) -> list[Point] | None:
    """Give the points that are kept of one curve, in step order; ``None``: spans do not hold all of its few.

    Of each bucket these are its smallest and its largest, the earlier where values are equal.
    """
    points = sum(piece[5] for piece in pieces)
    if points <= max_points:
        whole = all(piece[5] <= 2 for piece in pieces)
        return sorted({point for piece in pieces for point in _ends(piece)}) if whole else None
    lowest: dict[int, tuple[float, int]] = {}
    highest: dict[int, tuple[float, int]] = {}
    together = cut.together
    for span, low, low_step, high, high_step, _ in pieces:
        bucket = span // together
        known = lowest.get(bucket)
        if known is None or (low, low_step) < known:
            lowest[bucket] = low, low_step
        known = highest.get(bucket)
        if known is None or high > known[0] or (high == known[0] and high_step < known[1]):
            highest[bucket] = high, high_step
    kept = {(step, value) for found in (lowest, highest) for value, step in found.values()}
    return sorted(kept)


def _ends(piece: Piece) -> tuple[Point, Point]:
    _, low, low_step, high, high_step, _ = piece
    return (low_step, low), (high_step, high)

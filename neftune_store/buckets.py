"""How a long curve is cut for a reader: which spans to read, and what each piece keeps.

Knows numbers of steps; knows no SQL.
"""

from dataclasses import dataclass, field

from neftune_store.spans import WIDTHS, Span

Point = tuple[int, float]
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


@dataclass(slots=True)
class Buckets:
    """The smallest and the largest point of each piece of one curve, the earlier where values are equal."""

    cut: Cut
    points: int = 0
    whole: bool = True  # every point was seen
    _low: dict[int, Point] = field(default_factory=dict)
    _high: dict[int, Point] = field(default_factory=dict)
    _all: set[Point] = field(default_factory=set)

    def add_span(self, span: Span) -> None:
        """Take what is kept of some steps."""
        self._take(span.low_step, span.low)
        self._take(span.high_step, span.high)
        self.points += span.points
        self.whole = self.whole and span.points <= 2

    def add(self, step: int, value: float) -> None:
        """Take one point."""
        self._take(step, value)
        self.points += 1

    def curve(self, max_points: int) -> list[Point]:
        """Give the points in step order: each of them, or what the pieces keep."""
        if self.whole and self.points <= max_points:
            return sorted(self._all)
        return sorted({*self._low.values(), *self._high.values()})

    def _take(self, step: int, value: float) -> None:
        piece, point = self.cut.bucket(step), (step, value)
        self._all.add(point)
        low, high = self._low.get(piece), self._high.get(piece)
        if low is None or (value, step) < (low[1], low[0]):
            self._low[piece] = point
        if high is None or (-value, step) < (-high[1], high[0]):
            self._high[piece] = point

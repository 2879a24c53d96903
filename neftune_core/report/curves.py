"""Loss curves of a run, and of several beside one another."""

from collections.abc import Iterable, Sequence

from neftune_core.report.axes import axis
from neftune_core.report.document import Line, Lines
from neftune_core.report.reading import Point, Run, number

MOST_POINTS = 300
_NOISY = (
    ("train_loss", "training loss, noise on"),
    ("clean_train_loss", "training loss, noise off"),
    ("eval_loss", "held-out loss, noise off"),
)
_PLAIN = (("train_loss", "training loss"), ("eval_loss", "held-out loss"))  # clean ones are the same


def losses(run: Run) -> Lines | None:
    """Draw the losses of a run by its steps."""
    drawn = [(name, curve(run.metrics, key)) for key, name in (_NOISY if run.alpha > 0 else _PLAIN)]
    lines = [Line(name=name, points=points) for name, points in drawn if points]
    return chart("Loss by step", lines)


def chart(title: str, lines: Sequence[Line]) -> Lines | None:
    """Draw curves over steps, if there are any."""
    if not lines:
        return None
    x = axis("step", (point[0] for line in lines for point in line.points), whole=True, from_zero=True)
    y = axis("loss per token", (point[1] for line in lines for point in line.points))
    return Lines(title=title, x=x, y=y, lines=tuple(lines))


def kept(metrics: Iterable[Point]) -> list[Point]:
    """Keep of many points what a curve needs: the losses, every second one each time there are too many."""
    thin = {key: _Thin() for key, _ in _NOISY}
    for step, values in metrics:
        for key, points in thin.items():
            if (value := number(values, key)) is not None:
                points.add(step, value)
    return [(step, {key: value}) for key, points in thin.items() for step, value in points.all()]


class _Thin:
    """Points that come in order, of which evenly many are kept, and the last one."""

    def __init__(self) -> None:
        self._points: list[tuple[int, float]] = []
        self._seen, self._stride = 0, 1
        self._last: tuple[int, float] | None = None

    def add(self, step: int, value: float) -> None:
        """Take a point."""
        self._last = (step, value)
        if self._seen % self._stride == 0:
            self._points.append(self._last)
        self._seen += 1
        if len(self._points) > 4 * MOST_POINTS:
            self._points, self._stride = self._points[::2], self._stride * 2

    def all(self) -> list[tuple[int, float]]:
        """Give what was kept."""
        ends = [] if self._last is None or self._last == self._points[-1] else [self._last]
        return [*self._points, *ends]


def curve(metrics: Iterable[Point], key: str) -> tuple[tuple[float, float], ...]:
    """Give a metric's points, thinned out evenly where they are many; first and last stay."""
    points = [(float(step), value) for step, values in metrics if (value := number(values, key)) is not None]
    points.sort()
    if len(points) > MOST_POINTS:
        gap = (len(points) - 1) / (MOST_POINTS - 1)
        points = [points[round(place * gap)] for place in range(MOST_POINTS)]
    return tuple(points)

"""Charts as SVG: curves, histograms and intervals. Classes alone say how things look, so light and dark do.

Series differ by dashes, marks and place as well as by colour. Each chart has a title and a legend in words.
"""

from collections.abc import Callable, Sequence

from neftune_core.report.document import Axis, Bars, Intervals, Lines
from neftune_core.report.markup import Markup, tag

WIDTH, HEIGHT = 640.0, 300.0
LEFT, RIGHT, TOP, BOTTOM = 84.0, 16.0, 14.0, 46.0  # room for labels in the large print of small screens
ROW = 30.0  # of an interval
MOST_SERIES = 6  # looks that differ; further ones begin again

Scale = Callable[[float], float]


def lines(chart: Lines) -> Markup:
    """Draw curves, or dots alone."""
    x, y = _across(chart.x), _up(chart.y)
    drawn = []
    for number, line in enumerate(chart.lines):
        look = f"s{number % MOST_SERIES}"
        points = [(x(at), y(value)) for at, value in line.points]
        if not chart.dots and len(points) > 1:
            drawn.append(tag("path", d=_path(points), class_=f"line {look}"))
        if chart.dots or len(points) <= 40:
            drawn += [_mark(number, at, value, look) for at, value in points]
    names = [line.name for line in chart.lines]
    return _figure(chart.title, [*_grid(chart.x, chart.y, x, y), *drawn], HEIGHT, names)


def histogram(chart: Bars) -> Markup:
    """Draw histograms as steps over one another."""
    x, y = _across(chart.x), _up(chart.y)
    drawn = []
    for number, series in enumerate(chart.series):
        points = [(x(chart.edges[0]), y(0))]
        for low, high, count in zip(chart.edges, chart.edges[1:], series.counts, strict=False):
            points += [(x(low), y(count)), (x(high), y(count))]
        points.append((x(chart.edges[-1]), y(0)))
        drawn.append(tag("path", d=_path(points), class_=f"steps s{number % MOST_SERIES}"))
    names = [series.name for series in chart.series]
    return _figure(chart.title, [*_grid(chart.x, chart.y, x, y), *drawn], HEIGHT, names)


def intervals(chart: Intervals) -> Markup:
    """Draw estimates with their intervals."""
    height = TOP + BOTTOM + ROW * max(1, len(chart.rows))
    x = _across(chart.x)
    foot = height - BOTTOM
    drawn = [
        *_marks_below(chart.x, x, foot),
        tag("line", x1=x(chart.nothing), x2=x(chart.nothing), y1=TOP, y2=foot, class_="nothing"),
    ]
    for number, row in enumerate(chart.rows):
        middle = TOP + ROW * (number + 0.5)
        drawn.append(tag("text", row.name, x=LEFT - 8, y=middle + 4, class_="end"))
        if row.low is not None and row.high is not None:
            drawn.append(tag("line", x1=x(row.low), x2=x(row.high), y1=middle, y2=middle, class_="span s0"))
        drawn.append(tag("circle", cx=x(row.at), cy=middle, r=5.0, class_="mark s0"))
    return _figure(chart.title, drawn, height, [])


def _figure(title: str, drawn: Sequence[Markup], height: float, names: Sequence[str]) -> Markup:
    svg = tag(
        "svg",
        tag("title", title),
        *drawn,
        view_box=f"0 0 {WIDTH:g} {height:g}",
        role="img",
        preserveAspectRatio="xMidYMid meet",
    )
    legend = [tag("li", _sample(number), tag("bdi", name)) for number, name in enumerate(names)]
    return tag(
        "figure",
        tag("figcaption", title),
        svg,
        tag("ul", *legend, class_="legend") if legend else None,
    )


def _sample(number: int) -> Markup:
    look = f"s{number % MOST_SERIES}"
    return tag(
        "svg",
        tag("path", d="M1 7L33 7", class_=f"line {look}"),
        _mark(number, 17, 7, look),
        view_box="0 0 34 14",
        class_="sample",
        aria_hidden="true",
    )


def _mark(number: int, x: float, y: float, look: str) -> Markup:
    """Give each series a mark of its own form."""
    name = f"mark {look}"
    match number % 3:
        case 0:
            return tag("circle", cx=_short(x), cy=_short(y), r=3.5, class_=name)
        case 1:
            return tag("rect", x=_short(x - 3), y=_short(y - 3), width=6.0, height=6.0, class_=name)
        case _:
            path = _path([(x, y - 4.5), (x + 4.5, y + 3.5), (x - 4.5, y + 3.5)]) + "Z"
            return tag("path", d=path, class_=name)


def _grid(x_axis: Axis, y_axis: Axis, x: Scale, y: Scale) -> list[Markup]:
    drawn = _marks_below(x_axis, x, HEIGHT - BOTTOM)
    for tick in y_axis.ticks:
        at = y(tick.at)
        drawn.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=_short(at), y2=_short(at), class_="grid"))
        drawn.append(tag("text", tick.label, x=LEFT - 8, y=_short(at + 4), class_="end"))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    turned = f"rotate(-90 14 {middle:g})"
    drawn.append(tag("text", y_axis.title, x=14, y=middle, class_="middle title", transform=turned))
    return drawn


def _marks_below(axis: Axis, x: Scale, foot: float) -> list[Markup]:
    drawn = []
    for tick in axis.ticks:
        at = _short(x(tick.at))
        drawn.append(tag("line", x1=at, x2=at, y1=TOP, y2=foot, class_="grid"))
        drawn.append(tag("text", tick.label, x=at, y=foot + 18, class_="middle"))
    middle = (LEFT + WIDTH - RIGHT) / 2
    return [*drawn, tag("text", axis.title, x=middle, y=foot + 38, class_="middle title")]


def _across(axis: Axis) -> Scale:
    wide = (WIDTH - LEFT - RIGHT) / ((axis.high - axis.low) or 1.0)
    return lambda value: LEFT + (value - axis.low) * wide


def _up(axis: Axis) -> Scale:
    tall = (HEIGHT - TOP - BOTTOM) / ((axis.high - axis.low) or 1.0)
    return lambda value: HEIGHT - BOTTOM - (value - axis.low) * tall


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _short(value: float) -> float:
    return round(value, 1)

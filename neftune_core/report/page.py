"""The report as one page of HTML that needs nothing else. Shows what the document holds, and nothing more."""

from neftune_core.report import charts
from neftune_core.report.document import (
    Bars,
    Block,
    Caveat,
    Cell,
    Column,
    Conclusion,
    Form,
    Intervals,
    Lines,
    MissingPart,
    Pair,
    Pairs,
    Report,
    Section,
    Table,
    Text,
)
from neftune_core.report.markup import Markup, page_of, style_of, tag
from neftune_core.report.numbers import written
from neftune_core.report.style import POLICY, SHEET


def page(report: Report) -> str:
    """Show a report."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", report.title),
        style_of(SHEET),
    )
    body = tag(
        "body",
        tag("main", tag("h1", tag("bdi", report.title)), _said("p", report.subtitle, "dim"), *_parts(report)),
    )
    return page_of(head, body)


def _parts(report: Report) -> list[Markup]:
    parts = [_verdict(report.verdict)]
    if report.caveats:
        parts.append(_caveats(report.caveats))
    if report.missing:
        parts.append(_missing(report.missing))
    return [*parts, *map(_section, report.sections)]


def _verdict(verdict: Conclusion) -> Markup:
    interval = None
    if verdict.interval is not None and verdict.confidence is not None:
        low, high = (_number(end, "change") for end in verdict.interval)
        sure = _number(verdict.confidence, "number")
        words = ("Difference to the control in held-out loss: from ", low, " to ", high)
        interval = tag("p", *words, " (confidence ", sure, ")")
    why = _said("p", verdict.why) if verdict.why else None
    parts = (tag("h2", "Verdict"), _said("p", verdict.headline), why, interval)
    return tag("section", *parts, class_=f"verdict {verdict.outcome}", id="verdict")


def _caveats(caveats: tuple[Caveat, ...]) -> Markup:
    lines = [
        tag("li", tag("bdi", one.text), " ", tag("span", one.code, class_="code"), id=f"caveat-{one.code}")
        for one in caveats
    ]
    return tag("section", tag("h2", "What limits this"), tag("ul", *lines, class_="caveats"), id="caveats")


def _missing(missing: tuple[MissingPart, ...]) -> Markup:
    lines = [tag("li", tag("bdi", one.what), ": ", tag("bdi", one.why)) for one in missing]
    return tag("section", tag("h2", "What is missing"), tag("ul", *lines), id="missing")


def _section(section: Section) -> Markup:
    return tag("section", tag("h2", section.title), *map(_block, section.blocks), id=section.id)


def _block(block: Block) -> Markup:
    match block:
        case Table():
            return _table(block)
        case Lines():
            return charts.lines(block)
        case Bars():
            return charts.histogram(block)
        case Intervals():
            return charts.intervals(block)
        case Pairs():
            return tag("div", tag("h3", block.title), *map(_pair, block.pairs))
    return _said("p", block.text)


def _table(table: Table) -> Markup:
    head = tag("tr", *(tag("th", one.title, scope="col", class_=_side(one)) for one in table.columns))
    first, *others = table.columns
    rows = [
        tag(
            "tr",
            tag("th", _cell(row.get(first.key), first.form), scope="row", class_=_side(first)),
            *(tag("td", _cell(row.get(one.key), one.form), class_=_side(one)) for one in others),
        )
        for row in table.rows
    ]
    laid = tag("table", tag("caption", tag("span", table.title)), tag("thead", head), tag("tbody", *rows))
    return tag("div", laid, class_="wide", tabindex=0, role="region", aria_label=table.title)


def _side(column: Column) -> str | None:
    return None if column.form == "text" else "n"


def _cell(value: Cell, form: Form) -> Markup:
    if isinstance(value, str):
        return tag("bdi", value)
    if value is None or isinstance(value, bool):
        return tag("span", written(value, form))
    return _number(value, form)


def _number(value: float, form: Form) -> Markup:
    return tag("data", written(value, form), value=repr(value))


def _pair(pair: Pair) -> Markup:
    row = None if pair.row is None else tag("span", " (row ", _number(pair.row, "count"), ")")
    return tag(
        "article",
        tag("p", tag("strong", pair.why), row, " ", tag("span", pair.rule, class_="code")),
        _text(pair.prompt),
        tag("div", *map(_text, pair.answers), class_="answers"),
        class_="pair",
    )


def _text(text: Text) -> Markup:
    length = (_number(text.characters, "count"), " characters", ", cut here" if text.cut else None)
    head = tag("p", tag("strong", tag("bdi", text.name)), " – ", *length, class_="dim")
    return tag("div", head, tag("blockquote", text.text, dir="auto"))


def _said(element: str, text: str, class_: str | None = None) -> Markup:
    return tag(element, tag("bdi", text), class_=class_)

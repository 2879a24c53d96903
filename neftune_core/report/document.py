"""The report as values: what ``report.json`` holds, and all that ``report.html`` shows.

Words that a page needs (titles, notes, marks of an axis) stand here too, so the page can show nothing that
is not in the JSON. Numbers are whole here; a page rounds them by their ``Form``.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from neftune_core.report.legible import all_legible

FORMAT = 1

Number = Annotated[float, Field(allow_inf_nan=False)]
Cell = str | int | Number | bool | None
Form = Literal["text", "count", "loss", "share", "percent", "change", "number"]


class Value(BaseModel):
    """A value that never changes, its texts legible."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _legible(cls, told: Any) -> Any:
        return all_legible(told)


class Column(Value):
    """What stands in a column, under which key its rows have it, and how it is written."""

    key: str
    title: str
    form: Form = "text"


class Table(Value):
    """Rows of cells by key; null is shown as a dash."""

    type: Literal["table"] = "table"
    title: str
    columns: tuple[Column, ...]
    rows: tuple[dict[str, Cell], ...]


class Tick(Value):
    """A mark on an axis."""

    at: Number
    label: str


class Axis(Value):
    """What an axis shows, from where to where."""

    title: str
    low: Number
    high: Number
    ticks: tuple[Tick, ...]


class Line(Value):
    """Points that belong together."""

    name: str
    points: tuple[tuple[Number, Number], ...]


class Lines(Value):
    """Curves over one axis; ``dots`` says that points are shown alone, unjoined."""

    type: Literal["lines"] = "lines"
    title: str
    x: Axis
    y: Axis
    lines: tuple[Line, ...]
    dots: bool = False


class Bars(Value):
    """Histograms laid over one another, all on the same edges."""

    type: Literal["histogram"] = "histogram"
    title: str
    x: Axis
    y: Axis
    edges: tuple[Number, ...]
    series: tuple["Counts", ...]


class Counts(Value):
    """How many lie between two edges."""

    name: str
    counts: tuple[int, ...]


class Interval(Value):
    """An estimate and where it may lie."""

    name: str
    at: Number
    low: Number | None
    high: Number | None


class Intervals(Value):
    """Estimates with their intervals, one under another, beside what means no difference."""

    type: Literal["intervals"] = "intervals"
    title: str
    x: Axis
    nothing: Number  # where there is no difference
    rows: tuple[Interval, ...]


class Text(Value):
    """A text that may have been cut, and how long it was, in characters."""

    name: str
    text: str
    characters: int
    cut: bool


class Pair(Value):
    """Answers to the same prompt, and the rule by which the prompt was picked."""

    rule: str
    why: str
    row: int | None
    prompt: Text
    answers: tuple[Text, ...]


class Pairs(Value):
    """Answers side by side."""

    type: Literal["pairs"] = "pairs"
    title: str
    pairs: tuple[Pair, ...]


class Words(Value):
    """A paragraph."""

    type: Literal["words"] = "words"
    text: str


Block = Annotated[Table | Lines | Bars | Intervals | Pairs | Words, Field(discriminator="type")]


class Section(Value):
    """A part of the report under its own heading."""

    id: str
    title: str
    blocks: tuple[Block, ...]


class Caveat(Value):
    """What limits what can be concluded: a stable code, and the same in words."""

    code: str
    text: str


class MissingPart(Value):
    """Something that was asked for and is not there."""

    what: str
    why: str


class Conclusion(Value):
    """The verdict. ``outcome`` is recommended, not_recommended, inconclusive or none (of a single run)."""

    outcome: Literal["recommended", "not_recommended", "inconclusive", "none"]
    headline: str
    why: str
    recommended_alpha: Number | None = None
    interval: tuple[Number, Number] | None = None
    confidence: Number | None = None
    reasons: tuple[str, ...] = ()


class Report(Value):
    """All of it."""

    format: int = FORMAT
    of: Literal["run", "series"]
    title: str
    subtitle: str
    verdict: Conclusion
    caveats: tuple[Caveat, ...]
    missing: tuple[MissingPart, ...]
    sections: tuple[Section, ...]


def encoded(report: Report) -> bytes:
    """Write a report down; equal reports have equal bytes."""
    return report.model_dump_json(indent=1).encode() + b"\n"

"""HTML and SVG that is escaped unless it was made here: a string that comes from elsewhere stays text.

There is no way to write a tag but :func:`tag`, and none to say that a string is safe.
"""

import html
import re
from typing import Final

from neftune_core.report.legible import legible

_VOID: Final = frozenset({"meta", "br"})
_NAME: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9]*")
_ATTRIBUTE: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9-]*")


class Markup:
    """A piece of a page."""

    __slots__ = ("_written",)

    def __init__(self, *parts: "Part") -> None:
        self._written = "".join(_written(part) for part in parts)

    def __str__(self) -> str:
        return self._written


Part = Markup | str | None


def tag(_tag: str, *parts: Part, **attributes: str | float | bool | None) -> Markup:
    """Give an element. ``class_`` is class and ``view_box`` view-box; None and False leave one out."""
    named = _checked(_NAME, _tag)
    opened = "".join(
        f' {_attribute(name)}="{_escaped(_said(value))}"'
        for name, value in attributes.items()
        if value is not None and value is not False
    )
    if named in _VOID:
        return _trusted(f"<{named}{opened}>")
    inner = "".join(_written(part) for part in parts)
    return _trusted(f"<{named}{opened}>{inner}</{named}>")


def page_of(head: Markup, body: Markup) -> str:
    """Give a whole document in English."""
    return f'<!doctype html>\n<html lang="en">{head}{body}</html>\n'


def style_of(sheet: str) -> Markup:
    """Give a style element; the sheet is ours, and must not end it."""
    if "<" in sheet:
        raise ValueError("a style sheet holds no tag")
    return _trusted(f"<style>{sheet}</style>")


def _written(part: Part) -> str:
    if part is None:
        return ""
    return str(part) if isinstance(part, Markup) else _escaped(part)


def _escaped(text: str) -> str:
    return html.escape(legible(text), quote=True)


def _said(value: str | float | bool) -> str:
    if value is True:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _attribute(name: str) -> str:
    if name == "view_box":
        return "viewBox"
    checked = _checked(_ATTRIBUTE, name.rstrip("_").replace("_", "-"))
    if checked.lower().startswith("on") or checked in {"style", "src", "href"}:
        raise ValueError(f"an attribute that a report has no use for: {checked}")
    return checked


def _checked(pattern: re.Pattern[str], name: str) -> str:
    if pattern.fullmatch(name) is None:
        raise ValueError(f"no name of an element or attribute: {name!r}")
    return name


def _trusted(written: str) -> Markup:
    made = Markup()
    made._written = written
    return made

"""How numbers are written on a page. The whole number stands beside each, in its ``data`` element."""

from neftune_core.report.document import Cell, Form

DASH = "–"
MINUS = "\u2212"


def written(value: Cell, form: Form) -> str:
    """Write a cell for people."""
    if value is None:
        return DASH
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    return _number(float(value), form).replace("-", MINUS)


def _number(value: float, form: Form) -> str:
    match form:
        case "count":
            return f"{value:,.0f}"
        case "loss" | "share":
            return f"{value:.4f}"
        case "percent":
            return f"{value:.2f} %"
        case "change":
            return f"{value:+.4f}"
        case _:
            return f"{value:,.0f}" if value == int(value) and abs(value) < 1e15 else f"{value:.5g}"

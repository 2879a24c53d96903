"""Text as a report may hold it: what no page or file can hold is replaced, and what would mislead the eye."""

import re
from typing import Any, Final

_UNFIT: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"  # control characters, but for tab and ends of lines
    "\u202a-\u202e\u2066-\u2069"  # would turn the direction of what follows
    "\ud800-\udfff\ufffe\uffff]"  # no characters
)


def legible(text: str) -> str:
    """Give a text with what is unfit replaced."""
    return _UNFIT.sub("\ufffd", text)


def all_legible(told: Any) -> Any:
    """Do so in all strings of a value; values that were made before are legible already."""
    match told:
        case str():
            return legible(told)
        case dict():
            return {all_legible(name): all_legible(value) for name, value in told.items()}
        case list() | tuple():
            return type(told)(all_legible(value) for value in told)
    return told

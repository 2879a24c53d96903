"""Decodes a whole block of rows at once, or declines: the fast way for data that is in order.

A bare decode would let pass what :mod:`neftune_core.strict_json` refuses, so the block is checked as a
whole: its UTF-8, NUL, and the number of its strings, which a duplicate key would change. Whatever does not
add up is left to the slow way, which names the row. What is accepted here is accepted there.
"""

from collections.abc import Callable, Sequence
from typing import cast

import msgspec
from msgspec import UNSET, Raw

from neftune_core.rows_check import are_calls, are_tools
from neftune_core.rows_schema import (
    ROW_TYPES,
    AlpacaRow,
    AnyRow,
    Format,
    MessagesRow,
    PromptRow,
    ShareGptRow,
    TextRow,
)
from neftune_core.rows_split import Elements, Lines
from neftune_core.strict_json import MAX_DEPTH, JsonFault, loads

# What no type describes but the forms do: the slow way says what is wrong with it.
_JUDGED: dict[str, Callable[[object, object], bool]] = {
    "tools": lambda row, value: are_tools(value, text=isinstance(row, ShareGptRow)),
    "tool_calls": lambda message, value: are_calls(value, getattr(message, "role", None)),
}
# A row's own value lies this deep at most when it is decoded: row, list, message.
_DEPTH_ABOVE = 3


class BlockDecoder:
    """Decodes blocks of rows of one form."""

    def __init__(self, form: Format, max_row_bytes: int) -> None:
        self._max = max_row_bytes
        row_type = ROW_TYPES[form]
        self._lines = msgspec.json.Decoder(row_type)
        self._array = msgspec.json.Decoder(list[row_type])  # type: ignore[valid-type] # chosen at run time
        self._fields: dict[type, tuple[str, ...]] = {}

    def decode(self, block: Lines | Elements) -> Sequence[AnyRow] | None:
        """Give the rows, or ``None`` when the block needs a closer look."""
        if len(block.data) > self._max and _longest(block) > self._max:
            return None
        try:
            rows = self._rows(block)
            if rows is not None and self._adds_up(block.data, rows):
                return rows
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, JsonFault):
            return None
        return None

    def _rows(self, block: Lines | Elements) -> list[AnyRow] | None:
        if isinstance(block, Elements):
            return self._elements(block)
        data = block.data if block.data.endswith(b"\n") else block.data + b"\n"
        lines = data.count(b"\n")
        # A newline between } and { can stand only between two rows, so that no row spans two lines.
        between = data.count(b"}\n{") + (data.count(b"}\r\n{") if b"\r" in data else 0)
        if between != lines - 1:
            return None
        rows: list[AnyRow] = self._lines.decode_lines(data)
        return rows if len(rows) == lines else None

    def _elements(self, block: Elements) -> list[AnyRow] | None:
        data = block.data.lstrip(b" \t\r\n")
        if block.first > 1:
            if not data.startswith(b","):
                return None
            data = data[1:]
        rows: list[AnyRow] = self._array.decode(b"[" + data + b"]")
        return rows if len(rows) == len(block.ends) else None

    def _adds_up(self, data: bytes, rows: Sequence[AnyRow]) -> bool:
        if not data.isascii():
            str(data, "utf-8")  # keys and skipped values are not decoded by the decoder
        if b"\\u0000" in data or b'\\\\"' in data:
            return False
        strings = (data.count(b'"') - data.count(b'\\"')) // 2
        if strings == _fewest(rows):
            return True
        counted = list(map(self._strings, rows))
        return min(counted) >= 0 and strings == sum(counted)

    def _strings(self, part: msgspec.Struct) -> int:
        """Count the strings this part was written with, keys included; look into what is not typed."""
        total = 0
        for field in self._fields_of(type(part)):
            value = getattr(part, field)
            if value is UNSET:
                continue
            total += 1
            if type(value) is str:
                total += 1
            elif type(value) is Raw:
                total += _strings_inside(bytes(value))
                if field in _JUDGED and not _JUDGED[field](part, loads(bytes(value))):
                    return -1
            elif type(value) is list:
                total += sum(map(self._strings_of_part, value))
        return total

    def _strings_of_part(self, part: msgspec.Struct | tuple[str, str]) -> int:
        if isinstance(part, tuple):
            return 2
        count = self._strings(part)
        return count if count >= 0 else -(2**60)  # a single bad part spoils the row

    def _fields_of(self, part: type[msgspec.Struct]) -> tuple[str, ...]:
        if part not in self._fields:
            self._fields[part] = part.__struct_fields__
        return self._fields[part]


def _fewest(rows: Sequence[AnyRow]) -> int:
    """Count the strings of what most rows have. Anything else in a row, or a key twice, makes it more."""
    first = rows[0] if rows else None
    if isinstance(first, TextRow):
        return 2 * len(rows)
    if isinstance(first, PromptRow):
        return 4 * len(rows)
    if isinstance(first, AlpacaRow):
        return sum(6 if type(row.input) is str else 4 for row in cast("Sequence[AlpacaRow]", rows))
    if isinstance(first, ShareGptRow):
        return sum(1 + 4 * len(row.conversations) for row in cast("Sequence[ShareGptRow]", rows))
    chats = cast("Sequence[MessagesRow]", rows)
    return len(rows) + sum(4 if type(one.content) is str else 2 for row in chats for one in row.messages)


def _strings_inside(raw: bytes) -> int:
    """Count the strings of a value that no type describes, after a strict look at it."""
    if raw[:1] == b'"' and b"\\" not in raw:
        return 1
    if raw in (b"null", b"true", b"false"):
        return 0
    loads(raw, max_depth=MAX_DEPTH - _DEPTH_ABOVE)
    return (raw.count(b'"') - raw.count(b'\\"')) // 2


def _longest(block: Lines | Elements) -> int:
    if isinstance(block, Lines):
        return max(map(len, block.data.split(b"\n")))
    return max(end - start for start, end in zip((0, *block.ends), block.ends, strict=False))

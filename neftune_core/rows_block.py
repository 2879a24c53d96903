"""Decodes a whole block of rows at once, or declines: the fast way for data that is in order.

A bare decode would let pass what :mod:`neftune_core.strict_json` refuses, so the block is checked as a
whole: its UTF-8, NUL, and the number of its quotes, which a duplicate key would change. Whatever does not
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
_OPENING, _CLOSING = b"{}"
_NOT_SOUND = -(2**60)  # spoils every sum it is part of
# A row's own value lies this deep at most when it is decoded: row, list, message.
_DEPTH_ABOVE = 3


class BlockDecoder:
    """Decodes blocks of rows of one form."""

    def __init__(self, form: Format, max_row_bytes: int) -> None:
        self._max = max_row_bytes
        row_type = ROW_TYPES[form]
        self._lines = msgspec.json.Decoder(row_type)
        self._array = msgspec.json.Decoder(list[row_type])  # type: ignore[valid-type] # chosen at run time

    def decode(self, block: Lines | Elements) -> Sequence[AnyRow] | None:
        """Give the rows, or ``None`` when the block needs a closer look."""
        if len(block.data) > self._max and block.longest() > self._max:
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
        lines = [line for line in block.lines if line and not line.isspace()]
        # The decoder takes a row over two lines and two rows on a line. Both can't be where each line begins
        # and ends with a brace: between } and { a row of JSON has no newline.
        if not all(line[0] == _OPENING and line.rstrip()[-1] == _CLOSING for line in lines):
            return None
        rows: list[AnyRow] = self._lines.decode_lines(block.data)
        return rows if len(rows) == len(lines) else None

    def _elements(self, block: Elements) -> list[AnyRow] | None:
        data = block.data.lstrip(b" \t\r\n")
        if block.first > 1:
            if not data.startswith(b","):
                return None
            data = data[1:]
        rows: list[AnyRow] = self._array.decode(b"[" + data + b"]")
        return rows if len(rows) == len(block.ends) else None

    def _adds_up(self, data: bytes, rows: Sequence[AnyRow]) -> bool:
        if b"\\u00" in data and (b"\\u0000" in data or b"\\u0022" in data):
            return False
        # Every string has two quotes, and more where it holds some. A key twice, or a key that nothing here
        # counts, leaves quotes over.
        quotes = data.count(b'"')
        if quotes == _fewest(rows, b"\\" in data):
            return True
        str(data, "utf-8")  # what no type describes was not decoded
        counted = list(map(self._quotes, rows))
        return min(counted) >= 0 and quotes == sum(counted)

    def _quotes(self, part: msgspec.Struct) -> int:
        """Count the quotes this part was written with, keys included; look into what is not typed."""
        total = 0
        for field in part.__struct_fields__:
            value = getattr(part, field)
            if value is UNSET:
                continue
            total += 2
            if type(value) is str:
                total += 2 + value.count('"')
            elif type(value) is Raw:
                if not _is_sound(part, field, bytes(value)):
                    return _NOT_SOUND
                total += bytes(value).count(b'"')
            elif type(value) is list:
                total += sum(map(self._quotes_of_item, value))
        return total

    def _quotes_of_item(self, item: msgspec.Struct | tuple[str, str]) -> int:
        if isinstance(item, tuple):
            return sum(2 + one.count('"') for one in item)
        return self._quotes(item)


def _fewest(rows: Sequence[AnyRow], escapes: bool) -> int:
    """Count the quotes of what most rows have and nothing else; anything more in a row has more."""
    first = rows[0] if rows else None
    if isinstance(first, TextRow):
        texts = [row.text for row in cast("Sequence[TextRow]", rows)]
        total = 4 * len(rows)
    elif isinstance(first, PromptRow):
        texts = [text for row in cast("Sequence[PromptRow]", rows) for text in (row.prompt, row.completion)]
        total = 8 * len(rows)
    elif isinstance(first, AlpacaRow):
        alpacas = cast("Sequence[AlpacaRow]", rows)
        texts = [text for row in alpacas for text in (row.instruction, row.output)]
        inputs = [row.input for row in alpacas if type(row.input) is str]
        texts += inputs
        total = 8 * len(rows) + 4 * len(inputs)
    elif isinstance(first, ShareGptRow):
        texts = [turn.value for row in cast("Sequence[ShareGptRow]", rows) for turn in row.conversations]
        total = 2 * len(rows) + 8 * len(texts)
    else:
        contents = [one.content for row in cast("Sequence[MessagesRow]", rows) for one in row.messages]
        texts = [text for text in contents if type(text) is str]
        total = 2 * len(rows) + 4 * len(contents) + 4 * len(texts)
    return total + (sum(text.count('"') for text in texts) if escapes else 0)


def _is_sound(part: msgspec.Struct, field: str, raw: bytes) -> bool:
    """Look strictly at a value that no type describes."""
    if raw[:1] == b'"' and b"\\" not in raw:
        return field not in _JUDGED or _JUDGED[field](part, "")
    value = loads(raw, max_depth=MAX_DEPTH - _DEPTH_ABOVE)
    return field not in _JUDGED or _JUDGED[field](part, value)

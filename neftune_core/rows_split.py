"""Cuts a stream of bytes into blocks of whole rows, without parsing them and in bounded memory.

Knows lines and the brackets of a JSON array; knows nothing of what a row may hold. A row that is longer
than the limit is dropped while it streams by and told as :class:`TooLong`.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

BLOCK_BYTES = 256 * 1024

_WHITESPACE = b" \t\r\n"
# From one bracket to the next, strings skipped whole; possessive: linear time on any bytes.
_TO_BRACKET = re.compile(rb'[^"{}\[\]]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^"{}\[\]]*+)*+([{}\[\]])', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Lines:
    """Whole lines; ``first`` is the number of the first one, ``offset`` its place in the file."""

    first: int
    offset: int
    data: bytes
    lines: Sequence[bytes]

    @classmethod
    def cut(cls, first: int, offset: int, data: bytes) -> "Lines":
        """Cut the data at its newlines."""
        return cls(first, offset, data, data.split(b"\n"))

    def rows(self) -> Iterator[tuple[int, int, bytes]]:
        """Give number, offset and bytes of each line that isn't blank."""
        offset = self.offset
        for number, line in enumerate(self.lines, self.first):
            if line and not line.isspace():
                yield number, offset, line
            offset += len(line) + 1

    def hashes(self) -> list[int]:
        """Give a hash of each row."""
        return [hash(line) for line in self.lines if line and not line.isspace()]

    def longest(self) -> int:
        """Give the length of the longest line."""
        return max(map(len, self.lines))


@dataclass(frozen=True, slots=True)
class Elements:
    """Elements of an array with what stands between them; ``ends`` are the ends of the elements."""

    first: int
    offset: int
    data: bytes
    ends: tuple[int, ...]

    def rows(self) -> Iterator[tuple[int, int, bytes]]:
        """Give number, offset and bytes of each element; the comma before it belongs to no one."""
        start = 0
        for number, end in enumerate(self.ends, self.first):
            row = self.data[start:end].lstrip(_WHITESPACE)
            if number > 1 and row.startswith(b","):
                row = row[1:].lstrip(_WHITESPACE)
            elif number > 1:
                row = b"missing comma " + row  # not JSON: the reader of rows will say so
            yield number, self.offset + end - len(row), row
            start = end

    def hashes(self) -> list[int]:
        """Give a hash of each row."""
        return [hash(row) for _, _, row in self.rows()]

    def longest(self) -> int:
        """Give the length of the longest element, with what stands before it."""
        return max(end - start for start, end in pairwise((0, *self.ends)))


@dataclass(frozen=True, slots=True)
class TooLong:
    """A row longer than the limit; ``last`` when nothing after it could be read."""

    number: int
    last: bool = False


@dataclass(frozen=True, slots=True)
class Broken:
    """The array itself is not well formed after this many rows; nothing more is read."""

    number: int
    offset: int
    msg: str


Cut = Lines | Elements | TooLong | Broken


class LineSplitter:
    """Cuts at ``\\n`` bytes only: U+2028 and friends are ordinary text."""

    def __init__(self, max_row_bytes: int, offset: int = 0) -> None:
        self._max = max_row_bytes
        self._held: list[bytes] = []
        self._size = 0
        self._line = 1
        self._offset = offset
        self._skipping = False

    def feed(self, data: bytes) -> Iterator[Cut]:
        """Take bytes, give what is complete."""
        for start in range(0, len(data), BLOCK_BYTES):
            self._hold(data[start : start + BLOCK_BYTES])
            if self._size >= BLOCK_BYTES:
                yield from self._cut(final=False)

    def finish(self) -> Iterator[Cut]:
        """Give the rest."""
        yield from self._cut(final=True)

    def _cut(self, *, final: bool) -> Iterator[Cut]:
        data = self._take()
        if self._skipping:
            data = self._skip(data)
        end = len(data) if final else data.rfind(b"\n") + 1
        if end:
            block = Lines.cut(self._line, self._offset, data[:end])
            self._line += len(block.lines) - 1
            self._offset += end
            yield block
        rest = data[end:]
        if len(rest) > self._max:
            yield TooLong(self._line)
            self._skipping = True
            rest = self._skip(rest)
        self._hold(rest)

    def _skip(self, data: bytes) -> bytes:
        """Drop what belongs to the row that is too long."""
        newline = data.find(b"\n")
        dropped = newline + 1 or len(data)
        self._offset += dropped
        if newline >= 0:
            self._line += 1
            self._skipping = False
        return data[dropped:]

    def _hold(self, data: bytes) -> None:
        self._held.append(data)
        self._size += len(data)

    def _take(self) -> bytes:
        data = b"".join(self._held)
        self._held.clear()
        self._size = 0
        return data


class ArraySplitter:
    """Cuts the elements of one JSON array by counting brackets outside strings."""

    def __init__(self, max_row_bytes: int, offset: int = 0) -> None:
        self._max = max_row_bytes
        self._held = bytearray()
        self._unseen = 0  # bytes fed since brackets were last counted
        self._position = 0  # just after the last bracket counted
        self._depth = 0
        self._ends: list[int] = []
        self._number = 1
        self._offset = offset
        self._opened = self._closed = self._ended = self._broken = False

    def feed(self, data: bytes) -> Iterator[Cut]:
        """Take bytes, give what is complete."""
        for start in range(0, len(data), BLOCK_BYTES):
            piece = memoryview(data)[start : start + BLOCK_BYTES]
            self._held += piece
            self._unseen += len(piece)
            if self._unseen >= BLOCK_BYTES // 2:
                yield from self._cut()

    def finish(self) -> Iterator[Cut]:
        """Give the rest, and tell when the array was never closed."""
        yield from self._cut()
        if not self._closed and not self._broken:
            yield self._break("The JSON array is not closed; the file may be cut off.")

    def _cut(self) -> Iterator[Cut]:
        self._unseen = 0
        if self._broken:
            self._held.clear()
            return
        if not self._opened:
            self._open()
        if not self._closed:
            self._count_brackets()
        if self._ends:
            yield self._take()
        if self._closed:
            yield from self._after()
        elif len(self._held) > self._max:
            self._broken = True
            yield TooLong(self._number, last=True)

    def _open(self) -> None:
        bracket = self._held.find(b"[")
        self._drop(bracket + 1)
        self._opened = True

    def _count_brackets(self) -> None:
        while found := _TO_BRACKET.match(self._held, self._position):
            self._position = found.end()
            if found[1] in b"[{":
                self._depth += 1
                continue
            self._depth -= 1
            if self._depth == 0:
                self._ends.append(self._position)
            elif self._depth < 0:
                self._closed = True
                return

    def _take(self) -> Elements:
        end = self._ends[-1]
        block = Elements(self._number, self._offset, bytes(memoryview(self._held)[:end]), tuple(self._ends))
        self._number += len(self._ends)
        self._ends.clear()
        self._drop(end)
        return block

    def _after(self) -> Iterator[Cut]:
        """Look at what stands between the last element and the closing bracket, and after it."""
        rest = bytes(self._held).strip(_WHITESPACE)
        self._drop(len(self._held))
        if not self._ended and rest.startswith(b"]"):
            rest = rest[1:].strip(_WHITESPACE)
        self._ended = True
        if rest:
            yield self._break(_hint(rest))

    def _break(self, msg: str) -> Broken:
        self._broken = True
        return Broken(self._number, self._offset, msg)

    def _drop(self, count: int) -> None:
        del self._held[:count]
        self._offset += count
        self._position = max(0, self._position - count)


def _hint(rest: bytes) -> str:
    if b"//" in rest or b"/*" in rest:
        return "JSON has no comments; remove them."
    if rest.lstrip(_WHITESPACE).startswith(b","):
        return "There is a comma after the last row, or a row that is not an object."
    return "Every row of the array must be an object, and nothing may follow the closing bracket."

"""Datasets as streams of rows: validated while they arrive, read again when they train.

:class:`RowScanner` takes the bytes of JSON lines or of a JSON array in pieces of any size, holds about one
block of them, and tells at the end what the dataset is or what is wrong with it, row by row.
:func:`read_rows` reads a stored file of any accepted layout. CSV and Parquet become JSON lines first, in a
limited child process (:mod:`neftune_core.rows_tabular`).
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from neftune_core import rows_tabular
from neftune_core.rows_block import BlockDecoder
from neftune_core.rows_canonical import Message, Row, ToolCall, canonical
from neftune_core.rows_check import decode, flaws_of, form_of
from neftune_core.rows_faults import (
    DatasetTooLarge,
    EmptyDataset,
    FaultList,
    InvalidDataset,
    RowFault,
    UnknownFormat,
    UnsupportedMedia,
)
from neftune_core.rows_limits import Limits
from neftune_core.rows_look import Flaw, Tally, look
from neftune_core.rows_schema import AnyRow, Format
from neftune_core.rows_sniff import BOM, HEAD_BYTES, sniff
from neftune_core.rows_split import ArraySplitter, Broken, Cut, Elements, Lines, LineSplitter, TooLong
from neftune_core.rows_summary import DatasetSummary, summary
from neftune_core.strict_json import JsonFault, loads

__all__ = [
    "DatasetSummary",
    "InvalidDataset",
    "Limits",
    "Message",
    "Row",
    "RowFault",
    "RowScanner",
    "ToolCall",
    "read_rows",
    "sniff",
]

DUPLICATES_SEEN = 65_536  # rows remembered by hash to count duplicates: a bounded set
_READ_BYTES = 256 * 1024
_STORED = Limits(max_bytes=2**60, max_rows=2**60, max_row_bytes=64 * 1024**2)  # was held to limits before


class RowScanner:
    """Validates a stream of rows. Feed it bytes, then ask it to finish."""

    def __init__(
        self,
        *,
        format: Format | Literal["auto"] = "auto",
        limits: Limits | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self._bytes = 0
        self._head = bytearray()
        self._bom = False
        self._splitter: LineSplitter | ArraySplitter | None = None
        self._reader = _BlockReader(None if format == "auto" else format, self.limits)

    def feed(self, data: bytes) -> None:
        """Take the next bytes. Raises when the file as a whole is refused."""
        self._bytes += len(data)
        if self._bytes > self.limits.max_bytes:
            raise DatasetTooLarge(f"The dataset has more than {self.limits.max_bytes:,} bytes.")
        for _ in self._rows_in(data):
            pass

    def finish(self) -> DatasetSummary:
        """Tell what the dataset is; raise :class:`InvalidDataset` with all that is wrong otherwise."""
        for _ in self._last_rows():
            pass
        return self._summary()

    def rows(self, chunks: Iterable[bytes]) -> Iterator[AnyRow]:
        """Feed all chunks, give the rows as they are decoded, and finish."""
        for chunk in chunks:
            yield from chain.from_iterable(self._rows_in(chunk))
        yield from chain.from_iterable(self._last_rows())
        self._summary()

    def beginning(self, chunks: Iterable[bytes]) -> Iterator[AnyRow]:
        """Feed all chunks of a file that may be cut off and give the rows that are whole; never finish."""
        for chunk in chunks:
            yield from chain.from_iterable(self._rows_in(chunk))

    def _rows_in(self, data: bytes) -> Iterator[Sequence[AnyRow]]:
        if self._splitter is not None:
            yield from self._reader.read(self._splitter.feed(data))
            return
        self._head += data
        if len(self._head) >= HEAD_BYTES:
            yield from self._begin()

    def _last_rows(self) -> Iterator[Sequence[AnyRow]]:
        if self._splitter is None:
            yield from self._begin()
        assert self._splitter is not None  # noqa: S101 - _begin made it
        yield from self._reader.read(self._splitter.finish())

    def _begin(self) -> Iterator[Sequence[AnyRow]]:
        head = bytes(self._head)
        self._head.clear()
        layout = sniff(head)
        if layout not in ("jsonl", "json_array"):
            raise UnsupportedMedia(f"{layout} has to be converted to JSON lines first.")
        self._bom = head.startswith(BOM)
        head = head.removeprefix(BOM)
        kind = LineSplitter if layout == "jsonl" else ArraySplitter
        self._splitter = kind(self.limits.max_row_bytes, offset=len(BOM) if self._bom else 0)
        yield from self._reader.read(self._splitter.feed(head))

    def _summary(self) -> DatasetSummary:
        form = self._reader.verdict()
        return summary(form, self._bytes, self._reader.tally, self._reader.duplicates, self._bom)


class _BlockReader:
    """Turns cuts of the stream into rows and faults."""

    def __init__(self, form: Format | None, limits: Limits) -> None:
        self._limits = limits
        self._form = form
        self._first_lines: dict[Format, int] = {}
        self._decoder: BlockDecoder | None = None
        self._faults = FaultList(limits.faults_told)
        self._count = 0
        self._seen: set[int] = set()
        self.tally = Tally()
        self.duplicates = 0

    def read(self, cuts: Iterable[Cut]) -> Iterator[Sequence[AnyRow]]:
        """Give the good rows of these cuts; keep what is wrong with the others."""
        for cut in cuts:
            if isinstance(cut, TooLong):
                self._counted(1)
                self._too_long(cut.number, last=cut.last)
            elif isinstance(cut, Broken):
                if self._count == 0:
                    raise UnknownFormat(cut.msg)
                self._faults.add(RowFault(cut.number, "dataset_format", cut.msg))
            else:
                yield self._fast(cut) or list(self._slow(cut))

    def verdict(self) -> Format:
        """Give the form of all rows, or raise what is wrong."""
        if self._count == 0:
            raise EmptyDataset("The file holds no row.")
        if self._count == 1 and dict(self._faults.counts) == {"unknown_schema": 1}:
            raise UnknownFormat(
                "The file is a single JSON object; send a list of rows or a row on each line."
            )
        if self._faults:
            raise self._faults.error()
        assert self._form is not None  # noqa: S101 - a row without fault has a form
        return self._form

    def _fast(self, block: Lines | Elements) -> Sequence[AnyRow] | None:
        if self._form is None:
            self._guess(block)
        if self._form is not None and self._decoder is None:
            self._decoder = BlockDecoder(self._form, self._limits.max_row_bytes)
        rows = self._decoder.decode(block) if self._decoder else None
        if not rows:
            return None
        self._counted(len(rows))
        flawed = look(rows, self.tally)
        self._count_duplicates(block)
        if flawed:
            lines = [line for line, _, _ in block.rows()]
            for number, flaws in flawed:
                self._add(lines[number], flaws)
        return rows

    def _guess(self, block: Lines | Elements) -> None:
        """Take the form of the first row as the form of all, if it is a row at all."""
        line, _, data = next(block.rows(), (0, 0, b""))
        try:
            form = form_of(loads(data))
        except JsonFault:
            return
        if not isinstance(form, Flaw):
            self._form = form
            self._first_lines[form] = line

    def _slow(self, block: Lines | Elements) -> Iterator[AnyRow]:
        self._count_duplicates(block)
        for line, offset, data in block.rows():
            self._counted(1)
            if len(data) > self._limits.max_row_bytes:
                self._too_long(line)
                continue
            row = self._row(line, offset, data, block)
            if row is not None:
                for _, flaws in look((row,), self.tally):
                    self._add(line, flaws)
                yield row

    def _row(self, line: int, offset: int, data: bytes, block: Lines | Elements) -> AnyRow | None:
        try:
            value = loads(data)
        except JsonFault as fault:
            if self._count == 1 and fault.code == "json_invalid":
                _refuse_what_is_no_list(block, data)
            self._json_fault(line, offset, fault)
            return None
        form = form_of(value)
        if isinstance(form, Flaw):
            self._add(line, [form])
            return None
        self._first_lines.setdefault(form, line)
        if self._form is None:
            self._form = form
        if form != self._form:
            self._add(line, [self._mixed(form)])
            return None
        assert isinstance(value, dict)  # noqa: S101 - only objects have a form
        flaws = flaws_of(value, form)
        row = decode(data, form) if not flaws else None
        self._add(line, [row] if isinstance(row, Flaw) else flaws)
        return None if isinstance(row, Flaw) else row

    def _mixed(self, form: Format) -> Flaw:
        if self._form not in self._first_lines:
            return Flaw("mixed_schema", f"The row is {form}, but the dataset was said to be {self._form}.")
        told = " and ".join(f"{one} (first in row {line})" for one, line in self._first_lines.items())
        return Flaw("mixed_schema", f"The dataset mixes {told}; a dataset has one form.")

    def _json_fault(self, line: int, offset: int, fault: JsonFault) -> None:
        where = ""
        if fault.offset is not None:
            where = f" (byte {fault.offset} of the row, {offset + fault.offset} of the file)"
        self._faults.add(RowFault(line, fault.code, fault.msg + where, _told(fault.path)))

    def _too_long(self, line: int, *, last: bool = False) -> None:
        rest = " The rows after it were not read." if last else ""
        msg = f"The row is longer than {self._limits.max_row_bytes:,} bytes.{rest}"
        self._faults.add(RowFault(line, "row_too_long", msg))

    def _add(self, line: int, flaws: Sequence[Flaw]) -> None:
        for flaw in flaws:
            self._faults.add(RowFault(line, flaw.code, flaw.msg, flaw.path))

    def _counted(self, rows: int) -> None:
        self._count += rows
        if self._count > self._limits.max_rows:
            raise DatasetTooLarge(f"The dataset has more than {self._limits.max_rows:,} rows.")

    def _count_duplicates(self, block: Lines | Elements) -> None:
        if len(self._seen) >= DUPLICATES_SEEN:
            return
        hashes = block.hashes()
        before = len(self._seen)
        self._seen.update(hashes)
        self.duplicates += before + len(hashes) - len(self._seen)


def _refuse_what_is_no_list(block: Lines | Elements, first: bytes) -> None:
    """Tell a file of another kind from rows of which the first is broken."""
    if first.startswith((b"//", b"/*", b"#")):
        raise UnknownFormat("JSON has no comments; remove them.")
    if isinstance(block, Lines):
        second = next((data for _, _, data in islice(block.rows(), 1, 2)), b"{")
        if not second.lstrip().startswith(b"{"):
            raise UnknownFormat(
                "A row has to stand on one line; this looks like one object over several lines."
            )


def read_rows(path: Path, limits: Limits | None = None) -> Iterator[Row]:
    """Read a stored dataset of any accepted layout; raise what is wrong with it at the latest at its end.

    ``limits`` bound what CSV and Parquet may unpack to; JSON is as large as its file.
    """
    with TemporaryDirectory(prefix="rows-") as folder, path.open("rb") as file:
        if sniff(file.read(HEAD_BYTES)) in ("csv", "parquet"):
            converted = Path(folder) / "rows.jsonl"
            rows_tabular.convert(path, converted, limits or Limits())
            path = converted
        for row in RowScanner(limits=_STORED).rows(_chunks(path)):
            yield canonical(row)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_READ_BYTES):
            yield chunk


def _told(path: tuple[str | int, ...]) -> str:
    """Write a path as the checks of rows do: ``messages[0].weight``."""
    told = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return told.removeprefix(".")

"""The child process that unpacks CSV and Parquet: ``python -m neftune_core.tabular_child``.

Reads what to do as JSON on stdin, writes rows as JSON lines to a file, and says on stdout how it went. It
limits its own memory and time before it opens the file; what then dies, dies here.
"""

import csv
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from neftune_core.limited import limit_myself
from neftune_core.rows_faults import DatasetTooLarge, plain
from neftune_core.rows_schema import FORMS, format_of
from neftune_core.strict_json import JsonFault, loads

BATCH_ROWS = 256
MAX_COLUMNS = 1000
_PARQUET = b"PAR1"
_LISTS = ("messages", "conversations", "tools", "history")  # columns that CSV holds as JSON text


class Refused(Exception):
    """Why the file can't be used."""

    def __init__(self, code: str, msg: str, line: int = 0) -> None:
        super().__init__(msg)
        self.told = {"code": code, "msg": msg, "line": line}


class _Sink:
    """Writes rows and counts; refuses the byte or row that crosses a limit."""

    def __init__(self, out: BinaryIO, limits: Mapping[str, int]) -> None:
        self._out = out
        self._limits = limits
        self._bytes = 0
        self._rows = 0

    def add(self, row: Mapping[str, Any]) -> None:
        try:
            line = json.dumps(row, ensure_ascii=False, allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError):
            raise Refused("wrong_type", "The row holds values that are not text.", self._rows + 1) from None
        self._rows += 1
        self._bytes += len(line) + 1
        if self._bytes > self._limits["max_bytes"]:
            raise DatasetTooLarge(f"The file unpacks to more than {self._limits['max_bytes']:,} bytes.")
        if self._rows > self._limits["max_rows"]:
            raise DatasetTooLarge(f"The dataset has more than {self._limits['max_rows']:,} rows.")
        self._out.write(line + b"\n")


def main() -> None:
    """Do what stdin asks and tell how it went."""
    asked = json.load(sys.stdin)
    limit_myself(asked["memory_bytes"], asked["cpu_seconds"])
    path = Path(asked["path"])
    try:
        with Path(asked["out_path"]).open("wb") as out:
            sink = _Sink(out, asked["limits"])
            for row in table_rows(path, asked["limits"]):
                sink.add(row)
        told: Mapping[str, Any] = {}
    except Refused as refused:
        told = refused.told
    except (DatasetTooLarge, MemoryError) as error:
        told = {
            "code": "dataset_too_large",
            "msg": str(error) or "The file unpacks to more than can be read.",
        }
    sys.stdout.write(json.dumps(told))


def table_rows(path: Path, limits: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    """Give the rows of a CSV or Parquet file, only in a process with limits."""
    with path.open("rb") as file:
        is_parquet = file.read(4) == _PARQUET
    yield from _parquet(path, limits) if is_parquet else _csv(path, limits)


def _csv(path: Path, limits: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    csv.field_size_limit(limits["max_row_bytes"])
    with path.open(encoding="utf-8-sig", newline="", errors="strict") as file:
        reader = csv.reader(_lines(file, limits["max_row_bytes"]), strict=True)
        try:
            header = [name.strip() for name in next(reader, [])]
            _refuse_header(header)
            for cells in reader:
                if cells:
                    yield _csv_row(header, cells, reader.line_num)
        except csv.Error as error:
            raise Refused("csv_invalid", f"Not well-formed CSV: {_known(error)}.", reader.line_num) from None
        except UnicodeDecodeError as error:
            told = f"Not valid UTF-8 ({error.reason})."
            raise Refused("dataset_encoding", told, reader.line_num + 1) from None


def _lines(file: TextIO, max_chars: int) -> Iterator[str]:
    """Read lines, never one of any length: the parser would take it whole before it looks at a cell."""
    for number in count(1):
        line = file.readline(max_chars + 1)
        if not line:
            return
        if len(line) > max_chars:
            raise Refused("row_too_long", f"The row is longer than {max_chars:,} bytes.", number)
        if "\0" in line:
            raise Refused("forbidden_character", "Holds a NUL character.", number)
        yield line


def _known(error: csv.Error) -> str:
    if "field larger" in str(error):
        return "a cell is longer than a row may be"
    return "quotes don't match" if "'" in str(error) or "EOF" in str(error) else "a row can't be read"


def _refuse_header(header: list[str]) -> None:
    if format_of(header) is None:
        raise Refused("dataset_format", f"The first line must name the columns, with commas: {FORMS}.")
    if len(header) > MAX_COLUMNS:
        raise Refused("dataset_format", f"The header has more than {MAX_COLUMNS} columns.", 1)
    _refuse_twice(header)


def _refuse_twice(names: list[str]) -> None:
    """A row holds a name once; of two columns the first would be lost without a word."""
    for name, times in Counter(names).items():
        if times > 1:
            raise Refused("duplicate_key", f"The file has a column twice ({plain(name)}).", 1)


def _csv_row(header: list[str], cells: list[str], line: int) -> dict[str, Any]:
    if len(cells) != len(header):
        told = f"The row has {len(cells)} cells, the header {len(header)} columns."
        raise Refused("csv_invalid", told, line)
    row: dict[str, Any] = dict(zip(header, cells, strict=True))
    for name in _LISTS:
        if row.get(name) == "":
            del row[name]
        elif name in row:
            row[name] = _json_cell(row[name], name, line)
    return row


def _json_cell(cell: str, name: str, line: int) -> Any:
    try:
        return loads(cell.encode())
    except JsonFault as fault:
        raise Refused(fault.code, f"In the cell of {name}: {fault.msg}", line) from None


def _parquet(path: Path, limits: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    import pyarrow as pa  # noqa: PLC0415 - only this process, under its limits, loads it
    import pyarrow.parquet as pq  # noqa: PLC0415 - as above

    pa.set_cpu_count(1)
    try:
        file = pq.ParquetFile(path)
        if file.metadata.num_rows > limits["max_rows"]:
            raise DatasetTooLarge(f"The dataset has more than {limits['max_rows']:,} rows.")
        if file.metadata.num_columns > MAX_COLUMNS:
            raise Refused("dataset_format", f"The file has more than {MAX_COLUMNS} columns.")
        if format_of(file.schema_arrow.names) is None:
            raise Refused("dataset_format", f"The columns have none of the known forms: {FORMS}.")
        _refuse_twice(file.schema_arrow.names)
        yield from _batches(file, limits)
    except pa.ArrowMemoryError:
        raise DatasetTooLarge("The file unpacks to more than can be read.") from None
    except (pa.ArrowException, OSError):
        raise Refused(
            "dataset_format", "The Parquet file is damaged or of a kind that is not read."
        ) from None


def _batches(file: Any, limits: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    """Read few rows at a time; metadata may lie about sizes, so what was unpacked is counted."""
    unpacked = 0
    for batch in file.iter_batches(batch_size=BATCH_ROWS, use_threads=False):
        unpacked += batch.nbytes
        if unpacked > limits["max_bytes"]:
            raise DatasetTooLarge(f"The file unpacks to more than {limits['max_bytes']:,} bytes.")
        for row in batch.to_pylist():
            yield {name: _tidy(value) for name, value in row.items() if value is not None}


def _tidy(value: Any) -> Any:
    """Leave out the nulls by which Parquet says that a struct lacks a field; only text has no substitute."""
    if isinstance(value, list):
        return [_tidy(one) for one in value]
    if isinstance(value, dict):
        return {key: _tidy(one) for key, one in value.items() if one is not None}
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return value


if __name__ == "__main__":
    main()

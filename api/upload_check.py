"""How uploaded bytes are checked while they come: text as it streams, tables once they are whole.

A table (CSV, Parquet) can't be judged block by block, and its parsers aren't trusted: it is spooled to a
private file, converted by the core's limited child process and then checked like any other text.
"""

import errno
import tempfile
from pathlib import Path
from types import TracebackType
from typing import IO, Literal, Protocol, Self

from api.refusals import NoSpace
from neftune_core.rows import DatasetSummary, Limits, RowScanner
from neftune_core.rows_sniff import sniff
from neftune_core.rows_tabular import convert

Declared = Literal["auto", "messages", "sharegpt", "alpaca", "prompt_completion", "text"]

_TABLES = ("csv", "parquet")
_READ_BYTES = 1024 * 1024


class Check(Protocol):
    """Sees all bytes in order, then tells what they hold or what is wrong with them."""

    def feed(self, block: bytes) -> None:
        """Look at some bytes."""

    def finish(self) -> DatasetSummary:
        """Tell what was seen; raises a ``DatasetError``."""


class Judge(Check, Protocol):
    """A check that tells whether it will take its time at the end."""

    @property
    def is_table(self) -> bool:
        """Tell whether most of the work is left for the end."""


class UploadCheck:
    """Decides by the first block which check it is. To be closed: a spooled table lies on disk."""

    def __init__(self, *, declared: Declared, limits: Limits, spool_dir: Path) -> None:
        self._declared = declared
        self._limits = limits
        self._spool_dir = spool_dir
        self._check: Check | None = None
        self._table: Table | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._table is not None:
            self._table.remove()

    def feed(self, block: bytes) -> None:
        """Look at some bytes; the first ones decide."""
        if self._check is None:
            scanner = RowScanner(format=self._declared, limits=self._limits)
            self._check = scanner
            if sniff(block) in _TABLES:
                self._check = self._table = Table(scanner, self._limits, self._spool_dir)
        self._check.feed(block)

    @property
    def is_table(self) -> bool:
        """Tell whether most of the work is left for the end."""
        return self._table is not None

    def finish(self) -> DatasetSummary:
        """Tell what was seen."""
        check = self._check or RowScanner(format=self._declared, limits=self._limits)
        return check.finish()


class Table:
    """A CSV or Parquet file: kept aside whole, then read by a child process with limits."""

    def __init__(self, scanner: RowScanner, limits: Limits, spool_dir: Path) -> None:
        self._scanner = scanner
        self._limits = limits
        self._folder = tempfile.TemporaryDirectory(prefix="neftune-upload-", dir=spool_dir)  # mode 0700
        self._file: IO[bytes] = (Path(self._folder.name) / "table").open("wb")

    def feed(self, block: bytes) -> None:
        """Keep some bytes."""
        with _no_space_told():
            self._file.write(block)

    def finish(self) -> DatasetSummary:
        """Convert, then check the rows that came out."""
        with _no_space_told():
            self._file.close()
            rows = Path(self._folder.name) / "rows.jsonl"
            convert(Path(self._file.name), rows, self._limits)
        with rows.open("rb") as converted:
            while block := converted.read(_READ_BYTES):
                self._scanner.feed(block)
        return self._scanner.finish()

    def remove(self) -> None:
        """Delete what was kept."""
        self._file.close()
        self._folder.cleanup()


class _no_space_told:  # noqa: N801 - reads as a word in a with statement
    """Tell a full disk as what it is."""

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace from error

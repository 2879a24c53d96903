"""What can be wrong with a dataset, and how it is told.

    DatasetError
    ├── InvalidDataset     dataset_invalid      some rows; carries the first hundred and counts
    ├── EmptyDataset       dataset_empty
    ├── WrongEncoding      dataset_encoding     not UTF-8 as a whole
    ├── UnknownFormat      dataset_format       not a list of rows
    ├── DatasetTooLarge    dataset_too_large    too many bytes or rows, or it unpacks to too many
    └── UnsupportedMedia   unsupported_media    compressed, a picture, a pickle

Messages never repeat what a row says; names of keys are told only when they are plain names.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from neftune_core.errors import DatasetError

FAULTS_TOLD = 100

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True)
class RowFault:
    """One thing wrong with one row. ``line`` is the row number where rows have no lines."""

    line: int
    code: str
    msg: str
    path: str = ""


class InvalidDataset(DatasetError):
    """Some rows can't be used; nothing was kept."""

    code = "dataset_invalid"

    def __init__(self, faults: Sequence[RowFault], counts: Mapping[str, int]) -> None:
        self.faults = list(faults)
        self.counts = dict(counts)
        first = f" First: row {faults[0].line}: {faults[0].msg}" if faults else ""
        number = sum(counts.values())
        super().__init__(f"{number} {'fault' if number == 1 else 'faults'} in the rows.{first}")


class EmptyDataset(DatasetError):
    """There is no row at all."""

    code = "dataset_empty"


class WrongEncoding(DatasetError):
    """The file as a whole is not UTF-8."""

    code = "dataset_encoding"


class UnknownFormat(DatasetError):
    """The file is not a list of rows in a form that we read."""

    code = "dataset_format"


class DatasetTooLarge(DatasetError):
    """More bytes or rows than the limits allow."""

    code = "dataset_too_large"


class UnsupportedMedia(DatasetError):
    """Not text and not Parquet: an archive, a picture, a program."""

    code = "unsupported_media"


class FaultList:
    """Keeps the first faults and counts all of them, in bounded memory."""

    def __init__(self, told: int = FAULTS_TOLD) -> None:
        self._told = told
        self.faults: list[RowFault] = []
        self.counts: Counter[str] = Counter()

    def add(self, fault: RowFault) -> None:
        """Take one fault."""
        self.counts[fault.code] += 1
        if len(self.faults) < self._told:
            self.faults.append(fault)

    def __bool__(self) -> bool:
        return bool(self.counts)

    def error(self) -> InvalidDataset:
        """Give everything that was found as one error."""
        return InvalidDataset(self.faults, self.counts)


def plain(name: str) -> str:
    """Give the name if it is safe to repeat, else a word for it."""
    return name if _PLAIN_NAME.fullmatch(name) else "(a key)"

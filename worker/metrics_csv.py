"""The run's metrics as a table for spreadsheets. Made from the rows themselves: one source, one truth.

A spreadsheet runs a text cell that starts with ``= + - @``; such text gets a quote in front. Numbers stay
numbers.
"""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
FIRST = ("train_loss", "clean_train_loss", "eval_loss")  # what most readers look for

Row = tuple[int, Mapping[str, float | None]]


def cell(value: object) -> object:
    """Give a value as a spreadsheet may hold it."""
    if isinstance(value, str) and value.startswith(_FORMULA):
        return "'" + value
    return "" if value is None else value


# What the columns of OpenAI's result files are called, and the metric in each.
RESULTS = (
    ("train_loss", "train_loss"),
    ("train_accuracy", "token_accuracy"),
    ("valid_loss", "eval_loss"),
    ("valid_mean_token_accuracy", ""),
)


def columns(rows: Iterable[Row]) -> list[str]:
    """Name the columns: the losses first, then the others by name."""
    found = {key for _, values in rows for key in values}
    return [key for key in FIRST if key in found] + sorted(found.difference(FIRST))


def results(rows: Iterable[Row]) -> list[tuple[str, str]]:
    """Name the columns of the table that readers of OpenAI's result files know, each with where it is from.

    Theirs stand first, also those that are always empty here; then ours that have no other name.
    """
    ours = [key for key in columns(rows) if key not in dict(RESULTS).values()]
    return [*RESULTS, *((key, key) for key in ours)]


def write(path: Path, keys: Iterable[str], rows: Iterable[Row], heads: Iterable[str] | None = None) -> None:
    """Write one line per step; ``heads`` stand over the columns in place of the keys."""
    names = list(keys)
    with path.open("x", encoding="utf-8", newline="") as sink:
        table = csv.writer(sink)
        table.writerow(["step", *map(cell, names if heads is None else heads)])
        table.writerows([step, *(cell(values.get(name)) for name in names)] for step, values in rows)

"""The part of a dataset that a look at it reads: all of a small one, whole rows of places in a large one.

What is fetched from storage is bounded, and lies in a private folder while a child process reads it. Bytes
are cut here, rows are not read.
"""

import errno
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from api.refusals import NoSpace, NotYet
from neftune_core.readout import Sample
from neftune_core.rows_sniff import HEAD_BYTES, sniff
from neftune_store.blobs import Blobs
from neftune_store.datasets import Dataset

SAMPLE_BYTES = 16 * 1024**2
PLACES = 16
_TABLE_BYTES = 256 * 1024**2  # a table can't be cut, so it is fetched whole


@dataclass(frozen=True, slots=True)
class Fetched:
    """A sample and, in words, what it is of the whole."""

    sample: Sample
    how: str


def fetch(blobs: Blobs, dataset: Dataset, folder: Path, *, first_only: bool) -> Fetched:
    """Fetch what is to be read; ``first_only``: its first rows are all that is wanted."""
    path = folder / "rows"
    layout = sniff(b"".join(blobs.stream(dataset.blob_key, 0, min(HEAD_BYTES, dataset.bytes))))
    if layout in ("csv", "parquet") and dataset.bytes > _TABLE_BYTES:
        raise NotYet("CSV and Parquet over 256 MiB are not looked into; upload the rows as JSON lines.")
    whole = dataset.bytes <= SAMPLE_BYTES or layout in ("csv", "parquet")
    if whole:
        chunks, how = blobs.stream(dataset.blob_key), "all rows"
    elif first_only or layout == "json_array":
        chunks = blobs.stream(dataset.blob_key, 0, SAMPLE_BYTES)
        how = f"rows of the first {SAMPLE_BYTES >> 20} MiB"
    else:
        chunks, whole = _lines_of_places(blobs, dataset), True
        how = f"rows of {PLACES} places, evenly over the file"
    try:
        with path.open("wb") as file:
            for chunk in chunks:
                file.write(chunk)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise NoSpace from error
        raise
    return Fetched(Sample(path, whole, layout), how)


def _lines_of_places(blobs: Blobs, dataset: Dataset) -> Iterator[bytes]:
    """Give the whole lines of some places; what a place cuts off at its ends is left out."""
    size = SAMPLE_BYTES // PLACES
    for place in range(PLACES):
        start = (dataset.bytes - size) * place // (PLACES - 1)
        data = b"".join(blobs.stream(dataset.blob_key, start, start + size))
        first = data.find(b"\n") + 1 if place else 0
        yield data[first : data.rfind(b"\n") + 1]

"""Tells by its first bytes what a file is. Names and media types that came with it are not asked."""

import csv
import re

from neftune_core.errors import DatasetError
from neftune_core.rows_faults import (
    EmptyDataset,
    UnknownFormat,
    UnsupportedMedia,
    WrongEncoding,
)
from neftune_core.rows_schema import FORMS, ROW_TYPES, format_of, keys_of

HEAD_BYTES = 64 * 1024  # what sniff wants to see, if there is so much
BOM = b"\xef\xbb\xbf"

_MEDIA = (
    (b"\x1f\x8b", "gzip"),
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "a zip archive"),
    (b"BZh", "bzip2"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\xfd7zXZ", "xz"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!", "a rar archive"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"%PDF", "a PDF"),
    (b"\x7fELF", "a program"),
    (b"MZ\x90", "a program"),
    (b"ARROW1", "an Arrow file"),
    (b"FEA1", "a Feather file"),
    (b"ORC", "an ORC file"),
    (b"SQLite format 3", "a database"),
    (b"Obj\x01", "an Avro file"),
)
# UTF-32 first: its little-endian mark begins with UTF-16's.
_WIDE = (
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)
_COMMENT = re.compile(rb"\s*(?://|/\*|#)")
_HTML = re.compile(rb"\s*<(?:!doctype|html|\?xml)", re.IGNORECASE)


def sniff(head: bytes) -> str:
    """Name the layout: ``jsonl``, ``json_array``, ``csv`` or ``parquet``; raise a refusal otherwise."""
    if head.startswith(b"PAR1"):
        return "parquet"
    refusal = _refusal(head)
    if refusal is not None:
        raise refusal
    text = head.removeprefix(BOM).lstrip(b" \t\r\n")
    if not text:
        raise EmptyDataset("The file holds no row.")
    if text.startswith(b"{"):
        return "jsonl"
    if text.startswith(b"["):
        return "json_array"
    if is_csv(text):
        return "csv"
    if _COMMENT.match(text):
        raise UnknownFormat("The file begins with a comment; JSON has none. Remove it.")
    raise UnknownFormat(
        f"No rows in a form that we read: {FORMS}; as JSON lines, JSON array, CSV or Parquet."
    )


def _refusal(head: bytes) -> DatasetError | None:
    for mark, name in _WIDE:
        if head.startswith(mark):
            return WrongEncoding(f"The file is {name}; save it as UTF-8.")
    if head[:4].count(0) >= 2 and head[:8].replace(b"\0", b"")[:1] in b'[{"':
        return WrongEncoding("The file looks like UTF-16 or UTF-32; save it as UTF-8.")
    for mark, name in _MEDIA:
        if head.startswith(mark):
            return UnsupportedMedia(
                f"The file is {name}; send the rows uncompressed as UTF-8 text or Parquet."
            )
    if _HTML.match(head):
        return UnsupportedMedia("The file is HTML or XML; send the rows themselves.")
    if re.match(rb"[\x00-\x08\x0e-\x1f\x80]", head):
        return UnsupportedMedia("The file is binary; send the rows as UTF-8 text or Parquet.")
    return None


def is_csv(text: bytes) -> bool:
    """Tell whether the first line is a CSV header that names columns we know."""
    line = text.split(b"\n", 1)[0].decode("utf-8", "ignore").strip("\r")
    try:
        names = next(csv.reader([line], strict=True), [])
    except csv.Error:
        return False
    names = [name.strip().lower() for name in names] or [""]
    if format_of(names) is not None:
        return True
    known = {key for row in ROW_TYPES.values() for key in keys_of(row)}
    parts = re.split(r"[,;\t|]", line.lower())  # the wrong delimiter deserves a word about delimiters
    return len(parts) > 1 and any(part.strip() in known for part in parts)

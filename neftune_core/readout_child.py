"""The child process that shows rows and counts tokens: ``python -m neftune_core.readout_child``.

Reads what to do as JSON on stdin and answers with JSON on stdout. It limits its own memory and time before
it opens a file, and writes none; what then dies, dies here.
"""

import json
import resource
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from neftune_core.catalog import inspect_model
from neftune_core.errors import CoreError, DatasetError, SpecError
from neftune_core.examples import Reading
from neftune_core.light_tokenizer import read_tokenizer
from neftune_core.limited import limit_myself
from neftune_core.prompts import resolve_template
from neftune_core.readout_views import Counting, shown
from neftune_core.rows import Row, RowScanner
from neftune_core.rows_canonical import canonical
from neftune_core.rows_limits import Limits
from neftune_core.spec import TrainingSpec
from neftune_core.tabular_child import Refused, table_rows
from neftune_core.weights import shape_of, text_config

MOST_ROWS = 100_000
_PIECE = 256 * 1024
_STORED = Limits(max_bytes=2**60, max_rows=2**60, max_row_bytes=64 * 1024**2)  # was held to limits before


def main() -> None:
    """Do what stdin asks and tell how it went."""
    asked = json.load(sys.stdin)
    limit_myself(asked["memory_bytes"], asked["cpu_seconds"])
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    try:
        told = _answered(asked)
    except CoreError as error:
        told = {"refused": {"code": error.code, "detail": str(error)}}
    sys.stdout.write(json.dumps(told))


def _answered(asked: Mapping[str, Any]) -> Mapping[str, Any]:
    model_dir = Path(asked["model_dir"])
    inspect_model(model_dir)
    training = TrainingSpec.model_validate(asked["training"])
    positions = text_config(model_dir).get("max_position_embeddings")
    if isinstance(positions, int) and training.max_length > positions:
        raise SpecError(f"max_length is {training.max_length}, but the model has {positions} positions.")
    tokenizer = read_tokenizer(model_dir)
    rows = list(_rows(asked))
    if not rows:
        raise DatasetError("No whole row could be read in the part of the dataset that was looked at.")
    template = resolve_template(training.template, rows[0].source_format, bool(tokenizer.chat_template))
    reading = Reading(training, tokenizer, template)
    told: dict[str, Any] = {"template": template, "tokenizer_exact": tokenizer.exact}
    if asked["what"] == "preview":
        return {**told, "rows": shown(rows, reading)}
    counting = Counting(reading, model_dir)
    counting.read(rows, asked["seconds"])
    shape = shape_of(model_dir)
    return {**told, **counting.told(), "shape": None if shape is None else asdict(shape)}


def _rows(asked: Mapping[str, Any]) -> Iterator[Row]:
    """Give rows in order; of a file that is cut off those that are whole."""
    scanner, most = RowScanner(limits=_STORED), asked.get("rows", MOST_ROWS)
    if asked["layout"] in ("csv", "parquet"):
        found = scanner.rows(_of_table(Path(asked["path"]), most))
    else:
        chunks = _chunks(Path(asked["path"]))
        found = scanner.rows(chunks) if asked["whole"] else scanner.beginning(chunks)
    yield from islice(map(canonical, found), most)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_PIECE):
            yield chunk


def _of_table(path: Path, most: int) -> Iterator[bytes]:
    try:
        for row in islice(table_rows(path, asdict(_STORED)), most):
            yield json.dumps(row, ensure_ascii=False).encode() + b"\n"
    except Refused as refused:  # it was whole when it came in
        raise DatasetError(str(refused)) from None


if __name__ == "__main__":
    main()

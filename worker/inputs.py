"""What a run reads, brought into its private folder: the spec, the sealed rows, a model folder.

Bytes are hashed as they are written and held against the seal before the runner starts.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neftune_store.blobs import Blobs
from neftune_store.claims import Claim
from neftune_store.datasets import Dataset
from neftune_store.errors import BlobNotFound
from worker.errors import DatasetCorrupt

Check = Callable[[], None]  # raises Stopped when the run has to end


@dataclass(frozen=True, slots=True)
class Inputs:
    """Where the runner finds what it needs."""

    spec: Path
    rows: Path
    validation_rows: Path | None
    model: Path

    def arguments(self, out: Path) -> list[str]:
        """Give them as the runner's command line."""
        validation = [] if self.validation_rows is None else ["--validation-rows", str(self.validation_rows)]
        files = [str(self.spec), str(self.rows), str(out), *validation, "--model-dir", str(self.model)]
        return [*files, "--checkpoints", "--resume"]


def lay_out(claim: Claim, model: Path, folder: Path, blobs: Blobs, check: Check) -> Inputs:
    """Put everything into ``folder``."""
    spec = write_json(folder / "spec.json", claim.spec)
    rows = fetch_rows(claim.dataset, folder / "rows", blobs, check)
    held_out = claim.validation_dataset
    validation = None if held_out is None else fetch_rows(held_out, folder / "validation-rows", blobs, check)
    return Inputs(spec, rows, validation, model)


def write_json(path: Path, value: Mapping[str, Any]) -> Path:
    """Write down a row's JSON as a file of the run."""
    path.write_text(json.dumps(value, ensure_ascii=False, allow_nan=False), encoding="utf-8")
    return path


def fetch_rows(dataset: Dataset, target: Path, blobs: Blobs, check: Check) -> Path:
    """Copy the sealed bytes to ``target``; raise ``DatasetCorrupt`` unless they are the sealed ones."""
    digest = hashlib.sha256()
    size = 0
    try:
        with target.open("xb") as kept:
            for block in blobs.stream(dataset.blob_key):
                check()
                digest.update(block)
                size += kept.write(block)
    except BlobNotFound:
        raise DatasetCorrupt(dataset.id) from None
    if (digest.hexdigest(), size) != (dataset.sha256, dataset.bytes):
        raise DatasetCorrupt(dataset.id)
    return target

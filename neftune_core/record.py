"""The frozen record of a run: what was asked, what it became, on what, and what came out.

Knows files and versions; the numbers come from the run's outcome.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from neftune_core.export import hashes, sha256
from neftune_core.spec import JobSpec
from neftune_core.surroundings import hardware, versions

if TYPE_CHECKING:
    from neftune_core.train import Outcome

_COMMIT = re.compile(r"[0-9a-f]{40}")  # the fetcher's cache names a model's folder by its commit


@dataclass(frozen=True)
class Sources:
    """What a run was made from."""

    model_dir: Path
    rows_path: Path
    rows: int


def write(path: Path, spec: JobSpec, outcome: "Outcome", sources: Sources, processes: int = 1) -> None:
    """Write ``record.json``; ``processes`` tells how many shared the job."""
    resolved = dict(outcome.resolved)
    record = {
        "spec": spec.model_dump(mode="json"),
        "resolved": resolved,
        "model": {
            "id": spec.model,
            "revision": spec.revision,
            "commit": sources.model_dir.name if _COMMIT.fullmatch(sources.model_dir.name) else None,
            "files": hashes(sources.model_dir),
        },
        "dataset": {
            "sha256": sha256(sources.rows_path),
            "rows": sources.rows,
            "train_rows": resolved["train_rows"],
            "eval_rows": resolved["eval_rows"],
        },
        "versions": versions(),
        "hardware": {**hardware(), "processes": processes},
        "seed": spec.training.seed,
        "noise": dict(outcome.noise),
        "probe": dict(outcome.probe),
        "final": dict(outcome.final),
        "resumed": list(outcome.resumed),
        "artifact": {"name": outcome.kind, "files": hashes(outcome.folder)},
    }
    path.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", encoding="utf-8")

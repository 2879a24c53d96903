"""What an evaluation reads, laid out for its runner; and the judge, who is asked when that one is done.

The runner measures with the models and knows no network. The judge is a second child: it reads the answers
that the first has left, asks an endpoint elsewhere, and holds the endpoint's key, which comes on a pipe.
What it does not bring is told in the results, and fails nothing.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from neftune_store.artifacts import Artifact
from neftune_store.blobs import Blobs
from neftune_store.checkpoints import CheckpointFile
from neftune_store.claims import Claim
from neftune_store.errors import BlobNotFound, RecordNotFound
from neftune_store.evaluations import HELD_OUT, OTHER, REFERENCE, ROWS, WEIGHTS
from neftune_store.inputs import Input, Weights
from worker.checkpoints import Damaged, fetch_file
from worker.errors import AdapterCorrupt
from worker.inputs import Check, fetch_rows, write_json

FOLDER = "evaluation"  # what the runner leaves
RESULTS = "results.json"  # in it
ANSWERS = "judge_answers.jsonl"  # in it: what a judge has said already
OTHERS = "answers-prompts-other-plain.json"  # in it: of the run that a judge compares with
_WEIGHTS = "weights.safetensors"  # of a checkpoint

Record = Callable[[], Mapping[str, Any]]  # of the run that is measured; raises where there is none


@dataclass(frozen=True, slots=True)
class Sequel:
    """A second child: its verb and arguments, and how its key is got, if it needs one.

    ``instead``: more arguments, with which a third one makes the best of what it has left when it dies.
    """

    verb: tuple[str, ...]
    arguments: list[str]
    instead: tuple[str, ...]
    key: Callable[[], str] | None = None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is at hand, and where all of it goes."""

    claim: Claim
    folder: Path
    blobs: Blobs
    check: Check

    @property
    def out(self) -> Path:
        """Where the runner writes."""
        return self.folder / "out"


def measuring(around: Surroundings, record: Record, benchmarks: Path | None) -> list[str]:
    """Lay out all that is measured, and give the runner's arguments but for the base."""
    claim = around.claim
    spec = write_json(around.folder / "evaluation.json", claim.options or {})
    job = write_json(around.folder / "job.json", _as_trained(claim.spec, record))
    named = ["--benchmarks", str(benchmarks)] if benchmarks is not None else []
    given = [word for one in claim.inputs for word in _laid_out(one, around)]
    return [str(spec), str(around.out), "--job", str(job), *given, *named]


def judging(
    around: Surroundings, allowed: tuple[str, ...], known: list[Artifact], open_secret: Callable[[str], str]
) -> Sequel | None:
    """Lay out what judges have said before, and give the second child, where a judge is asked for."""
    judge = (around.claim.options or {}).get("judge")
    if judge is None:
        return None
    folder = around.out / FOLDER
    _remember(folder / ANSWERS, [*_kept(around), *(_content(artifact, around) for artifact in known)])
    others = next(_others(around), None)
    key = judge.get("key")
    return Sequel(
        verb=("evaluate", "judge-folder"),
        arguments=[
            str(folder),
            *(() if others is None else ("--others", str(others))),
            *(word for host in allowed for word in ("--allow", host)),
        ],
        instead=("--ask-nobody",),
        key=None if key is None else partial(open_secret, key["secret"]),
    )


def tell_missing(around: Surroundings, why: str) -> None:
    """Say in the results that the judge brought nothing, in place of what it may have said itself."""
    path = around.out / FOLDER / RESULTS
    results = json.loads(path.read_bytes())
    others = [one for one in results.get("missing", ()) if str(one.get("what")).split("/")[0] != "judge"]
    results["missing"] = [*others, {"what": "judge", "why": why}]
    path.unlink()  # a name of its own: what stands there may be kept under another
    write_json(path, results)


def _as_trained(spec: Mapping[str, Any], record: Record) -> dict[str, Any]:
    """Give the run's spec with the template that ``auto`` came to mean."""
    try:
        template = (record().get("resolved") or {}).get("template")
    except RecordNotFound:  # it has not succeeded; one of its checkpoints is measured
        template = None
    training = dict(spec.get("training") or {})
    return {**spec, "training": {**training, "template": template} if template else training}


def _laid_out(one: Input, around: Surroundings) -> Iterator[str]:
    if one.weights is not None and one.weights.kind != "base":
        path = _weights(one.weights, around.folder / one.place, around)
        yield from ("--tuned" if one.place == WEIGHTS else f"--{OTHER}", str(path))
    if one.weights is not None and one.place == WEIGHTS and one.weights.step is not None:
        yield from ("--step", str(one.weights.step))
    if one.dataset is not None:
        target = around.folder / f"rows-{one.place}"
        path = fetch_rows(one.dataset, target, around.blobs, around.check)
        match one.place:
            case place if place == ROWS:
                yield from ("--rows", str(path))
            case place if place == HELD_OUT:
                yield from ("--validation-rows", str(path))
            case place if place == REFERENCE:
                return  # for the judge
            case _:
                yield from ("--data", f"{one.dataset.id}={path}")


def _weights(weights: Weights, folder: Path, around: Surroundings) -> Path:
    for file in weights.files:
        _fetch(file, folder / file.name, around)
    return folder if weights.kind in {"adapter", "model"} else folder / _WEIGHTS


def _fetch(file: CheckpointFile, target: Path, around: Surroundings) -> None:
    try:
        fetch_file(file, target, around.blobs, around.check)
    except (BlobNotFound, Damaged) as fault:
        raise AdapterCorrupt from fault


def _others(around: Surroundings) -> Iterator[Path]:
    """Give what the judge compares with, where that is not the base."""
    for one in around.claim.inputs:
        if one.place == REFERENCE:
            yield around.folder / f"rows-{REFERENCE}"
        if one.place == OTHER:
            yield around.out / FOLDER / OTHERS


def _kept(around: Surroundings) -> Iterator[bytes]:
    """Give what a judge had said when an earlier attempt was saved."""
    for path in around.out.glob(f"checkpoints/*/{ANSWERS}"):
        yield path.read_bytes()


def _remember(path: Path, said: Iterable[bytes]) -> None:
    """Write down each answer once: an evaluation hands on what it was handed."""
    lines = dict.fromkeys(line for one in said for line in one.split(b"\n") if line)
    if lines:
        path.write_bytes(b"".join(line + b"\n" for line in lines))


def _content(artifact: Artifact, around: Surroundings) -> bytes:
    """Read what a judge has said; what can't be read is asked again."""
    target = around.folder / "tmp" / artifact.id
    file = CheckpointFile(artifact.name, artifact.sha256, artifact.bytes, artifact.blob_key)
    try:
        fetch_file(file, target, around.blobs, around.check)
    except (BlobNotFound, Damaged):
        return b""
    return target.read_bytes()

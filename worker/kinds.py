"""What a run of each kind of job is: the runner's verb, what it reads, what it owes, what we add to it.

Claim, lease, watch, publish and settle are the same for all of them. A new kind is an entry in ``KINDS``.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neftune_core.report.reading import Point
from neftune_store.artifacts import Artifact
from neftune_store.blobs import Blobs
from neftune_store.checkpoints import Checkpoint, CheckpointFile
from neftune_store.claims import Claim
from neftune_store.errors import BlobNotFound, NotFound, RecordNotFound
from neftune_store.exports import Subject
from worker import evaluating, reports
from worker.checkpoints import Damaged, fetch_file, restore
from worker.errors import AdapterCorrupt, SubjectGone, UnknownKind
from worker.evaluating import Sequel, Surroundings
from worker.inputs import Check, lay_out, write_json
from worker.settings import WorkerSettings
from worker.stop import Bounds
from worker.token_cache import TokenCache, name_of

ADAPTER = "adapter"
_TOKENS = "tokens"  # in a run's folder


@dataclass(frozen=True, slots=True)
class Desk:
    """What is at hand when a run's inputs are laid out."""

    claim: Claim
    folder: Path
    blobs: Blobs
    check: Check
    subject: Callable[[str], Subject]  # what the job that this one is about has left
    pass_over: Callable[[Checkpoint], None]
    settings: WorkerSettings
    said: Callable[[], list[Artifact]]  # what judges have said to this project before
    secret: Callable[[str], str]  # opens one of the project's


# From its record, and from the rows of its metrics, if it has any.
Reporting = Callable[[Desk, Mapping[str, Any], Iterable[Point]], dict[str, Path]]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of job, as its supervisor sees it."""

    verb: str
    arguments: Callable[[Desk, Path], list[str]]  # the runner's, once all of it lies in the folder
    owed: Callable[[Claim], tuple[str, ...]]  # the artifacts of which one has to be there
    bounds: Callable[[Claim, WorkerSettings], Bounds]
    has_metrics: bool
    sequel: Callable[[Desk], Sequel | None] = lambda _: None  # a second child, when the runner is done
    record: str | None = None  # where it lies, if the runner does not tell
    without: Callable[[Desk, str], None] = lambda _desk, _why: None  # when that one failed, and why
    report: Reporting = lambda _desk, _record, _rows: {}  # files about what it came to, by their names
    leave: Callable[[Desk], None] = lambda _: None  # what other runs may use; never raises


def kind_of(claim: Claim) -> Kind:
    """Give the kind of a claimed job; one that this worker has not learnt is left to others."""
    if claim.kind not in KINDS:
        raise UnknownKind
    return KINDS[claim.kind]


def command_of(settings: WorkerSettings, *verb: str) -> list[str]:
    """Give the runner's command with this verb; the setting may end in the verb of training, as ever."""
    *command, last = settings.runner
    return [*command, *verb] if last == KINDS["train"].verb else [*settings.runner, *verb]


def revision_of(claim: Claim, subject: Callable[[str], Subject]) -> str | None:
    """Give the revision of the base: of one that was trained on already, the very commit."""
    asked: str | None = claim.spec.get("revision")
    if claim.of_job is None:
        return asked
    try:
        model = subject(ADAPTER).record.get("model")
    except RecordNotFound:  # one of its checkpoints is measured
        return asked
    commit = model.get("commit") if isinstance(model, dict) else None
    return commit if isinstance(commit, str) else asked


# Training


def _training(desk: Desk, model: Path) -> list[str]:
    inputs = lay_out(desk.claim, model, desk.folder, desk.blobs, desk.check)
    restore(desk.claim.checkpoints, desk.folder / "out", desk.blobs, desk.check, desk.pass_over)
    return [*inputs.arguments(desk.folder / "out"), *_sharing(desk)]


def _sharing(desk: Desk) -> list[str]:
    """Lend the tokens that another run has left, and say where this one may leave its own."""
    if not desk.settings.token_cache_bytes:
        return []
    _token_cache(desk).lend(name_of(desk.claim), desk.folder / _TOKENS)
    return ["--shared-tokens", str(desk.folder / _TOKENS)]


def _left_for_others(desk: Desk) -> None:
    if desk.settings.token_cache_bytes:
        _token_cache(desk).take(name_of(desk.claim), desk.folder / _TOKENS)


def _token_cache(desk: Desk) -> TokenCache:
    return TokenCache(desk.settings.work_dir, desk.settings.token_cache_bytes)


def _reported(desk: Desk, record: Mapping[str, Any], rows: Iterable[Point]) -> dict[str, Path]:
    return reports.of_run(desk.folder, record, rows)


def _trained(claim: Claim) -> tuple[str, ...]:
    return ("model",) if claim.spec.get("method") == "full" else (ADAPTER,)


def _steps(claim: Claim, settings: WorkerSettings) -> Bounds:
    minutes = claim.spec.get("resources", {}).get("max_minutes")
    return Bounds(
        stall=settings.stall_seconds,
        first_step=settings.first_step_seconds,
        run=None if minutes is None else max(minutes * 60.0 - claim.ran_seconds, 0.0),
    )


# Exporting


def _exporting(desk: Desk, model: Path) -> list[str]:
    try:
        subject = desk.subject(ADAPTER)
    except NotFound as fault:
        raise SubjectGone from fault
    record = write_json(desk.folder / "of-job.json", subject.record)
    adapter = desk.folder / ADAPTER
    for artifact in subject.files:
        name = artifact.name.removeprefix(f"{ADAPTER}/")
        file = CheckpointFile(name, artifact.sha256, artifact.bytes, artifact.blob_key)
        try:
            fetch_file(file, adapter / name, desk.blobs, desk.check)
        except (BlobNotFound, Damaged) as fault:
            raise AdapterCorrupt from fault
    return [str(record), str(adapter), str(desk.folder / "out"), "--model-dir", str(model)]


def _merged(_claim: Claim) -> tuple[str, ...]:
    return ("merged",)


def _phases(_claim: Claim, settings: WorkerSettings) -> Bounds:
    """Where there are no steps, each word may take as long as loading a model."""
    return Bounds(stall=settings.first_step_seconds, first_step=settings.first_step_seconds)


# Evaluating


def _evaluating(desk: Desk, model: Path) -> list[str]:
    restore(desk.claim.checkpoints, desk.folder / "out", desk.blobs, desk.check, desk.pass_over)
    given = evaluating.measuring(
        _around(desk), lambda: desk.subject(ADAPTER).record, desk.settings.benchmarks_dir
    )
    return [*given, "--model-dir", str(model)]


def _judging(desk: Desk) -> Sequel | None:
    return evaluating.judging(_around(desk), desk.settings.judge_allow, desk.said(), desk.secret)


def _unjudged(desk: Desk, why: str) -> None:
    evaluating.tell_missing(_around(desk), why)


def _around(desk: Desk) -> Surroundings:
    return Surroundings(desk.claim, desk.folder, desk.blobs, desk.check)


def _reported_of(desk: Desk, _record: Mapping[str, Any], _rows: Iterable[Point]) -> dict[str, Path]:
    try:
        trained = desk.subject(ADAPTER).record
    except RecordNotFound:  # it has not succeeded; one of its checkpoints was measured
        trained = {"spec": desk.claim.spec}
    return reports.of_evaluation(desk.folder, trained, desk.folder / "out" / evaluating.FOLDER)


RECORD = f"{evaluating.FOLDER}/{evaluating.RESULTS}"


def _evaluated(_claim: Claim) -> tuple[str, ...]:
    return (evaluating.FOLDER,)


KINDS = {
    "train": Kind(
        "run", _training, _trained, _steps, has_metrics=True, report=_reported, leave=_left_for_others
    ),
    "export": Kind("export", _exporting, _merged, _phases, has_metrics=False),
    "evaluate": Kind(
        "evaluate", _evaluating, _evaluated, _phases, False, _judging, RECORD, _unjudged, _reported_of
    ),
}

"""The promises, read off a database and its storage after everything has come to rest.

One function for each promise that rows or bytes can break; each gives sentences about what is wrong.
:func:`check` asks them all and raises one error that lists every sentence. The numbers are those of
docs/reliability.md.
"""

import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, text

from neftune_store.blobs import Blobs
from neftune_store.errors import BlobNotFound
from neftune_store.lifecycle import CRASH_LIMIT, MOVES, READ_ROWS, TERMINAL, Status
from neftune_store.spans import WIDTHS

Wrong = Iterator[str]
Rows = Sequence[Any]


@dataclass(frozen=True)
class Seen:
    """Everything there is to know, read once."""

    jobs: dict[str, Any]
    events: dict[str, list[Any]]
    metrics: dict[str, list[Any]]
    spans: dict[str, list[Any]]
    runs: dict[str, list[Any]]
    checkpoints: dict[str, list[Any]]
    results: dict[str, list[Any]]
    artifacts: dict[str, list[Any]]
    inputs: dict[str, list[Any]]
    datasets: Rows
    keys: Rows

    @classmethod
    def read(cls, engine: Engine) -> "Seen":
        """Read all rows in one snapshot."""
        with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
            return cls(
                jobs={row.id: row for row in _all(connection, "jobs", "id")},
                events=_by_job(connection, "events", "seq"),
                metrics=_by_job(connection, "metrics", "step"),
                spans=_by_job(connection, "metric_spans", "width, key, span"),
                runs=_by_job(connection, "runs", "fence"),
                checkpoints=_by_job(connection, "checkpoints", "step"),
                results=_by_job(connection, "results", "id"),
                artifacts=_by_job(connection, "artifacts", "name"),
                inputs=_by_job(connection, "job_inputs", "place"),
                datasets=_all(connection, "datasets", "id"),
                keys=_all(connection, "idempotency_keys", "key"),
            )


def check(
    engine: Engine, blobs: Blobs | None = None, *, orphans: bool = False, at_rest: bool = False
) -> Seen:
    """Raise ``AssertionError`` with everything that is wrong.

    ``blobs``: read back every object a row names; with ``orphans``, no object may be there that none names.
    ``at_rest``: everything is over, so no job may be running or queued.
    """
    seen = Seen.read(engine)
    wrong = [f"{ask.__name__}: {said}" for ask in _ROWS for said in ask(seen)]
    if blobs is not None:
        wrong += [f"visible_results_are_whole: {said}" for said in visible_results_are_whole(seen, blobs)]
        if orphans:
            wrong += [f"no_object_is_orphaned: {said}" for said in no_object_is_orphaned(seen, blobs)]
    if at_rest:
        wrong += [f"every_job_comes_to_rest: {said}" for said in every_job_comes_to_rest(seen)]
    if wrong:
        raise AssertionError(f"{len(wrong)} broken promises\n" + "\n".join(wrong[:60]))
    return seen


def one_job_per_key(seen: Seen) -> Wrong:
    """I2: a key has made one job, which is there."""
    for (project, key), count in Counter((row.project_id, row.key) for row in seen.keys).items():
        if count > 1:
            yield f"key {key} of {project} stands {count} times"
    for row in seen.keys:
        if row.job_id not in seen.jobs:
            yield f"key {row.key} names {row.job_id}, which is not there"
    for job, count in Counter(row.job_id for row in seen.keys).items():
        if count > 1:
            yield f"{job} was made by {count} keys"


def fences_never_fall(seen: Seen) -> Wrong:
    """I3: in the order of commits nobody writes after a later run has begun."""
    for job in seen.jobs:
        rows = sorted([*seen.events[job], *seen.metrics[job]], key=lambda row: row.seq)
        for before, after in itertools.pairwise(rows):
            if after.fence < before.fence:
                yield f"{job}: fence {after.fence} at seq {after.seq} after fence {before.fence}"
        if rows and rows[-1].fence > seen.jobs[job].fence:
            yield f"{job}: a row of fence {rows[-1].fence}, the job is at {seen.jobs[job].fence}"
        fences = [run.fence for run in seen.runs[job]]
        if len(set(fences)) < len(fences):
            yield f"{job}: two runs share a fence"


def a_job_ends_once(seen: Seen) -> Wrong:
    """I4: one terminal fact for a job that has ended, and nothing after it."""
    ends = {f"job.{status}" for status in TERMINAL}
    for id_, job in seen.jobs.items():
        facts = [row for row in seen.events[id_] if row.kind == "event" and row.name in ends]
        wanted = [f"job.{job.status}"] if job.status in TERMINAL else []
        if [row.name for row in facts] != wanted:
            yield f"{id_} is {job.status} and its ends are {[row.name for row in facts]}"
        late = [row for row in seen.events[id_] if facts and row.seq > facts[0].seq and row.kind == "event"]
        late += [row for row in seen.metrics[id_] if facts and row.seq > facts[0].seq]
        if late:
            yield f"{id_}: {len(late)} rows after its end"


def histories_follow_the_table(seen: Seen) -> Wrong:
    """I5: the statuses a job has shown are a path of the table of moves."""
    for id_, job in seen.jobs.items():
        shown = [row.data["status"] for row in seen.events[id_] if row.kind == "status"]
        if not shown or shown[0] != Status.QUEUED:
            yield f"{id_} begins as {shown[:1]}"
        for before, after in itertools.pairwise(shown):
            # A claim and what follows it are told in one row: what was queued may show as running twice.
            if before != after and Status(after) not in MOVES[Status(before)]:
                yield f"{id_} went from {before} to {after}"
        if shown and shown[-1] != job.status:
            yield f"{id_} is {job.status} and was last shown as {shown[-1]}"


def numbers_are_taken_once(seen: Seen) -> Wrong:
    """Nobody who asks for what came after a number can miss a row."""
    for id_, job in seen.jobs.items():
        numbers = [row.seq for row in (*seen.events[id_], *seen.metrics[id_])]
        if len(set(numbers)) < len(numbers):
            yield f"{id_}: a number was given twice"
        if numbers and max(numbers) > job.last_seq:
            yield f"{id_}: number {max(numbers)} beyond last_seq {job.last_seq}"


def curves_have_each_step_once(seen: Seen) -> Wrong:
    """I7: of a job that succeeded every step from the first to the last stands there, once."""
    for id_, job in seen.jobs.items():
        steps = [row.step for row in seen.metrics[id_]]
        if len(set(steps)) < len(steps):
            yield f"{id_}: a step stands twice"
        if job.status == Status.SUCCEEDED and steps and steps != list(range(steps[0], steps[-1] + 1)):
            missing = sorted(set(range(steps[0], steps[-1] + 1)) - set(steps))
            yield f"{id_}: steps {missing[:10]} are missing"
        if job.status == Status.SUCCEEDED and steps and steps[0] > 1:
            yield f"{id_}: its curve begins at step {steps[0]}"


def spans_tell_what_their_rows_do(seen: Seen) -> Wrong:
    """What a long curve is read from holds the smallest and the largest value of the rows, and no other."""
    for id_, job in seen.jobs.items():
        rows = seen.metrics[id_]
        until = min(job.spans_until, rows[-1].step + 1 if rows else 0)
        kept = {
            (one.width, one.key, one.span): (one.low, one.low_step, one.high, one.high_step, one.points)
            for one in seen.spans[id_]
            if (one.span + 1) * one.width <= until
        }
        made = _spans_of(rows, until)
        for place in sorted(kept.keys() | made.keys()):
            if kept.get(place) != made.get(place):
                yield f"{id_}: span {place} holds {kept.get(place)}, its rows {made.get(place)}"


def _spans_of(rows: Rows, until: int) -> dict[tuple[int, str, int], tuple[float, int, float, int, int]]:
    points: dict[tuple[int, str, int], list[tuple[int, float]]] = {}
    widths = [width for width in WIDTHS if width <= until]
    for row in rows:
        for key, value in row.numbers.items():
            for width in widths if value is not None else ():
                if (row.step // width + 1) * width <= until:
                    points.setdefault((width, key, row.step // width), []).append((row.step, value))
    made = {}
    for place, found in points.items():
        low_step, low = min(found, key=lambda point: (point[1], point[0]))
        high_step, high = min(found, key=lambda point: (-point[1], point[0]))
        made[place] = low, low_step, high, high_step, len(found)
    return made


def leases_belong_to_running_jobs(seen: Seen) -> Wrong:
    """Who runs has a lease, nobody else; a job that is not running has no open run."""
    for id_, job in seen.jobs.items():
        if (job.status == Status.RUNNING) != (job.lease_owner is not None):
            yield f"{id_} is {job.status} and its lease is {job.lease_owner}'s"
        last = max((run.fence for run in seen.runs[id_]), default=0)
        for run in seen.runs[id_]:
            if run.ended_at is None and (job.status != Status.RUNNING or run.fence < last):
                yield f"{id_} is {job.status} and its run {run.fence} of {last} has not ended"
        if job.attempt != len(seen.runs[id_]):
            yield f"{id_} says {job.attempt} attempts and has {len(seen.runs[id_])} runs"


def results_stand_with_success(seen: Seen) -> Wrong:
    """I6: success and a result of that very run, or neither."""
    for id_, job in seen.jobs.items():
        results = seen.results[id_]
        if (job.status == Status.SUCCEEDED) != bool(results):
            yield f"{id_} is {job.status} with {len(results)} results"
        for result in results:
            if (result.id, result.fence) != (job.result_id, job.fence):
                yield f"{id_}: its result is of fence {result.fence}, it is at {job.fence}"
        if job.status == Status.SUCCEEDED and not seen.artifacts[id_]:
            yield f"{id_} succeeded with nothing to download"
        for artifact in seen.artifacts[id_]:
            if artifact.fence != job.fence:
                yield f"{id_}: {artifact.name} is of fence {artifact.fence}, the job at {job.fence}"


def checkpoints_lie_on_the_curve(seen: Seen) -> Wrong:
    """I8: where a job may go on, every step before is there; committed_step was a checkpoint once."""
    for id_, job in seen.jobs.items():
        places = seen.checkpoints[id_]
        if job.committed_step and job.committed_step not in {row.step for row in places}:
            yield f"{id_}: step {job.committed_step} is committed without a checkpoint"
        open_ = [row.step for row in places if row.dropped_at is None]
        steps = {row.step for row in seen.metrics[id_]}
        first = max(min(steps, default=1), 1)
        # What measures has parts and no curve.
        if job.kind == "train" and open_ and not set(range(first, max(open_) + 1)) <= steps:
            yield f"{id_}: a checkpoint at {max(open_)} beyond what its curve shows"


def attempts_are_bounded(seen: Seen) -> Wrong:
    """I9: nobody waits who has crashed too often."""
    for id_, job in seen.jobs.items():
        if job.status == Status.QUEUED and job.crashes >= CRASH_LIMIT:
            yield f"{id_} waits after {job.crashes} crashes"


def cancelled_means_cancelled(seen: Seen) -> Wrong:
    """I10: whose cancel was answered never succeeded."""
    asked = {"job.cancel_requested", "job.cancelled"}
    for id_, job in seen.jobs.items():
        if job.status == Status.SUCCEEDED and any(row.name in asked for row in seen.events[id_]):
            yield f"{id_} succeeded after a cancel"


def what_is_needed_is_there(seen: Seen) -> Wrong:
    """I14: the datasets of jobs that have not ended are not deleted."""
    deleted = {row.id for row in seen.datasets if row.deleted_at is not None}
    for id_, job in seen.jobs.items():
        if (
            job.status not in TERMINAL
            and job.kind in READ_ROWS
            and {job.dataset_id, job.validation_dataset_id} & deleted
        ):
            yield f"{id_} is {job.status} and a dataset of it is deleted"
        read = {row.dataset_id for row in seen.inputs[id_]}
        left = [row.of_job for row in seen.inputs[id_] if row.of_job and seen.jobs[row.of_job].deleted_at]
        if job.status not in TERMINAL and (read & deleted or left):
            yield f"{id_} is {job.status} and something that it reads is deleted"


def one_export_is_alive(seen: Seen) -> Wrong:
    """Of one job one export of a kind is alive or has succeeded, and what it works on is there."""
    alive: Counter[tuple[str, str]] = Counter()
    for id_, job in seen.jobs.items():
        if job.kind == "train" or job.status in {Status.FAILED, Status.CANCELLED} or job.deleted_at:
            continue
        of = seen.jobs[job.of_job]
        if job.kind == "export":
            alive[of.id, job.options["kind"]] += 1
        if of.project_id != job.project_id or (job.kind == "export" and of.status != Status.SUCCEEDED):
            yield f"{id_} works on {of.id}, which is {of.status} in {of.project_id}"
        if job.status not in TERMINAL and of.deleted_at is not None:
            yield f"{id_} is {job.status} and works on {of.id}, which is deleted"
    for (of_id, kind), count in alive.items():
        if count > 1:
            yield f"{of_id} has {count} exports of the kind {kind}"


def every_job_comes_to_rest(seen: Seen) -> Wrong:
    """I1, I9: with all faults healed, no job is forgotten."""
    for id_, job in seen.jobs.items():
        if job.status not in TERMINAL and job.status != Status.PAUSED:
            yield f"{id_} is still {job.status}"


def visible_results_are_whole(seen: Seen, blobs: Blobs) -> Wrong:
    """I6, I14, I15: every object that a row names has the bytes the row says."""
    for key, (sha256, size, what) in named_objects(seen).items():
        try:
            data = b"".join(blobs.stream(key))
        except BlobNotFound:
            yield f"{what} is not in storage"
            continue
        if (hashlib.sha256(data).hexdigest(), len(data)) != (sha256, size):
            yield f"{what} has other bytes than its row says"


def no_object_is_orphaned(seen: Seen, blobs: Blobs) -> Wrong:
    """After a collection nothing is left that no row names."""
    named = named_objects(seen)
    for prefix in ("projects", "staging"):
        for info in blobs.list(prefix):
            if info.key not in named:
                yield f"{info.key} is named by nobody"


def named_objects(seen: Seen) -> dict[str, tuple[str, int, str]]:
    """Give the objects that rows name: key to hash, size and what it is."""
    hidden = {id_ for id_, job in seen.jobs.items() if job.deleted_at is not None}
    named = {
        row.blob_key: (row.sha256, row.bytes, f"dataset {row.id}")
        for row in seen.datasets
        if row.deleted_at is None
    }
    for id_ in seen.jobs.keys() - hidden:
        for row in seen.artifacts[id_]:
            named[row.blob_key] = (row.sha256, row.bytes, f"{row.name} of {id_}")
        for place in seen.checkpoints[id_]:
            for file in place.manifest.get("files", ()) if place.dropped_at is None else ():
                what = f"{file['name']} of checkpoint {place.step} of {id_}"
                named[file["blob_key"]] = (file["sha256"], file["bytes"], what)
    return named


_ROWS: tuple[Callable[[Seen], Wrong], ...] = (
    one_job_per_key,
    fences_never_fall,
    a_job_ends_once,
    histories_follow_the_table,
    numbers_are_taken_once,
    curves_have_each_step_once,
    spans_tell_what_their_rows_do,
    leases_belong_to_running_jobs,
    results_stand_with_success,
    checkpoints_lie_on_the_curve,
    attempts_are_bounded,
    cancelled_means_cancelled,
    what_is_needed_is_there,
    one_export_is_alive,
)


def _all(connection: Connection, table: str, order: str) -> Rows:
    return connection.execute(text(f"SELECT * FROM {table} ORDER BY {order}")).all()


class _ByJob(dict[str, list[Any]]):
    def __missing__(self, job: str) -> list[Any]:
        return []


def _by_job(connection: Connection, table: str, order: str) -> _ByJob:
    found = _ByJob()
    for row in _all(connection, table, f"job_id, {order}"):
        found.setdefault(row.job_id, []).append(row)
    return found

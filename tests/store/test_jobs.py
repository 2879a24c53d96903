"""What a user may ask about jobs, and of them."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.orm import Session

from neftune_store.artifacts import ArtifactLedger
from neftune_store.db import unit_of_work
from neftune_store.errors import (
    AlreadyFinished,
    ArtifactNotFound,
    InvalidCursor,
    InvalidLimit,
    InvalidMove,
    JobNotFound,
)
from neftune_store.events import events_after
from neftune_store.ids import new_id
from neftune_store.jobs import Job, JobFilter, JobLedger
from neftune_store.lifecycle import TERMINAL, Intent, Status
from neftune_store.metrics import metrics_after, series
from neftune_store.runs import runs_of
from tests.factories import make_claim, make_dataset, make_job, make_project


def ask(engine: Engine, job: Job, what: str) -> Job:
    with unit_of_work(engine) as session:
        answer: Job = getattr(JobLedger(session), what)(job.project_id, job.id)
        return answer


def last_event(engine: Engine, job: Job) -> str:
    with unit_of_work(engine) as session:
        return events_after(session, job.project_id, job.id)[-1].name


@pytest.mark.parametrize("status", [Status.QUEUED, Status.PAUSED])
def test_without_a_runner_a_cancel_is_immediate(engine: Engine, status: Status) -> None:
    job = ask(engine, make_job(engine, status=status), "cancel")
    assert (job.status, job.intent, job.finished) == (Status.CANCELLED, Intent.CANCEL, True)
    assert last_event(engine, job) == "job.cancelled"


def test_a_running_job_is_asked_to_end(engine: Engine) -> None:
    job = make_job(engine, status=Status.RUNNING)
    asked = ask(engine, job, "cancel")
    assert (asked.status, asked.intent) == (Status.RUNNING, Intent.CANCEL)
    assert last_event(engine, job) == "job.cancel_requested"
    assert ask(engine, job, "cancel") == asked  # again: the same answer, and nothing changes


@pytest.mark.parametrize("what", ["pause", "resume"])
def test_a_cancel_cannot_be_taken_back(engine: Engine, what: str) -> None:
    job = make_job(engine, status=Status.RUNNING)
    ask(engine, job, "cancel")
    with pytest.raises(InvalidMove):
        ask(engine, job, what)


ENDED = [
    (status, what)
    for status in sorted(TERMINAL)
    for what in ("cancel", "pause", "resume")
    if (status, what) != (Status.CANCELLED, "cancel")  # told below
]


@pytest.mark.parametrize(("status", "what"), ENDED)
def test_an_ended_job_cannot_be_asked_for_anything(engine: Engine, status: Status, what: str) -> None:
    job = make_job(engine, status=status)
    with pytest.raises(AlreadyFinished, match=status):
        ask(engine, job, what)


def test_whoever_cancels_again_gets_the_same_answer(engine: Engine) -> None:
    job = make_job(engine, status=Status.CANCELLED)
    again = ask(engine, job, "cancel")
    assert (again.status, again.last_seq) == (Status.CANCELLED, job.last_seq)


def test_a_queued_job_pauses_and_goes_on(engine: Engine) -> None:
    job = make_job(engine)
    assert ask(engine, job, "pause").status == Status.PAUSED
    assert ask(engine, job, "pause").status == Status.PAUSED
    assert ask(engine, job, "resume").status == Status.QUEUED
    assert ask(engine, job, "resume").status == Status.QUEUED
    with unit_of_work(engine) as session:
        events = events_after(session, job.project_id, job.id)
    assert [event.name for event in events] == ["job.queued", "job.paused", "job.resumed"]


def test_a_running_job_is_asked_to_rest_and_to_go_on(engine: Engine) -> None:
    job = make_job(engine, status=Status.RUNNING)
    assert ask(engine, job, "pause").intent == Intent.PAUSE
    assert ask(engine, job, "resume").intent == Intent.RUN
    assert ask(engine, job, "pause").status == Status.RUNNING


def test_a_finished_job_can_be_deleted_and_is_gone(engine: Engine) -> None:
    job = make_job(engine, status=Status.SUCCEEDED)
    with unit_of_work(engine) as session:
        JobLedger(session).delete(job.project_id, job.id)
    for what in ("get", "cancel", "delete"):
        with pytest.raises(JobNotFound):
            ask(engine, job, what)
    with unit_of_work(engine) as session:
        assert JobLedger(session).list(job.project_id).items == ()


@pytest.mark.parametrize("status", [Status.QUEUED, Status.RUNNING, Status.PAUSED])
def test_an_unfinished_job_cannot_be_deleted(engine: Engine, status: Status) -> None:
    with pytest.raises(InvalidMove):
        ask(engine, make_job(engine, status=status), "delete")


READS: dict[str, Callable[[Session, str, str], Any]] = {
    "get": lambda s, p, j: JobLedger(s).get(p, j),
    "cancel": lambda s, p, j: JobLedger(s).cancel(p, j),
    "pause": lambda s, p, j: JobLedger(s).pause(p, j),
    "resume": lambda s, p, j: JobLedger(s).resume(p, j),
    "delete": lambda s, p, j: JobLedger(s).delete(p, j),
    "events": events_after,
    "metrics": metrics_after,
    "series": series,
    "artifacts": lambda s, p, j: ArtifactLedger(s).list(p, j),
    "artifact": lambda s, p, j: ArtifactLedger(s).get(p, j, "adapter"),
    "record": lambda s, p, j: ArtifactLedger(s).record(p, j),
    "runs": runs_of,
}


@pytest.mark.parametrize("read", READS)
def test_a_foreign_job_and_an_unknown_job_are_the_same(engine: Engine, read: str) -> None:
    theirs = make_job(engine, status=Status.SUCCEEDED)
    mine = make_project(engine).id
    messages = set()
    for job_id in (
        theirs.id,
        new_id("job"),
        "job_",
        "",
        "x" * 1000,
        "job_\x00",
        theirs.id.upper(),
        theirs.dataset_id,
    ):
        with pytest.raises(JobNotFound) as unknown, unit_of_work(engine) as session:
            READS[read](session, mine, job_id)
        messages.add(str(unknown.value))
    assert len(messages) == 1


@pytest.mark.parametrize("name", ["nothing", "", "a\x00", "../adapter", "x" * 10_000])
def test_an_unknown_artifact_is_not_found(engine: Engine, name: str) -> None:
    job = make_job(engine, status=Status.SUCCEEDED)
    with pytest.raises(ArtifactNotFound), unit_of_work(engine) as session:
        ArtifactLedger(session).get(job.project_id, job.id, name)


def test_pages_are_complete_while_jobs_come_in(engine: Engine) -> None:
    dataset = make_dataset(engine)
    there = [make_job(engine, dataset=dataset).id for _ in range(11)]
    make_job(engine)  # of another project
    seen: list[str] = []
    cursor = None
    while True:
        with unit_of_work(engine) as session:
            page = JobLedger(session).list(dataset.project_id, None, cursor, 4)
        seen += [job.id for job in page.items]
        if (cursor := page.next) is None:
            break
        make_job(engine, dataset=dataset)
    assert seen == there[::-1]


def test_a_cursor_of_another_project_shows_only_ones_own(engine: Engine) -> None:
    theirs, mine = make_dataset(engine), make_dataset(engine)
    for _ in range(3):
        make_job(engine, dataset=theirs)
    own = make_job(engine, dataset=mine)
    for _ in range(3):
        make_job(engine, dataset=theirs)
    with unit_of_work(engine) as session:
        foreign = JobLedger(session).list(theirs.project_id, None, None, 2).next
        assert [job.id for job in JobLedger(session).list(mine.project_id, None, foreign).items] == [own.id]


JOB = "job_01k0000000000000000000000a"


def forged(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "🙂", "a" * 5000, "AAAA", "[" * 3000, *map(forged, ([], [1, 2], {"a": 1}, ["1", JOB],
     [10**30, JOB], [-(10**30), JOB], [1, "job_\x00"], [1, "ds_" + JOB[4:]], [1.5, JOB]))],
)  # fmt: skip
def test_a_forged_cursor_is_refused(engine: Engine, cursor: str) -> None:
    with pytest.raises(InvalidCursor), unit_of_work(engine) as session:
        JobLedger(session).list("prj_x", None, cursor)


@pytest.mark.parametrize("limit", [0, -1, 201, 10**9])
def test_a_page_has_bounds(engine: Engine, limit: int) -> None:
    with pytest.raises(InvalidLimit), unit_of_work(engine) as session:
        JobLedger(session).list("prj_x", None, None, limit)


def test_a_list_is_filtered(engine: Engine) -> None:
    dataset = make_dataset(engine)
    over = make_job(engine, dataset=dataset, status=Status.FAILED, alpha=20)
    running = make_job(engine, dataset=dataset, status=Status.RUNNING, alpha=0)
    five = make_job(engine, dataset=dataset, alpha=5, tags=["paper", "a'b%_"])
    other = make_job(engine, dataset=dataset, alpha=10, model="other/base")

    def found(**wanted: Any) -> set[str]:
        with unit_of_work(engine) as session:
            return {job.id for job in JobLedger(session).list(dataset.project_id, JobFilter(**wanted)).items}

    assert found(status=Status.RUNNING) == {running.id}
    assert found(model="other/base") == {other.id}
    assert found(ended=True) == {over.id}
    assert found(ended=False, alpha_max=5.0) == {running.id, five.id}
    assert found(alpha_min=5.0) == {five.id, other.id, over.id}
    assert found(alpha_min=0.0, alpha_max=5.0) == {running.id, five.id}
    assert found(tag="a'b%_") == {five.id}
    assert found(tag="pap") == set()


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (JobFilter(tag="rare"), "ix_jobs_tags"),
        (JobFilter(metadata={"suite": "rare"}), "ix_jobs_metadata"),
    ],
)
def test_what_hardly_any_job_has_is_found_by_its_index(engine: Engine, wanted: JobFilter, index: str) -> None:
    job = make_job(engine, tags=["rare"], metadata={"suite": "rare"})
    many = text(
        "INSERT INTO jobs (id, project_id, model, alpha, tags, spec, spec_sha256, dataset_id) "
        "SELECT 'job_' || n, project_id, model, alpha, ARRAY['many'], spec - 'metadata' - 'tags', "
        "spec_sha256, dataset_id "
        "FROM jobs, generate_series(1, 500) AS n"
    )
    with engine.begin() as connection:
        connection.execute(many)
        connection.execute(text("ANALYZE jobs"))
    plans: list[str] = []

    def explain(line: Connection, _cursor: object, statement: str, given: Any, *_: object) -> None:
        if statement.startswith("SELECT"):
            plans.append("\n".join(line.exec_driver_sql(f"EXPLAIN {statement}", given).scalars()))

    with unit_of_work(engine) as session:
        event.listen(engine, "before_cursor_execute", explain, once=True)
        assert [one.id for one in JobLedger(session).list(job.project_id, wanted).items] == [job.id]
    assert f"Bitmap Index Scan on {index}" in plans[0]


def test_the_position_in_the_queue_counts_who_goes_before(engine: Engine) -> None:
    dataset = make_dataset(engine)
    first, second = make_job(engine, dataset=dataset), make_job(engine, dataset=dataset)
    urgent = make_job(engine, dataset=dataset, resources={"priority": 1})
    with unit_of_work(engine) as session:
        ledger = JobLedger(session)
        assert [ledger.queue_position(job) for job in (urgent, first, second)] == [1, 2, 3]
    make_claim(engine)
    with unit_of_work(engine) as session:
        ledger = JobLedger(session)
        assert ledger.queue_position(ledger.get(urgent.project_id, urgent.id)) is None
        assert ledger.queue_position(second) == 2

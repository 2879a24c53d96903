"""What was evaluated of many jobs, asked for at once: in short, the latest, in one question."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from sqlalchemy import Engine, event

from neftune_core.evaluate.spec import EvaluationSpec
from neftune_store.db import unit_of_work
from neftune_store.job import Job
from neftune_store.jobs import JobLedger
from neftune_store.lifecycle import Status
from neftune_store.measured import MOST, Evaluations, headlines_of
from neftune_store.settling import settle_succeeded
from tests.core.report import made
from tests.factories import make_artifact, make_claim, make_job

FOUND = made.evaluation(loss=[made.loss("base"), made.loss("checkpoint")]).results.model_dump(mode="json")


def ask(engine: Engine, job: Job, name: str = "once") -> Job:
    """Have a job evaluated."""
    asked = EvaluationSpec.model_validate({"kinds": ["loss"], "checkpoint": "base", "name": name})
    with unit_of_work(engine) as session:
        return JobLedger(session).evaluate(job.project_id, job.id, asked)[0]


def evaluated(engine: Engine, job: Job, record: Mapping[str, Any]) -> Job:
    """An evaluation that has left this record."""
    evaluation, claim = ask(engine, job), make_claim(engine)
    with unit_of_work(engine) as session:
        settle_succeeded(session, claim, record, [make_artifact()])
    return evaluation


def told(engine: Engine, jobs: Sequence[Job]) -> tuple[dict[str, Evaluations], int]:
    """Give what is told, and in how many statements."""
    said: list[str] = []

    def note(*words: Any) -> None:
        said.append(words[2])

    with unit_of_work(engine) as session:
        session.connection()
        event.listen(engine, "before_cursor_execute", note)
        try:
            found = headlines_of(session, [job.id for job in jobs])
        finally:
            event.remove(engine, "before_cursor_execute", note)
    return found, len(said)


def test_an_evaluation_that_succeeded_has_figures_and_one_that_waits_has_none(engine: Engine) -> None:
    job = make_job(engine, status=Status.SUCCEEDED)
    done = evaluated(engine, job, FOUND)
    waiting = ask(engine, job, "again")
    latest = told(engine, [job])[0][job.id].latest
    assert [(one.id, one.name, one.status) for one in latest] == [
        (waiting.id, "again", "queued"),
        (done.id, "once", "succeeded"),
    ]
    assert [one.checkpoint for one in latest] == [{"of": "base", "step": 0}] * 2
    assert latest[0].headline is None
    assert latest[1].headline is not None
    assert [(one["measure"], one["of"], one["value"]) for one in latest[1].headline["figures"]] == [
        ("loss", "held_out", 3.25)
    ]


@pytest.mark.parametrize("record", [{}, {"spec": 5}, {"evaluation": True}])
def test_a_record_that_is_none_of_an_evaluation_has_no_headline(
    engine: Engine, record: dict[str, Any]
) -> None:
    job = make_job(engine, status=Status.SUCCEEDED)
    evaluated(engine, job, record)
    (one,) = told(engine, [job])[0][job.id].latest
    assert (one.status, one.headline) == ("succeeded", None)


def test_the_latest_are_told_with_how_many_there_are_and_deleted_ones_are_not(engine: Engine) -> None:
    job = make_job(engine, status=Status.SUCCEEDED)
    all_of_them = [evaluated(engine, job, FOUND) for _ in range(MOST + 2)]
    with unit_of_work(engine) as session:
        JobLedger(session).delete(job.project_id, all_of_them.pop().id)
    found = told(engine, [job])[0][job.id]
    assert found.total == MOST + 1
    assert [one.id for one in found.latest] == [one.id for one in all_of_them[::-1][:MOST]]


def test_many_jobs_are_told_in_one_question_and_each_has_its_own(engine: Engine) -> None:
    jobs = [make_job(engine, status=Status.SUCCEEDED) for _ in range(4)]
    of = {job.id: [evaluated(engine, job, FOUND).id for _ in range(2)] for job in jobs[:3]}
    found, questions = told(engine, jobs)
    assert questions == 1
    assert {job_id: [one.id for one in several.latest[::-1]] for job_id, several in found.items()} == of

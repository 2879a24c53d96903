"""Quotas: exact however many ask at once, and a share for everybody."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, event, text

from neftune_store.claims import Claim, claim_next
from neftune_store.datasets import DatasetLedger
from neftune_store.db import unit_of_work
from neftune_store.errors import ProjectExists, ProjectUnknown, QueueFull, QuotaExceeded
from neftune_store.ids import new_id
from neftune_store.jobs import JobLedger
from neftune_store.lifecycle import Status
from neftune_store.projects import ProjectLedger, Quotas
from neftune_store.queue import queue_of
from neftune_store.quotas import stored_bytes
from tests.factories import make_claim, make_dataset, make_job, make_project, make_spec, settle


def bound(engine: Engine, project_id: str, **quotas: int | None) -> None:
    with unit_of_work(engine) as session:
        ProjectLedger(session).change(project_id, None, quotas)


def claim_or_none(engine: Engine, worker: str = "w") -> Claim | None:
    with unit_of_work(engine) as session:
        return claim_next(session, worker, 60)


def asked_to_claim_nothing(engine: Engine) -> int:
    """Find nothing to claim; tell how often the table was asked."""
    asked: list[str] = []

    def listen(_line: object, _cursor: object, statement: str, *_rest: object) -> None:
        asked.append(statement)

    event.listen(engine, "before_cursor_execute", listen)
    try:
        assert claim_or_none(engine) is None
    finally:
        event.remove(engine, "before_cursor_execute", listen)
    return len([one for one in asked if "SKIP LOCKED" in one])


def test_a_quota_of_queued_jobs_goes_before_the_default(engine: Engine) -> None:
    dataset = make_dataset(engine)
    for quota, default in ((2, 100), (None, 2)):
        bound(engine, dataset.project_id, queued_jobs=quota)
        with unit_of_work(engine) as session:
            jobs = JobLedger(session, queue_limit=default)
            made = [jobs.submit(dataset.project_id, make_spec(dataset.id))[0] for _ in range(2)]
            with pytest.raises(QueueFull, match="2 queued"):
                jobs.submit(dataset.project_id, make_spec(dataset.id))
            for job in made:
                jobs.cancel(dataset.project_id, job.id)
    bound(engine, dataset.project_id, queued_jobs=0)
    with pytest.raises(QueueFull), unit_of_work(engine) as session:
        JobLedger(session).submit(dataset.project_id, make_spec(dataset.id))


def test_many_submits_at_once_do_not_go_over_the_quota(engine: Engine) -> None:
    dataset = make_dataset(engine)
    bound(engine, dataset.project_id, queued_jobs=5)
    barrier = threading.Barrier(16)

    def submit(_: int) -> bool:
        barrier.wait()
        try:
            with unit_of_work(engine) as session:
                JobLedger(session).submit(dataset.project_id, make_spec(dataset.id))
        except QueueFull:
            return False
        return True

    with ThreadPoolExecutor(16) as threads:
        assert sum(threads.map(submit, range(16))) == 5


def test_many_uploads_at_once_do_not_go_over_the_quota(engine: Engine) -> None:
    project = make_project(engine)
    bound(engine, project.id, stored_bytes=1000)
    barrier = threading.Barrier(16)

    def upload(_: int) -> bool:
        barrier.wait()
        try:
            make_dataset(engine, project.id, bytes=130)
        except QuotaExceeded:
            return False
        return True

    with ThreadPoolExecutor(16) as threads:
        assert sum(threads.map(upload, range(16))) == 7
    with unit_of_work(engine) as session:
        assert stored_bytes(session, project.id) == 910


def test_what_is_deleted_makes_room(engine: Engine) -> None:
    project = make_project(engine)
    bound(engine, project.id, stored_bytes=100)
    first = make_dataset(engine, project.id, bytes=100)
    with pytest.raises(QuotaExceeded, match="100 bytes and holds 100"):
        make_dataset(engine, project.id, bytes=1)
    make_dataset(engine, make_project(engine).id, bytes=10_000)  # others have room of their own
    with unit_of_work(engine) as session:
        DatasetLedger(session).delete(project.id, first.id)
    make_dataset(engine, project.id, bytes=100)


def test_results_are_stored_bytes_too_and_a_full_project_submits_nothing(engine: Engine) -> None:
    dataset = make_dataset(engine, bytes=100)
    job = make_job(engine, dataset=dataset)
    bound(engine, dataset.project_id, stored_bytes=102)
    # Given a run that ends over the quota: what it has made is kept
    settle(engine, make_claim(engine), Status.SUCCEEDED)
    with unit_of_work(engine) as session:
        assert stored_bytes(session, dataset.project_id) == 103
    with pytest.raises(QuotaExceeded), unit_of_work(engine) as session:
        JobLedger(session).submit(dataset.project_id, make_spec(dataset.id))
    # Deleting the job makes room
    with unit_of_work(engine) as session:
        JobLedger(session).delete(dataset.project_id, job.id)
        JobLedger(session).submit(dataset.project_id, make_spec(dataset.id))


def test_a_project_runs_no_more_than_it_may_and_others_go_on(engine: Engine) -> None:
    crowd, single = make_dataset(engine), make_dataset(engine)
    bound(engine, crowd.project_id, running_jobs=2)
    last = [make_job(engine, dataset=crowd) for _ in range(4)][-1]
    alone = make_job(engine, dataset=single)
    claims = [make_claim(engine) for _ in range(3)]
    assert Counter(claim.project_id for claim in claims) == {crowd.project_id: 2, single.project_id: 1}
    assert asked_to_claim_nothing(engine) == 1  # a project that is full is not even tried
    with unit_of_work(engine) as session:
        assert queue_of(session, crowd.project_id).running_limit == 2
        jobs = JobLedger(session)
        assert jobs.waiting(jobs.get(crowd.project_id, last.id)) == (2, 2)
        assert jobs.waiting(jobs.get(alone.project_id, alone.id)) == (None, None)
    # What ends makes room
    settle(engine, next(one for one in claims if one.project_id == crowd.project_id), Status.SUCCEEDED)
    assert make_claim(engine).project_id == crowd.project_id
    assert claim_or_none(engine) is None


def test_even_an_urgent_job_waits_for_its_project(engine: Engine) -> None:
    crowd, single = make_dataset(engine), make_dataset(engine)
    bound(engine, crowd.project_id, running_jobs=0)
    make_job(engine, dataset=crowd, resources={"priority": 100})
    alone = make_job(engine, dataset=single, resources={"priority": -100})
    assert make_claim(engine).job_id == alone.id
    assert claim_or_none(engine) is None


@pytest.mark.parametrize("turn", range(3))
def test_many_claimers_at_once_do_not_go_over_the_quota(engine: Engine, turn: int) -> None:
    # Given two projects that may run three and one, and many workers at one instant
    bounded, single, free = (make_dataset(engine) for _ in range(3))
    bound(engine, bounded.project_id, running_jobs=3)
    bound(engine, single.project_id, running_jobs=1)
    for dataset in (bounded, single, free):
        for _ in range(6):
            make_job(engine, dataset=dataset)
    barrier = threading.Barrier(12)

    def claim(number: int) -> Claim | None:
        with unit_of_work(engine) as session:
            session.execute(text("SELECT 1"))  # the connection is there before the race begins
            barrier.wait()
            return claim_next(session, f"w{number}", 60)

    with ThreadPoolExecutor(12) as threads:
        claims = [one for one in threads.map(claim, range(12)) if one is not None]
    # Then nobody goes over, and nobody comes away with nothing while there is something
    won = Counter(claim.project_id for claim in claims)
    assert won == {bounded.project_id: 3, single.project_id: 1, free.project_id: 6}


def test_a_claim_that_was_one_too_many_leaves_no_trace(engine: Engine) -> None:
    dataset = make_dataset(engine)
    bound(engine, dataset.project_id, running_jobs=1)
    first, second = make_job(engine, dataset=dataset), make_job(engine, dataset=dataset)
    began, claimed = threading.Event(), threading.Event()

    def slow() -> str:
        with unit_of_work(engine) as session:
            claim = claim_next(session, "slow", 60)
            began.set()
            # Committed only when the other one waits for the project, having counted nothing running
            waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                           " AND datname = current_database()")  # fmt: skip
            with engine.connect() as looking:
                while not looking.execute(waiting).scalar_one():
                    looking.rollback()
            claimed.set()
            assert claim is not None
            return claim.job_id

    def quick() -> Claim | None:
        began.wait()
        return claim_or_none(engine, "quick")

    with ThreadPoolExecutor(2) as threads:
        winner, loser = threads.submit(slow), threads.submit(quick)
        assert winner.result(20) == first.id
        assert loser.result(20) is None
    with unit_of_work(engine) as session:
        left = JobLedger(session).get(dataset.project_id, second.id)
    assert (left.status, left.attempt, left.fence, left.last_seq) == (Status.QUEUED, 0, 0, second.last_seq)


def test_a_project_with_a_hundred_queued_jobs_and_one_with_two_take_turns(engine: Engine) -> None:
    crowd, single = make_dataset(engine), make_dataset(engine)
    for _ in range(100):
        make_job(engine, dataset=crowd)
    for _ in range(2):
        make_job(engine, dataset=single)
    served = [make_claim(engine).project_id for _ in range(6)]
    assert served[:4] in (
        [crowd.project_id, single.project_id] * 2,
        [single.project_id, crowd.project_id] * 2,
    )
    assert served[4:] == [crowd.project_id] * 2


def test_quotas_are_changed_one_by_one(engine: Engine) -> None:
    project = make_project(engine)
    bound(engine, project.id, queued_jobs=5, stored_bytes=2**40)
    bound(engine, project.id, running_jobs=1)
    bound(engine, project.id, queued_jobs=None)
    with unit_of_work(engine) as session:
        assert ProjectLedger(session).get(project.id).quotas == Quotas(None, 1, 2**40)


def test_two_projects_never_share_a_name(engine: Engine) -> None:
    one, other = make_project(engine), make_project(engine)
    with pytest.raises(ProjectExists), unit_of_work(engine) as session:
        ProjectLedger(session).add(one.name, {})
    with pytest.raises(ProjectExists), unit_of_work(engine) as session:
        ProjectLedger(session).change(other.id, one.name, {})
    with pytest.raises(ProjectUnknown), unit_of_work(engine) as session:
        ProjectLedger(session).change(new_id("prj"), None, {"queued_jobs": 1})
    with pytest.raises(ProjectUnknown), unit_of_work(engine) as session:
        ProjectLedger(session).chosen("\x00")

"""Who is there: by the database's clock, and no more of it than each may know."""

from datetime import timedelta

import pytest
from sqlalchemy import Engine, text

from neftune_store.db import unit_of_work
from neftune_store.ids import new_id
from neftune_store.sealing import UNSEALED, Sealer
from neftune_store.workers import Gpu, Presence, Worker, WorkerLedger
from tests.factories import make_claim, make_job, make_project

A, B = Gpu("GPU-a", "A", 2, 1), Gpu("GPU-b", "B", 2, 1)


def here(name: str = "w1", kind: str = "train", **more: object) -> Presence:
    return Presence(new_id("wkr"), kind, name, "cpu", **more)  # type: ignore[arg-type]  # one of its words


def beat(engine: Engine, *who: Presence) -> None:
    for one in who:
        with unit_of_work(engine) as session:
            WorkerLedger(session).beat(one)


def listed(engine: Engine, project: str | None) -> list[Worker]:
    with unit_of_work(engine) as session:
        return list(WorkerLedger(session).list(project))


def age(engine: Engine, who: Presence, by: timedelta) -> None:
    with engine.begin() as connection:
        aged = text("UPDATE workers SET heartbeat_at = heartbeat_at - :by WHERE id = :id")
        connection.execute(aged, {"by": by, "id": who.id})


def test_one_that_beats_is_alive_and_one_that_is_silent_is_not(engine: Engine) -> None:
    live, silent = here("live"), here("silent")
    beat(engine, live, silent)
    age(engine, silent, timedelta(seconds=21))
    assert {one.name: one.alive for one in listed(engine, None)} == {"live": True, "silent": False}
    beat(engine, silent)
    assert all(one.alive for one in listed(engine, None))
    assert all(one.heartbeat_age < timedelta(seconds=5) for one in listed(engine, None))


def test_who_leaves_is_gone_and_takes_the_long_silent_along(engine: Engine) -> None:
    leaving, lost, there = here("leaving"), here("lost"), here("there")
    beat(engine, leaving, lost, there)
    age(engine, lost, timedelta(hours=2))
    with unit_of_work(engine) as session:
        WorkerLedger(session).leave(leaving.id)
    assert [one.name for one in listed(engine, None)] == ["there"]


def test_only_who_answers_and_lives_is_found_the_last_heard_first(engine: Engine) -> None:
    old, new, dead = (here(name, "generate", address=name, token=name) for name in ("old", "new", "dead"))
    beat(engine, here("trains"), dead, old, new)
    age(engine, old, timedelta(seconds=5))
    age(engine, dead, timedelta(seconds=21))
    with unit_of_work(engine) as session:
        found = WorkerLedger(session).answering()
    assert [(one.address, one.token) for one in found] == [("new", "new"), ("old", "old")]
    assert "new" not in repr(found[0]).replace("address='new'", "")  # a token is in no log


def test_a_token_is_sealed_where_there_is_a_key(engine: Engine) -> None:
    sealer, other = (Sealer([bytes([number]) * 32]) for number in (1, 2))
    with unit_of_work(engine) as session:
        before = here("before", "generate", address="before", token="kept-before")
        WorkerLedger(session).beat(before)  # when there was no key yet
        WorkerLedger(session, sealer).beat(here("now", "generate", address="now", token="kept-now"))
    with engine.connect() as line:
        assert "kept-now" not in str(line.execute(text("SELECT * FROM workers")).all())
    with unit_of_work(engine) as session:
        found = {
            which: {one.address: one.token for one in WorkerLedger(session, which).answering()}
            for which in (sealer, other, UNSEALED)
        }
    assert found[sealer] == {"before": "kept-before", "now": "kept-now"}
    assert found[other] == found[UNSEALED] == {"before": "kept-before"}  # others can not be asked


def test_a_worker_shows_a_project_its_own_job_alone(engine: Engine) -> None:
    mine, theirs = make_project(engine).id, make_project(engine).id
    job = make_job(engine, project_id=mine)
    make_claim(engine, worker="w1")
    beat(engine, here("w1"), here("w2"), here("w1", "generate"))
    assert [(one.name, one.kind, one.job_id) for one in listed(engine, mine)] == [
        ("w1", "train", job.id),
        ("w2", "train", None),
        ("w1", "generate", None),
    ]
    assert {one.job_id for one in listed(engine, theirs)} == {None}
    assert {one.job_id for one in listed(engine, None)} == {job.id, None}


@pytest.mark.parametrize(
    ("gpus", "uuids", "trains"),
    [("auto", ["GPU-a"], True), ("auto", ["GPU-b"], False), (0, ["GPU-a"], False)],
)
def test_a_gpu_is_taken_by_a_job_whose_worker_sees_it(
    engine: Engine, gpus: object, uuids: list[str], trains: bool
) -> None:
    make_job(engine, resources={"gpus": gpus})
    beat(engine, here("w1", gpus=(A,)), here("w2", gpus=(B,)))
    with unit_of_work(engine) as session:
        assert not WorkerLedger(session).trains_on(uuids)  # it only waits
    make_claim(engine, worker="w1")
    with unit_of_work(engine) as session:
        assert WorkerLedger(session).trains_on(uuids) == trains

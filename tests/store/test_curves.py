"""Curves and feeds: complete after a number, thin without losing a spike."""

import random

import pytest
from sqlalchemy import Engine

from neftune_store.claims import Claim
from neftune_store.db import unit_of_work
from neftune_store.events import SEQ_MAX, events_after, feed_after
from neftune_store.metrics import MOST_TIMES, metrics_after, series, times
from neftune_store.runs import add_event, write_metrics
from tests.factories import make_claim, make_job


@pytest.fixture
def claim(engine: Engine) -> Claim:
    make_job(engine)
    return make_claim(engine)


def curve(engine: Engine, claim: Claim, **wanted: int) -> dict[str, list[tuple[int, float]]]:
    with unit_of_work(engine) as session:
        return series(session, claim.project_id, claim.job_id, **wanted)  # type: ignore[arg-type]  # by name


def test_a_short_curve_comes_whole(engine: Engine, claim: Claim) -> None:
    with unit_of_work(engine) as session:
        write_metrics(
            session,
            claim,
            [(0, {"eval_loss": 3.0}), (1, {"train_loss": 2.5}), (2, {"train_loss": None, "eval_loss": 2.0})],
        )
    assert curve(engine, claim) == {"train_loss": [(1, 2.5)], "eval_loss": [(0, 3.0), (2, 2.0)]}
    assert curve(engine, claim, since_step=1) == {"train_loss": [(1, 2.5)], "eval_loss": [(2, 2.0)]}
    assert curve(engine, claim, since_step=3) == {}
    with unit_of_work(engine) as session:
        one = series(session, claim.project_id, claim.job_id, ["eval_loss", "no\x00ne", "nothing"])
    assert one == {"eval_loss": [(0, 3.0), (2, 2.0)]}


def test_a_long_curve_keeps_its_spikes(engine: Engine, claim: Claim) -> None:
    numbers = random.Random(7)
    rows = [
        (step, {"train_loss": numbers.random(), "eval_loss": 1.0 if step % 500 == 0 else None})
        for step in range(4000)
    ]
    rows[1234] = (1234, {"train_loss": 99.0})
    rows[2345] = (2345, {"train_loss": -99.0})
    with unit_of_work(engine) as session:
        write_metrics(session, claim, rows)
    thin = curve(engine, claim, max_points=100)
    assert len(thin["train_loss"]) <= 100
    assert {(1234, 99.0), (2345, -99.0)} <= set(thin["train_loss"])
    assert [step for step, _ in thin["train_loss"]] == sorted(step for step, _ in thin["train_loss"])
    assert [step for step, _ in thin["eval_loss"]] == list(range(0, 4000, 500))


@pytest.mark.parametrize("most", [40, 10_000])
def test_a_part_of_a_curve_is_that_part_of_it_however_thin(engine: Engine, claim: Claim, most: int) -> None:
    rows = [(step, {"train_loss": float(step % 97)}) for step in range(1, 30_001)]
    with unit_of_work(engine) as session:
        for first in range(0, len(rows), 5000):
            write_metrics(session, claim, rows[first : first + 5000])
    for since, until in [(0, 0), (1, 1), (700, 1234), (130, 29_950), (29_990, 40_000)]:
        part = curve(engine, claim, since_step=since, until_step=until, max_points=most).get("train_loss", [])
        inside = [step for step, _ in part]
        assert all(since <= step <= until and value == step % 97 for step, value in part)
        held = min(until, 30_000) - max(since, 1) + 1
        assert len(part) == held if held <= most else 0 < len(part) <= most
        if held > 97:  # the ends of its range are told, so nothing of it is left out
            assert {0.0, 96.0} <= {value for _, value in part}
            assert inside[0] - since <= held / most * 4
            assert until - inside[-1] <= held / most * 4 or until > 30_000


def test_steps_tell_when_they_were(engine: Engine, claim: Claim) -> None:
    with unit_of_work(engine) as session:
        write_metrics(session, claim, [(step, {"train_loss": 1.0}) for step in range(0, 3000, 3)])
    with unit_of_work(engine) as session:
        write_metrics(session, claim, [(3000, {"train_loss": 1.0})])
        told = times(session, claim.project_id, claim.job_id)
        some = times(session, claim.project_id, claim.job_id, 31, 60)
        assert times(session, claim.project_id, claim.job_id, 3001) == []
    assert [told[0][0], told[-1][0]] == [0, 3000]
    assert len(told) <= MOST_TIMES
    assert told[0][1] < told[-1][1]
    assert [step for step, _ in some] == list(range(33, 61, 3))


def test_after_a_number_comes_everything_in_order(engine: Engine, claim: Claim) -> None:
    with unit_of_work(engine) as session:
        write_metrics(session, claim, [(1, {"x": 1.0}), (2, {"x": 2.0})])
        add_event(session, claim, "run.planned", {"total_steps": 2})
        write_metrics(session, claim, [(1, {"x": 1.5})])
    with unit_of_work(engine) as session:
        feed = feed_after(session, claim.job_id, 0)
        assert [item.seq for item in feed] == [1, 2, 3, 4, 6, 7, 8]  # step 1 was written again: 5 became 8
        assert [item.kind for item in feed] == [
            "event", "status", "event", "status", "metric", "event", "metric"
        ]  # fmt: skip
        assert feed[3].data == {"status": "running", "intent": "run", "attempt": 1, "error": None}
        assert feed[5].data == {"name": "run.planned", "data": {"total_steps": 2}}
        assert feed[6].data == {"step": 1, "values": {"x": 1.5}}
        assert feed_after(session, claim.job_id, 6) == feed[5:]
        assert [m.step for m in metrics_after(session, claim.project_id, claim.job_id, 6)] == [1]
        assert [e.seq for e in events_after(session, claim.project_id, claim.job_id, 1, 1)] == [3]


@pytest.mark.parametrize("seq", [SEQ_MAX, 10**30])
def test_a_number_from_the_future_gives_nothing(engine: Engine, claim: Claim, seq: int) -> None:
    with unit_of_work(engine) as session:
        assert feed_after(session, claim.job_id, seq) == []
        assert events_after(session, claim.project_id, claim.job_id, seq) == []
        assert metrics_after(session, claim.project_id, claim.job_id, seq) == []
        assert len(feed_after(session, claim.job_id, -(10**30))) == 4

"""The pyramid over curves: what it gives is what the rows would give, whatever happened to them."""

import random
from collections.abc import Mapping, Sequence

import pytest
from sqlalchemy import Engine, event, text

from neftune_store import buckets, spans
from neftune_store.buckets import Cut, cut_of, thinned
from neftune_store.claims import Claim, claim_next
from neftune_store.db import unit_of_work
from neftune_store.jobs import JobLedger
from neftune_store.lifecycle import Status
from neftune_store.metrics import series
from neftune_store.reconcile import reconcile_once
from neftune_store.runs import commit_checkpoint, write_metrics
from tests.factories import end_rest, expire_lease, make_claim, make_job, settle

Curves = dict[str, list[tuple[int, float]]]


@pytest.fixture
def claim(engine: Engine) -> Claim:
    make_job(engine)
    return make_claim(engine)


@pytest.fixture
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Curves of some hundred steps count as long ones."""
    monkeypatch.setattr(buckets, "FINE", 8)


def write(engine: Engine, claim: Claim, steps: Sequence[int], by: int = 50, seed: int = 0) -> None:
    """Numbers by chance at these steps, some keys not at each."""
    for start in range(0, len(steps), by):
        rows = [(step, numbers(step, seed)) for step in steps[start : start + by]]
        with unit_of_work(engine) as session:
            write_metrics(session, claim, rows)


def numbers(step: int, seed: int) -> Mapping[str, float | None]:
    chance = random.Random(step * 7919 + seed)
    told: dict[str, float | None] = {"train_loss": round(chance.random(), 2), "lr": 1 / (step + 1)}
    if step % 100 == 0:
        told["eval_loss"] = chance.random()
    if step < 20:
        told["noise_ratio"] = chance.random()
    if step % 7 == 0:
        told["odd"] = None
    return told


def read(
    engine: Engine, claim: Claim, keys: list[str] | None = None, since: int = 0, most: int = 40
) -> Curves:
    with unit_of_work(engine) as session:
        return series(session, claim.project_id, claim.job_id, keys, since, most)


def rows_of(engine: Engine, claim: Claim) -> Curves:
    """Each point, from the rows."""
    with unit_of_work(engine) as session:
        found = session.execute(
            text("SELECT step, numbers FROM metrics WHERE job_id = :job ORDER BY step"), {"job": claim.job_id}
        )
        curves: Curves = {}
        for step, values in found:
            for key, value in values.items():
                if value is not None:
                    curves.setdefault(key, []).append((step, value))
    return curves


def expected(engine: Engine, claim: Claim, since: int, most: int) -> Curves:
    """What a reader of all rows would make of them, by the cut that is used."""
    whole = {key: [point for point in found if point[0] >= since]
             for key, found in rows_of(engine, claim).items()}  # fmt: skip
    steps = [step for found in whole.values() for step, _ in found]
    until = (max(steps) + 1) // spans.NARROWEST * spans.NARROWEST
    cut = cut_of(min(steps), max(steps), until, most)
    assert cut is not None, "the curve is too short for what is tested"
    curves: Curves = {}
    for key, found in whole.items():
        if not found:
            continue
        pieces: dict[int, Curves] = {}
        for step, value in found:
            pieces.setdefault(cut.bucket(step), {}).setdefault("all", []).append((step, value))
        kept = {min(one["all"], key=lambda p: (p[1], p[0])) for one in pieces.values()}
        kept |= {min(one["all"], key=lambda p: (-p[1], p[0])) for one in pieces.values()}
        curves[key] = found if len(found) <= most else sorted(kept)
    return curves


def span_rows_read(engine: Engine, claim: Claim, most: int = 40) -> int:
    """How many metric rows a reading of the curve asks for; the rest came from spans."""
    asked: list[Mapping[str, int]] = []

    def listen(_line: object, _cursor: object, statement: str, given: Mapping[str, int], *_: object) -> None:
        if "UNION ALL" in statement and "metric_spans" in statement:
            asked.append(given)

    event.listen(engine, "before_cursor_execute", listen)
    try:
        read(engine, claim, most=most)
    finally:
        event.remove(engine, "before_cursor_execute", listen)
    [one] = asked
    return max(0, one["begin"] - one["first"]) + one["last"] + 1 - one["end"]


@pytest.mark.parametrize(("since", "most"), [(0, 40), (0, 16), (0, 2), (131, 30), (517, 20), (64, 8)])
def test_a_long_curve_comes_from_spans_as_it_would_from_rows(
    engine: Engine, claim: Claim, coarse: None, since: int, most: int
) -> None:
    write(engine, claim, range(1500))
    found = read(engine, claim, since=since, most=most)
    assert found == expected(engine, claim, since, most)
    assert all(len(curve) <= most for curve in found.values())
    assert read(engine, claim, ["lr"], since, most) == {"lr": found["lr"]}


def test_few_points_close_together_come_whole(engine: Engine, claim: Claim, coarse: None) -> None:
    write(engine, claim, range(1500))
    assert read(engine, claim)["noise_ratio"] == rows_of(engine, claim)["noise_ratio"]
    assert len(read(engine, claim)["noise_ratio"]) == 20


def test_all_but_the_ends_is_read_from_spans(engine: Engine, claim: Claim, coarse: None) -> None:
    write(engine, claim, range(1500))
    assert span_rows_read(engine, claim) <= 256


def test_steps_that_run_again_replace_what_was_kept_of_them(
    engine: Engine, claim: Claim, coarse: None
) -> None:
    # Given a run that was saved at step 700 and lost at step 1400
    write(engine, claim, range(701))
    with unit_of_work(engine) as session:
        commit_checkpoint(session, claim, 700)
    write(engine, claim, range(701, 1400))
    expire_lease(engine, claim.job_id)
    with unit_of_work(engine) as session:
        reconcile_once(session)
    end_rest(engine, claim.job_id)
    # When it goes on, with other numbers
    with unit_of_work(engine) as session:
        again = claim_next(session, "another", 60)
    assert again is not None
    assert read(engine, again)["train_loss"][-1][0] <= 700
    write(engine, again, range(701, 1100), seed=1)
    assert read(engine, again) == expected(engine, again, 0, 40)
    write(engine, again, range(1100, 1600), seed=1)
    # Then nothing is left of the old ones
    assert read(engine, again) == expected(engine, again, 0, 40)
    assert span_rows_read(engine, again) <= 256


def test_a_retry_takes_the_spans_up_to_where_it_goes_on(engine: Engine, claim: Claim, coarse: None) -> None:
    # Given a job that was saved at step 1400 and cancelled later
    write(engine, claim, range(1401))
    with unit_of_work(engine) as session:
        commit_checkpoint(session, claim, 1400)
    write(engine, claim, range(1401, 1500))
    settle(engine, claim, Status.CANCELLED)
    # When it is retried and goes on with other numbers
    with unit_of_work(engine) as session:
        JobLedger(session).retry(claim.project_id, claim.job_id)
    again = make_claim(engine)
    with engine.connect() as line:
        ends = "SELECT max((span + 1) * width) FROM metric_spans WHERE job_id = :job"
        assert line.scalar(text(ends), {"job": again.job_id}) == 1344
    assert span_rows_read(engine, again) <= 256
    assert read(engine, again) == expected(engine, again, 0, 40)
    write(engine, again, range(1401, 1700), seed=2)
    # Then its curve is its own
    assert read(engine, again) == expected(engine, again, 0, 40)


def test_a_step_that_is_sent_again_later_is_seen(engine: Engine, claim: Claim, coarse: None) -> None:
    write(engine, claim, range(1500))
    with unit_of_work(engine) as session:
        write_metrics(session, claim, [(321, {"train_loss": 99.0, "lr": -99.0})])
    write(engine, claim, range(1500, 1520))
    found = read(engine, claim)
    assert (321, 99.0) in found["train_loss"]
    assert (321, -99.0) in found["lr"]
    assert found == expected(engine, claim, 0, 40)


def test_a_curve_from_before_there_were_spans_is_caught_up_with(
    engine: Engine, claim: Claim, coarse: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given rows without spans, as an older version leaves them
    with monkeypatch.context() as older:
        older.setattr("neftune_store.runs.extend", lambda *_: 0)
        write(engine, claim, range(1500))
    monkeypatch.setattr(spans, "_AT_ONCE", 512)
    # When this one goes on, then each write catches up with some more, and the curve is right all along
    for step in range(1500, 1505):
        write(engine, claim, [step])
        if step < 1502:
            assert span_rows_read(engine, claim) > 400
        assert read(engine, claim) == expected(engine, claim, 0, 40)
    assert span_rows_read(engine, claim) <= 256


def test_no_span_is_written_before_it_is_over(engine: Engine, claim: Claim) -> None:
    write(engine, claim, range(200), by=200)
    with engine.connect() as line:
        ends = text("SELECT max((span + 1) * width) FROM metric_spans WHERE job_id = :job")
        assert line.scalar(ends, {"job": claim.job_id}) == 192


def test_most_writes_build_nothing(engine: Engine, claim: Claim) -> None:
    write(engine, claim, range(600))
    asked: list[str] = []

    def listen(_line: object, _cursor: object, statement: str, *_: object) -> None:
        asked.append(statement)

    event.listen(engine, "before_cursor_execute", listen)
    try:
        write(engine, claim, range(600, 630), by=10)
    finally:
        event.remove(engine, "before_cursor_execute", listen)
    assert not [one for one in asked if "metric_spans" in one]


def test_of_equal_values_the_earlier_is_kept() -> None:
    pieces = [
        (0, 1.0, 5, 2.0, 9, 64),
        *((0, value, step, value, step, 1) for step in (3, 6, 60) for value in (1.0, 2.0)),
    ]
    assert thinned(Cut(0, 999, 64, 0, 4, 1), pieces, 2) == [(3, 1.0), (3, 2.0)]
    assert thinned(Cut(0, 999, 64, 0, 4, 1), pieces[::-1], 2) == [(3, 1.0), (3, 2.0)]

"""The table of moves, held by the database itself: hand-made SQL is refused like anything else."""

import re
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from neftune_store.lifecycle import INTENT_MOVES, MOVES, TERMINAL, Intent, Status
from tests.factories import make_claim, make_job

PAIRS = [(a, b) for a in Status for b in Status if a != b]
LEGAL = [(a, b) for a, b in PAIRS if b in MOVES[a]]
ILLEGAL = [(a, b) for a, b in PAIRS if b not in MOVES[a]]

# What a legal move by hand has to say besides the status.
DRESS = {
    Status.QUEUED: "intent = 'run', lease_owner = NULL, lease_expires_at = NULL",
    Status.RUNNING: "fence = fence + 1, attempt = attempt + 1, lease_owner = 'me',"
    " lease_expires_at = clock_timestamp() + interval '1 minute'",
    Status.PAUSED: "intent = 'pause', lease_owner = NULL, lease_expires_at = NULL",
    Status.SUCCEEDED: "result_id = 'res_1', finished_at = now(), lease_owner = NULL, lease_expires_at = NULL",
    Status.FAILED: "error_code = 'x', crashes = 3, finished_at = now(), lease_owner = NULL,"
    " lease_expires_at = NULL",
    Status.CANCELLED: "intent = 'cancel', finished_at = now(), lease_owner = NULL, lease_expires_at = NULL",
}


def by_hand(connection: Connection, job_id: str, sets: str, **values: Any) -> None:
    connection.execute(text(f"UPDATE jobs SET {sets} WHERE id = :id"), {"id": job_id, **values})


def move(engine: Engine, job_id: str, to: Status, dress: str | None = None) -> None:
    with engine.begin() as connection:
        if to == Status.SUCCEEDED:
            connection.execute(
                text(
                    "INSERT INTO results (id, job_id, fence, record)"
                    " SELECT 'res_1', id, fence, '{}' FROM jobs WHERE id = :id ON CONFLICT DO NOTHING"
                ),
                {"id": job_id},
            )
        by_hand(connection, job_id, f"status = '{to}', {DRESS[to] if dress is None else dress}")


def refusal(engine: Engine, job_id: str, sets: str) -> str:
    """The SQLSTATE with which the database refuses; the row must not have changed."""
    with engine.connect() as connection:
        before = connection.execute(text("SELECT * FROM jobs WHERE id = :id"), {"id": job_id}).one()
        connection.rollback()
        with pytest.raises(DBAPIError) as refused, connection.begin():
            by_hand(connection, job_id, sets)
        connection.rollback()
        assert connection.execute(text("SELECT * FROM jobs WHERE id = :id"), {"id": job_id}).one() == before
    assert isinstance(refused.value.orig, psycopg.Error)
    return refused.value.orig.sqlstate or ""


@pytest.mark.parametrize(("here", "there"), LEGAL, ids=lambda s: s.value)
def test_a_legal_move_by_hand_passes(engine: Engine, here: Status, there: Status) -> None:
    job = make_job(engine, status=here)
    move(engine, job.id, there)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT status FROM jobs WHERE id = :id"), {"id": job.id}) == there


@pytest.mark.parametrize(("here", "there"), ILLEGAL, ids=lambda s: s.value)
def test_a_forbidden_move_by_hand_is_refused(engine: Engine, here: Status, there: Status) -> None:
    job = make_job(engine, status=here)
    # In any dress: bare, or with everything the new status needs.
    for sets in (f"status = '{there}'", f"status = '{there}', {DRESS[there]}"):
        assert re.fullmatch("JB00[358]|JB010", refusal(engine, job.id, sets))


ENDED = "finished_at = now(), lease_owner = NULL, lease_expires_at = NULL"
FREE = "lease_owner = NULL, lease_expires_at = NULL"
CLAIMED = "lease_owner = 'me', lease_expires_at = clock_timestamp() + interval '1 minute'"
CONDITIONS = [
    # the claim
    (Status.QUEUED, f"status = 'running', attempt = 1, {CLAIMED}", "JB005"),
    (Status.QUEUED, f"status = 'running', attempt = 1, fence = 2, {CLAIMED}", "JB005"),
    (Status.QUEUED, f"status = 'running', fence = 1, {CLAIMED}", "JB005"),
    (Status.QUEUED, f"status = 'running', fence = 1, attempt = 1, intent = 'cancel', {CLAIMED}", None),
    (Status.QUEUED, "status = 'running', fence = 1, attempt = 1, lease_owner = 'me',"
     " lease_expires_at = clock_timestamp()", "JB011"),
    (Status.QUEUED, "status = 'running', fence = 1, attempt = 1", "JB011"),
    # without a runner
    (Status.QUEUED, "status = 'paused'", "JB010"),
    (Status.QUEUED, "status = 'cancelled', finished_at = now()", "JB010"),
    (Status.QUEUED, "status = 'cancelled', intent = 'cancel'", "23514"),
    (Status.QUEUED, "status = 'failed', error_code = 'x', finished_at = now()", "JB013"),
    (Status.QUEUED, "status = 'failed', crashes = 3, finished_at = now()", "23514"),
    (Status.QUEUED, "intent = 'pause'", "JB010"),
    (Status.QUEUED, "intent = 'cancel'", "JB010"),
    (Status.QUEUED, "fence = 1", "JB005"),
    (Status.QUEUED, "committed_step = 5", "JB006"),
    (Status.QUEUED, "deleted_at = now()", "JB001"),
    (Status.PAUSED, "status = 'queued'", "JB010"),
    (Status.PAUSED, "intent = 'run'", "JB010"),
    # while it runs
    (Status.RUNNING, f"status = 'queued', intent = 'pause', {FREE}", "JB010"),
    (Status.RUNNING, "status = 'queued'", "23514"),
    (Status.RUNNING, f"status = 'paused', {FREE}", "JB010"),
    (Status.RUNNING, f"status = 'cancelled', {ENDED}", "JB010"),
    (Status.RUNNING, f"status = 'failed', {ENDED}", "23514"),
    (Status.RUNNING, f"status = 'failed', error_code = 'x', {FREE}", "23514"),
    (Status.RUNNING, f"status = 'succeeded', {ENDED}", "JB012"),
    (Status.RUNNING, "lease_owner = 'thief'", "JB007"),
    (Status.RUNNING, "lease_owner = NULL, lease_expires_at = NULL", "JB007"),
    (Status.RUNNING, "lease_expires_at = NULL", "23514"),
    (Status.RUNNING, "fence = 0", "JB005"),
    (Status.RUNNING, "fence = 2", "JB005"),
    (Status.RUNNING, "attempt = 2", "JB005"),
    (Status.RUNNING, "committed_step = -1", "JB006"),
    (Status.RUNNING, "last_seq = 0", "JB006"),
    (Status.RUNNING, "error_code = 'x'", "23514"),
    (Status.RUNNING, "deleted_at = now()", "JB001"),
    (Status.RUNNING, "intent = 'sleep'", "23514"),
    (Status.RUNNING, "status = 'sleeping'", "JB008"),
]  # fmt: skip


@pytest.mark.parametrize(("here", "sets", "state"), CONDITIONS)
def test_a_move_without_its_condition_is_refused(
    engine: Engine, here: Status, sets: str, state: str | None
) -> None:
    job = make_job(engine, status=here)
    refused = refusal(engine, job.id, sets)
    assert refused == state if state else refused.startswith("JB") or refused == "23514"


def test_a_claim_needs_the_intent_to_run(engine: Engine) -> None:
    # The trigger keeps such a row from existing; it is switched off to make one.
    job = make_job(engine)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE jobs DISABLE TRIGGER jobs_guard"))
        by_hand(connection, job.id, "intent = 'cancel'")
        connection.execute(text("ALTER TABLE jobs ENABLE TRIGGER jobs_guard"))
    assert refusal(engine, job.id, f"status = 'running', fence = 1, attempt = 1, {CLAIMED}") == "JB010"


def test_a_resting_job_cannot_be_claimed_early(engine: Engine) -> None:
    job = make_job(engine)
    with engine.begin() as connection:
        by_hand(connection, job.id, "run_after = clock_timestamp() + interval '1 minute'")
    sets = f"status = 'running', fence = 1, attempt = 1, run_after = NULL, {CLAIMED}"
    assert refusal(engine, job.id, sets) == "JB011"


def test_success_needs_the_intent_to_run(engine: Engine) -> None:
    job = make_job(engine, status=Status.RUNNING)
    with engine.begin() as connection:
        by_hand(connection, job.id, "intent = 'cancel'")
        connection.execute(
            text("INSERT INTO results (id, job_id, fence, record) VALUES ('res_1', :id, 1, '{}')"),
            {"id": job.id},
        )
    assert refusal(engine, job.id, f"status = 'succeeded', result_id = 'res_1', {ENDED}") == "JB010"


def test_success_needs_a_living_lease(engine: Engine) -> None:
    job = make_job(engine, status=Status.RUNNING)
    with engine.begin() as connection:
        by_hand(connection, job.id, "lease_expires_at = clock_timestamp() - interval '1 second'")
        connection.execute(
            text("INSERT INTO results (id, job_id, fence, record) VALUES ('res_1', :id, 1, '{}')"),
            {"id": job.id},
        )
    assert refusal(engine, job.id, f"status = 'succeeded', result_id = 'res_1', {ENDED}") == "JB012"


def test_success_needs_the_result_of_this_very_run(engine: Engine) -> None:
    job = make_job(engine, status=Status.RUNNING)
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO results (id, job_id, fence, record) VALUES ('res_old', :id, 0, '{}')"),
            {"id": job.id},
        )
    assert refusal(engine, job.id, f"status = 'succeeded', result_id = 'res_old', {ENDED}") == "JB012"


@pytest.mark.parametrize("here", Intent)
@pytest.mark.parametrize("there", Intent)
def test_intents_move_as_the_table_says(engine: Engine, here: Intent, there: Intent) -> None:
    job = make_job(engine, status=Status.RUNNING)
    with engine.begin() as connection:
        by_hand(connection, job.id, f"intent = '{here}'")
    if there == here or there in INTENT_MOVES[here]:
        with engine.begin() as connection:
            by_hand(connection, job.id, f"intent = '{there}'")
    else:
        assert refusal(engine, job.id, f"intent = '{there}'") == "JB009"


SPEC_COLUMNS = {
    "id": "'job_x'", "project_id": "'prj_x'", "kind": "'export'", "name": "'new'", "model": "'other/base'",
    "alpha": "7", "tags": "'{a}'", "priority": "9", "spec": "'{}'", "spec_sha256": "'x'",
    "dataset_id": "'ds_x'", "validation_dataset_id": "'ds_x'", "retry_of": "'job_x'", "clone_of": "'job_x'",
    "created_at": "now() - interval '1 day'",
}  # fmt: skip


@pytest.mark.parametrize("column", SPEC_COLUMNS)
@pytest.mark.parametrize("status", [Status.QUEUED, Status.RUNNING, Status.PAUSED])
def test_what_was_asked_never_changes(engine: Engine, status: Status, column: str) -> None:
    job = make_job(engine, status=status)
    assert refusal(engine, job.id, f"{column} = {SPEC_COLUMNS[column]}") == "JB004"


@pytest.mark.parametrize("status", sorted(TERMINAL))
@pytest.mark.parametrize(
    "sets", ["error_message = 'rewritten'", "intent = 'pause'", "fence = fence + 1", "progress = '{}'",
             "last_seq = last_seq + 1", "finished_at = now()", "committed_step = 9"]
)  # fmt: skip
def test_an_ended_job_never_changes(engine: Engine, status: Status, sets: str) -> None:
    job = make_job(engine, status=status)
    assert refusal(engine, job.id, sets) == "JB003"


@pytest.mark.parametrize("status", sorted(TERMINAL))
def test_an_ended_job_may_be_marked_as_deleted(engine: Engine, status: Status) -> None:
    job = make_job(engine, status=status)
    with engine.begin() as connection:
        by_hand(connection, job.id, "deleted_at = now()")


@pytest.mark.parametrize(
    ("column", "value"),
    [("status", "running"), ("status", "succeeded"), ("intent", "cancel"), ("fence", 3), ("attempt", 1),
     ("committed_step", 4), ("crashes", 1)],
)  # fmt: skip
def test_a_job_begins_at_the_beginning(engine: Engine, column: str, value: Any) -> None:
    job = make_job(engine)
    columns = "project_id, model, alpha, tags, spec, spec_sha256, dataset_id"
    statement = f"INSERT INTO jobs (id, {columns}, {column}) SELECT 'job_new', {columns}, :value FROM jobs"
    with pytest.raises(DBAPIError) as refused, engine.begin() as connection:
        connection.execute(text(statement), {"value": value})
    assert isinstance(refused.value.orig, psycopg.Error)
    assert refused.value.orig.sqlstate == "JB002"
    assert job.fence == 0


@pytest.mark.parametrize("status", [Status.QUEUED, Status.RUNNING, Status.PAUSED])
def test_an_unfinished_job_cannot_be_removed(engine: Engine, status: Status) -> None:
    job = make_job(engine, status=status)
    with pytest.raises(DBAPIError) as refused, engine.begin() as connection:
        connection.execute(text("DELETE FROM jobs WHERE id = :id"), {"id": job.id})
    assert isinstance(refused.value.orig, psycopg.Error)
    assert refused.value.orig.sqlstate == "JB001"


def test_a_job_has_one_terminal_event(engine: Engine) -> None:
    job = make_job(engine, status=Status.SUCCEEDED)
    for name in ("job.failed", "job.succeeded", "job.cancelled"):
        with pytest.raises(DBAPIError, match="uq_events_terminal"), engine.begin() as connection:
            connection.execute(
                text("INSERT INTO events (job_id, seq, name, data, fence) VALUES (:id, 99, :name, '{}', 1)"),
                {"id": job.id, "name": name},
            )


def test_a_dataset_is_sealed(engine: Engine) -> None:
    job = make_job(engine)
    for sets in ("sha256 = repeat('0', 64)", "rows = 9", "blob_key = 'elsewhere'", "project_id = 'prj_x'"):
        with pytest.raises(DBAPIError, match="sealed"), engine.begin() as connection:
            connection.execute(text(f"UPDATE datasets SET {sets} WHERE id = :id"), {"id": job.dataset_id})


def test_a_claim_raises_the_fence_by_one(engine: Engine) -> None:
    make_job(engine)
    assert make_claim(engine).fence == 1


def test_the_changed_guard_still_names_the_moves_it_refuses(engine) -> None:
    with engine.connect() as connection:
        told = connection.exec_driver_sql("SELECT pg_get_functiondef('jobs_guard'::regproc)").scalar_one()
    assert "cannot move from % to %'" in told

"""Engine, unit of work and migrations on real servers."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import IntegrityError

from neftune_store.db import MIGRATIONS, is_unavailable, make_engine, migrate, unit_of_work
from neftune_store.errors import DatabaseUnavailable, InvalidMove
from neftune_store.lifecycle import Status
from neftune_store.models import Base
from tests.conftest import create_database, database_named, drop_database
from tests.factories import make_job

CATALOG = {
    "columns": "SELECT table_name, column_name, data_type, is_nullable, column_default FROM"
    " information_schema.columns WHERE table_schema = 'public'",
    "constraints": "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
    " WHERE connamespace = 'public'::regnamespace AND contype <> 'n'",  # Postgres 18 lists NOT NULL too
    "indexes": "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "options": "SELECT relname, reloptions::text FROM pg_class"
    " WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'",
}
LEFT_OVER = "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace"


@pytest.fixture
def empty_database(postgres_url: str) -> Iterator[str]:
    name = f"neftune_empty_{time.time_ns()}"
    create_database(postgres_url, name)
    yield database_named(postgres_url, name)
    drop_database(postgres_url, name)


@pytest.fixture
def bare(empty_database: str) -> Iterator[Engine]:
    made = make_engine(empty_database)
    yield made
    made.dispose()


def catalog(connection: Connection) -> dict[str, set[tuple[object, ...]]]:
    return {
        what: {tuple(row) for row in connection.execute(text(query)) if "alembic_version" not in str(row)}
        for what, query in CATALOG.items()
    }


def test_the_migrations_make_what_the_models_say(empty_database: str, bare: Engine) -> None:
    migrate(empty_database)
    with bare.begin() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
        migrated = catalog(connection)
    migrate(empty_database, to="base")
    with bare.begin() as connection:
        Base.metadata.create_all(connection)
        assert catalog(connection) == migrated


def test_down_leaves_nothing_and_up_works_again(empty_database: str, bare: Engine) -> None:
    migrate(empty_database)
    migrate(empty_database, to="base")
    with bare.connect() as connection:
        assert not any(catalog(connection).values())
        assert connection.execute(text(LEFT_OVER)).all() == []
    migrate(empty_database)
    make_job(bare, status=Status.SUCCEEDED)


def test_several_processes_may_migrate_at_once(empty_database: str) -> None:
    program = f"from neftune_store.db import migrate; migrate({empty_database!r})"
    begun = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(3)]
    assert [process.wait(60) for process in begun] == [0, 0, 0]


def test_every_migration_gives_up_waiting_for_a_lock() -> None:
    files = [*(MIGRATIONS / "versions").glob("*.py"), MIGRATIONS / "script.py.mako"]
    assert len(files) > 1
    for file in files:
        assert file.read_text().count("SET LOCAL lock_timeout") == 2, file
        assert file.name == "script.py.mako" or re.match(r"20\d\d-\d\d-\d\d-\d{4}_[a-z_]+\.py$", file.name)


def test_every_constraint_has_a_name_by_convention(engine: Engine) -> None:
    with engine.connect() as connection:
        for table, name, _ in catalog(connection)["constraints"]:
            assert re.match(rf"(pk|fk|uq|ck)_{table}", str(name)), name


def test_a_unit_of_work_is_all_or_nothing(engine: Engine) -> None:
    with pytest.raises(ZeroDivisionError), unit_of_work(engine) as session:
        _ = session.execute(text("INSERT INTO projects (id, name) VALUES ('prj_1', 'one')")) and 1 / 0
    with unit_of_work(engine) as session:
        assert session.scalar(text("SELECT count(*) FROM projects")) == 0


def test_a_session_has_its_settings(engine: Engine) -> None:
    with unit_of_work(engine) as session:
        for name, value in {
            "statement_timeout": "15s",
            "lock_timeout": "5s",
            "idle_in_transaction_session_timeout": "10s",
            "application_name": "tests",
            "TimeZone": "UTC",
        }.items():
            assert session.scalar(text(f"SHOW {name}")) == value


def test_a_refusal_of_the_trigger_is_an_invalid_move(engine: Engine) -> None:
    job = make_job(engine)
    with (
        pytest.raises(InvalidMove, match="cannot move from queued to succeeded"),
        unit_of_work(engine) as session,
    ):
        session.execute(text("UPDATE jobs SET status = 'succeeded' WHERE id = :id"), {"id": job.id})


def test_a_wrong_request_is_not_an_outage(engine: Engine) -> None:
    with pytest.raises(IntegrityError) as fault, unit_of_work(engine) as session:
        session.execute(text("INSERT INTO projects (id) VALUES ('prj_1')"))
    assert not is_unavailable(fault.value)


def test_no_server_is_an_outage(tmp_path: Path) -> None:
    engine = make_engine(f"postgresql://nobody@/none?host={tmp_path}")
    with pytest.raises(DatabaseUnavailable) as fault, unit_of_work(engine) as session:
        session.execute(text("SELECT 1"))
    assert is_unavailable(fault.value)
    engine.dispose()


def test_an_ended_session_is_an_outage_and_the_next_one_works(engine: Engine) -> None:
    with pytest.raises(DatabaseUnavailable), unit_of_work(engine) as session:
        session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    with unit_of_work(engine) as session:
        assert session.scalar(text("SELECT 1")) == 1


def test_a_held_lock_is_an_outage_and_not_a_hang(engine: Engine) -> None:
    job = make_job(engine)
    with engine.begin() as holder:
        holder.execute(text("SELECT 1 FROM jobs WHERE id = :id FOR UPDATE"), {"id": job.id})
        begun = time.monotonic()
        with pytest.raises(DatabaseUnavailable), unit_of_work(engine) as session:
            session.execute(text("SELECT 1 FROM jobs WHERE id = :id FOR UPDATE"), {"id": job.id})
        assert 4 < time.monotonic() - begun < 14  # lock_timeout, before statement_timeout


def test_a_full_pool_is_an_outage_and_not_a_hang(
    store_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neftune_store.db.POOL_WAIT", 0.1)
    engine = make_engine(store_database, pool_size=1)
    with engine.connect(), pytest.raises(DatabaseUnavailable), unit_of_work(engine) as session:
        session.execute(text("SELECT 1"))
    engine.dispose()


def test_a_relation_is_never_loaded_behind_ones_back(engine: Engine) -> None:
    lazy = {relation.lazy for mapper in Base.registry.mappers for relation in mapper.relationships}
    assert lazy == {"raise"}

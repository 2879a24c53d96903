"""One database for all tests of the store, emptied before each: cloning one costs more than most tests."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from neftune_store.db import make_engine
from neftune_store.models import Base
from tests.conftest import create_database, database_named, drop_database

TABLES = [table.name for table in Base.metadata.sorted_tables if table.name != "projects"]
# One statement, for foreign keys are checked at its end; TRUNCATE would make new files for every index.
EMPTY = f"WITH {', '.join(f'd{n} AS (DELETE FROM {t})' for n, t in enumerate(TABLES))} DELETE FROM projects"


@pytest.fixture(scope="session")
def store_database(postgres_url: str, migrated_template: str) -> Iterator[str]:
    """The URL of a migrated database that the tests of this folder share."""
    name = f"{migrated_template}_store"
    create_database(postgres_url, name, template=migrated_template)
    yield database_named(postgres_url, name)
    drop_database(postgres_url, name)


@pytest.fixture
def engine(store_database: str) -> Iterator[Engine]:
    """An engine on an empty, migrated database."""
    made = make_engine(store_database, pool_size=20, application_name="tests")
    with made.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ALTER TABLE jobs DISABLE TRIGGER jobs_guard"))
        connection.execute(text("ALTER TABLE events DISABLE TRIGGER events_guard"))
        connection.execute(text("ALTER TABLE audit_events DISABLE TRIGGER audit_guard"))
        connection.execute(text(EMPTY))
        connection.execute(text("ALTER TABLE jobs ENABLE TRIGGER jobs_guard"))
        connection.execute(text("ALTER TABLE events ENABLE TRIGGER events_guard"))
        connection.execute(text("ALTER TABLE audit_events ENABLE TRIGGER audit_guard"))
    yield made
    made.dispose()

"""What every test may ask for: a real PostgreSQL, a real Redis, a migrated database of its own.

``DATABASE_URL`` and ``REDIS_URL`` win over the embedded servers, which start once per session in a fresh
home directly under the system's temporary folder (short enough for sockets).
"""

import gc
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import Engine, make_url

# Throw-away data: a test database need not survive a power cut. Crash tests use EmbeddedPostgres bare.
_HASTY = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "200"}
_TESTS = Path(__file__).parent

# Whole stories with many processes first: a long file that begins last is waited for by idle processes.
_LONGEST = ("api", "dashboard", "e2e", "chaos", "faults", "standalone", "worker")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Let nothing look for garbage among what is imported: it stays, and the search took half of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the folders with the longest tests begin; otherwise the order stays."""
    items.sort(key=lambda item: item.path.relative_to(_TESTS).parts[0] not in _LONGEST)


@pytest.fixture(scope="session")
def servers_home() -> Iterator[Path]:
    """A home for the session's servers."""
    home = Path(tempfile.mkdtemp(prefix="neftune-tests-"))
    yield home
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_url(servers_home: Path) -> Iterator[str]:
    """A server whose role may create databases."""
    if url := os.environ.get("DATABASE_URL"):
        yield url
        return
    from standalone.postgres import EmbeddedPostgres  # noqa: PLC0415 - only where no server is given

    server = EmbeddedPostgres(servers_home, _HASTY)
    yield server.start()
    server.stop()


@pytest.fixture(scope="session")
def redis_url(servers_home: Path) -> Iterator[str]:
    """A broker URL for Celery; for redis-py see ``standalone.redis.client_url``."""
    if url := os.environ.get("REDIS_URL"):
        yield _own_redis(url)
        return
    from standalone.redis import EmbeddedRedis  # noqa: PLC0415 - only where no server is given

    server = EmbeddedRedis(servers_home)
    yield server.start()
    server.stop()


@pytest.fixture(scope="session")
def migrated_template(postgres_url: str) -> Iterator[str]:
    """The name of a database with all migrations, to be cloned."""
    from neftune_store.db import migrate  # noqa: PLC0415 - a session without a database needs no store

    name = f"neftune_template_{secrets.token_hex(4)}"
    create_database(postgres_url, name)
    migrate(database_named(postgres_url, name))
    yield name
    drop_database(postgres_url, name)


@pytest.fixture
def database(postgres_url: str, migrated_template: str) -> Iterator[str]:
    """The URL of a fresh, migrated database that only this test sees."""
    name = f"neftune_test_{secrets.token_hex(4)}"
    create_database(postgres_url, name, template=migrated_template)
    yield database_named(postgres_url, name)
    drop_database(postgres_url, name)


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    """An engine on the test's own database."""
    from neftune_store.db import make_engine  # noqa: PLC0415 - as above

    made = make_engine(database, application_name="tests")
    yield made
    made.dispose()


def _own_redis(url: str) -> str:
    """Give each process of the tests a database of its own on a given server: they empty it."""
    parts = urlsplit(url)
    process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    if not process or parts.scheme not in {"redis", "rediss"}:
        return url
    return parts._replace(path=f"/{int(parts.path.strip('/') or 0) + process}").geturl()


def database_named(url: str, name: str) -> str:
    """The same server, another database."""
    return make_url(url).set(database=name).render_as_string(hide_password=False)


def create_database(url: str, name: str, template: str = "template1") -> None:
    """Create it as a copy of the template."""
    _on_server(
        url,
        sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(
            sql.Identifier(name), sql.Identifier(template)
        ),
    )


def drop_database(url: str, name: str) -> None:
    """Drop it, ending whoever of ours is still connected.

    Not ``WITH (FORCE)``: that asks for the right to end every process there, and an autovacuum worker is
    the superuser's. The plain form sends those away by itself and waits 5 s for the rest to be gone.
    """
    ours = sql.SQL(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {} AND usename = user"
    )
    _on_server(url, ours.format(sql.Literal(name)))
    _on_server(url, sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))


def _on_server(url: str, statement: sql.Composed) -> None:
    conninfo = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(conninfo, autocommit=True) as line:
        line.execute(statement)

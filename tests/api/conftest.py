"""One real api for the api's tests: uvicorn, Postgres, a folder for storage."""

import secrets
from collections.abc import Iterator

import httpx
import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

from tests.api.live_api import Service, make_settings, running


@pytest.fixture(scope="session")
def api_database(postgres_url: str, migrated_template: str) -> Iterator[str]:
    """One database for all of the api's tests; each has a project of its own in it."""
    name = f"neftune_api_{secrets.token_hex(4)}"
    server = make_url(postgres_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(server, autocommit=True) as line:
        line.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                sql.Identifier(name), sql.Identifier(migrated_template)
            )
        )
        yield make_url(postgres_url).set(database=name).render_as_string(hide_password=False)
        line.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def service(api_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One api for all tests that need no settings of their own."""
    with running(make_settings(api_database, tmp_path_factory.mktemp("api"))) as found:
        yield found


@pytest.fixture
def client(service: Service) -> Iterator[httpx.Client]:
    """A client with a project of its own."""
    with service.client() as found:
        yield found


@pytest.fixture
def stranger(service: Service) -> Iterator[httpx.Client]:
    """A client of another project."""
    with service.client() as found:
        yield found

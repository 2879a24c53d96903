"""One real api for the api's tests: uvicorn, Postgres, a folder for storage."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from neftune_store.db import make_engine
from tests import invariants
from tests.api.live_api import Service, make_settings, running
from tests.conftest import create_database, database_named, drop_database


@pytest.fixture(scope="session")
def api_database(postgres_url: str, migrated_template: str) -> Iterator[str]:
    """One database for all of the api's tests; each has a project of its own in it; no promise is broken."""
    with held_to_promises(postgres_url, migrated_template) as url:
        yield url


@pytest.fixture(scope="module")
def own_database(postgres_url: str, migrated_template: str) -> Iterator[str]:
    """A database for the tests of one file, which look at more than one project."""
    with held_to_promises(postgres_url, migrated_template) as url:
        yield url


@contextmanager
def held_to_promises(postgres_url: str, template: str) -> Iterator[str]:
    name = f"neftune_api_{secrets.token_hex(4)}"
    create_database(postgres_url, name, template=template)
    url = database_named(postgres_url, name)
    try:
        yield url
        engine = make_engine(url, application_name="tests")
        try:
            invariants.check(engine)
        finally:
            engine.dispose()
    finally:
        drop_database(postgres_url, name)


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

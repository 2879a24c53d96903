"""One real api for the api's tests: uvicorn, Postgres, a folder for storage."""

import secrets
from collections.abc import Iterator

import httpx
import pytest

from neftune_store.db import make_engine
from tests import invariants
from tests.api.live_api import Service, make_settings, running
from tests.conftest import create_database, database_named, drop_database


@pytest.fixture(scope="session")
def api_database(postgres_url: str, migrated_template: str) -> Iterator[str]:
    """One database for all of the api's tests; each has a project of its own in it; no promise is broken."""
    name = f"neftune_api_{secrets.token_hex(4)}"
    create_database(postgres_url, name, template=migrated_template)
    url = database_named(postgres_url, name)
    yield url
    engine = make_engine(url, application_name="tests")
    try:
        invariants.check(engine)
    finally:
        engine.dispose()
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

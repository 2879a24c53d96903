"""docker/prepare.py on a real database: the schema is there, the first key works, again changes nothing."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from neftune_store.db import make_engine, unit_of_work
from neftune_store.projects import ProjectLedger
from tests.conftest import create_database, database_named, drop_database

SCRIPT = Path(__file__).parents[2] / "docker" / "prepare.py"
KEY = "nft_" + "k" * 43


@pytest.fixture
def empty_database(postgres_url: str) -> Iterator[str]:
    name = f"neftune_empty_{secrets.token_hex(4)}"
    create_database(postgres_url, name)
    yield database_named(postgres_url, name)
    drop_database(postgres_url, name)


def prepare(url: str) -> None:
    env = os.environ | {"DATABASE_URL": url, "NEFTUNE_API_KEY": KEY}
    subprocess.run([sys.executable, SCRIPT], env=env, check=True, timeout=60)


def test_it_makes_the_schema_and_lets_the_first_key_in(empty_database: str):
    for _ in range(2):
        prepare(empty_database)
    engine = make_engine(empty_database)
    with unit_of_work(engine) as session:
        projects = ProjectLedger(session)
        who = projects.authenticate(KEY)
        assert who is not None
        assert who.scopes == {"read", "write", "admin", "operator"}
        assert len(projects.keys(who.project_id)) == 1
    engine.dispose()

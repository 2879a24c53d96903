"""Projects and keys: a key opens one project, and only its hash is kept."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, text

from neftune_store.db import unit_of_work
from neftune_store.errors import NotFound, WeakKey
from neftune_store.projects import ProjectLedger
from tests.factories import make_project


def test_the_default_project_is_made_once_even_at_once(engine: Engine) -> None:
    barrier = threading.Barrier(8)

    def ensure(_: int) -> str:
        barrier.wait()
        with unit_of_work(engine) as session:
            return ProjectLedger(session).ensure_default().id

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(ensure, range(8)))) == 1


def test_a_key_opens_its_project(engine: Engine) -> None:
    project = make_project(engine)
    with unit_of_work(engine) as session:
        key, plaintext = ProjectLedger(session).create_key(project.id, "laptop", ["read"])
    assert len(plaintext) == 47
    assert plaintext.startswith(key.prefix)
    with unit_of_work(engine) as session:
        principal = ProjectLedger(session).authenticate(plaintext)
    assert principal is not None
    assert (principal.project_id, principal.key_id, principal.scopes) == (project.id, key.id, {"read"})


@pytest.mark.parametrize("wrong", ["", "nft_", "x" * 10_000, "nft_\x00", "\ud800", "é"])
def test_a_wrong_key_opens_nothing(engine: Engine, wrong: str) -> None:
    with unit_of_work(engine) as session:
        assert ProjectLedger(session).authenticate(wrong) is None


def test_the_key_itself_is_nowhere(engine: Engine) -> None:
    project = make_project(engine)
    with unit_of_work(engine) as session:
        key, plaintext = ProjectLedger(session).create_key(project.id, "laptop")
    assert key.prefix == plaintext[:8]
    with engine.connect() as connection:
        kept = "".join(connection.execute(text("SELECT api_keys::text FROM api_keys")).scalars())
    # Not even a part of it beyond its first eight signs
    assert not [place for place in range(40) if plaintext[place : place + 9] in kept]


def test_a_preset_key_is_taken_once(engine: Engine) -> None:
    project = make_project(engine)
    for _ in range(2):
        with unit_of_work(engine) as session:
            ledger = ProjectLedger(session)
            key = ledger.ensure_key("a-preset-key-of-mine", project.id, "preset")
            assert ledger.create_key(project.id, "again", preset="a-preset-key-of-mine") == (
                key, "a-preset-key-of-mine"
            )  # fmt: skip
            assert ledger.keys(project.id) == [key]
            assert key.prefix == ""


def test_a_weak_preset_is_refused(engine: Engine) -> None:
    with pytest.raises(WeakKey), unit_of_work(engine) as session:
        ProjectLedger(session).ensure_key("secret", make_project(engine).id, "preset")


def test_a_revoked_key_opens_nothing(engine: Engine) -> None:
    project = make_project(engine)
    with unit_of_work(engine) as session:
        key, plaintext = ProjectLedger(session).create_key(project.id, "laptop")
        ProjectLedger(session).revoke_key(project.id, key.id)
        ProjectLedger(session).revoke_key(project.id, key.id)
        assert ProjectLedger(session).authenticate(plaintext) is None


def test_a_foreign_key_cannot_be_revoked(engine: Engine) -> None:
    project = make_project(engine)
    with unit_of_work(engine) as session:
        key, plaintext = ProjectLedger(session).create_key(project.id, "laptop")
    for other, key_id in ((make_project(engine).id, key.id), (project.id, "key_x"), (project.id, "\x00")):
        with pytest.raises(NotFound), unit_of_work(engine) as session:
            ProjectLedger(session).revoke_key(other, key_id)
    with unit_of_work(engine) as session:
        assert ProjectLedger(session).authenticate(plaintext) is not None

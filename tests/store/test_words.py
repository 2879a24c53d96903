"""The small pure things: ids, the table of moves, settings, cleaned values, errors."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from neftune_store import errors
from neftune_store.ids import is_id, new_id
from neftune_store.lifecycle import MOVES, TERMINAL, Status, backoff
from neftune_store.sanitise import clean_json
from neftune_store.settings import StoreSettings

GIVEN = {"DATABASE_URL": "postgresql://u:p@h/d", "STORAGE_URL": "file:///tmp/blobs"}


@pytest.fixture(autouse=True)
def only_what_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in StoreSettings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def settings(monkeypatch: pytest.MonkeyPatch, **env: str) -> StoreSettings:
    for name, value in {**GIVEN, **env}.items():
        monkeypatch.setenv(name, value)
    return StoreSettings()


def test_ids_sort_by_time_and_never_repeat() -> None:
    made = [new_id("job") for _ in range(2000)]
    assert len(set(made)) == 2000
    assert all(re.fullmatch("job_[0-7][0-9a-hjkmnp-tv-z]{25}", id_) and is_id("job", id_) for id_ in made)
    assert [id_[:14] for id_ in made] == sorted(id_[:14] for id_ in made)


NO_IDS = ["", "job_", "ds_01k0000000000000000000000a", "JOB_" + "0" * 26, "job_8" + "0" * 25]
NO_IDS += ["job_" + body for body in ("i" * 26, "0" * 27, "0" * 26 + "\n", "٠" * 26)]


@pytest.mark.parametrize("text", NO_IDS)
def test_what_is_no_id_is_known_without_asking(text: str) -> None:
    assert not is_id("job", text)


def test_the_table_covers_every_state() -> None:
    assert set(MOVES) == set(Status)
    assert {status for status, targets in MOVES.items() if not targets} == TERMINAL


def test_back_off_is_bounded() -> None:
    assert [backoff(n) for n in (1, 2, 3, 4)] == [timedelta(seconds=s) for s in (0, 10, 30, 90)]
    assert backoff(10**6) == timedelta(minutes=15)


def test_settings_come_from_plain_names(monkeypatch: pytest.MonkeyPatch) -> None:
    read = settings(
        monkeypatch, ALLOWED_MODELS="a/*, b/c,", MODELS_DIRS="/one:/two", HUB="on", LEASE_SECONDS="2",
        HEARTBEAT_SECONDS="0.5", LEASE_STOP_SECONDS="1.5"
    )  # fmt: skip
    assert read.database_url == "postgresql+psycopg://u:p@h/d"
    assert read.allowed_models == ("a/*", "b/c")
    assert read.models_dirs == (Path("/one"), Path("/two"))
    assert (read.hub, read.lease_seconds, read.queue_limit) == (True, 2, 100)
    assert settings(monkeypatch, HUB="off", MODELS_DIRS="").models_dirs == ()


@pytest.mark.parametrize(
    "wrong",
    ["STORAGE_URL=gopher://x", "LEASE_SECONDS=10", "HEARTBEAT_SECONDS=50", "QUEUE_LIMIT=0", "HUB=perhaps"],
)
def test_settings_that_make_no_sense_are_refused(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    with pytest.raises(ValidationError):
        settings(monkeypatch, **dict([wrong.split("=")]))


def test_secrets_do_not_print(monkeypatch: pytest.MonkeyPatch) -> None:
    read = settings(monkeypatch, AWS_ACCESS_KEY_ID="canary-id", AWS_SECRET_ACCESS_KEY="canary-secret")
    assert "canary" not in repr(read)


def test_cleaning_leaves_good_values_as_they_are() -> None:
    good = {"text": "naïve 🙂", "list": [1, 2.5, None, True], "deep": {"a": {"b": "c"}}}
    assert clean_json(good) == good


def test_every_error_has_a_code_and_stands_in_the_tree() -> None:
    drawn = errors.__doc__ or ""
    for name, error in vars(errors).items():
        if isinstance(error, type) and issubclass(error, errors.StoreError):
            assert re.fullmatch("[a-z_]+", error.code), name
            assert re.search(rf"\b{name}\b +{error.code}\b", drawn), name

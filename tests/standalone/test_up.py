"""`python -m standalone up`: the whole service, seen from a terminal and from /proc."""

import json
import os
import re
import shutil
import signal
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from standalone.settings import StandaloneSettings
from tests.standalone.instance import Instance, running
from tests.standalone.processes import IS_ROOT, NOBODY, ROOT, commands, eventually, modes, of_home, python

ROWS = b'{"instruction": "Say hello.", "input": "", "output": "Hello!"}\n' * 3
PRESET = "nft_a_key_that_was_chosen_beforehand"
METRICS = "what-prometheus-sends-alone"


@pytest.fixture(scope="module")
def shared_home() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="neftune-t-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def service(shared_home: Path) -> Iterator[Instance]:
    """One running instance for the tests that leave it running."""
    toy = json.dumps([sys.executable, str(ROOT / "tests" / "toy_speaker.py")])
    with running(shared_home, METRICS_TOKEN=METRICS, NEFTUNE_API_KEY=PRESET, GENERATOR=toy) as instance:
        yield instance


def upload(service: Instance, name: str) -> str:
    with service.client() as client:
        answer = client.post("/datasets", params={"name": name}, content=ROWS)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])


def datasets(service: Instance) -> list[str]:
    with service.client() as client:
        return [row["id"] for row in client.get("/datasets").json()["items"]]


def refused(instance: Instance) -> str:
    """What an instance said that would not start."""
    try:
        assert instance.process.wait(60) == 1
        assert "Traceback" not in instance.said()
        return instance.said()
    finally:
        instance.close()


def test_it_is_ready_and_the_preset_key_opens_it(service: Instance) -> None:
    assert service.answers()
    assert service.key == PRESET
    with service.client() as client:
        assert client.get("/datasets").status_code == 200
        assert client.get("/datasets", headers={"Authorization": "Bearer nft_wrong"}).status_code == 401


def test_the_link_in_the_terminal_opens_the_dashboard_and_tells_no_server_its_key(service: Instance) -> None:
    (link,) = re.findall(r"^ +(http://\S+)$", service.said(), re.MULTILINE)
    shown, _, key = link.partition("#key=")
    assert key == PRESET
    page = httpx.get(shown, trust_env=False)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.url.path == "/app/"  # what stands behind # stays in the browser


def test_the_key_is_kept_for_this_user_only(service: Instance) -> None:
    kept = service.home / "secrets" / "api-key"
    assert kept.read_text() == service.key
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_the_bundled_model_is_offered(service: Instance) -> None:
    with service.client() as client:
        assert "neftune/demo-base" in client.get("/models").text


def test_no_child_knows_the_key_and_only_the_api_listens_on_tcp(service: Instance) -> None:
    processes = [process for process in of_home(service.home) if process.pid != service.process.pid]
    assert len(processes) >= 6
    for process in processes:
        assert service.key not in process.environ().values()
        ports = {line.laddr.port for line in process.net_connections("inet") if line.status == "LISTEN"}
        assert ports <= {service.port}


def test_who_answers_is_started_again_when_it_was_killed(service: Instance) -> None:
    with service.client() as client:

        def asked(text: str = "count 3") -> httpx.Response:
            return client.post("/generate", json={"model": "neftune/demo-base", "prompt": text})

        assert asked().json()["answers"][0]["text"] == "1 2 3"
        # When it is killed in the middle of an answer
        ask = {"model": "neftune/demo-base", "prompt": "hold", "stream": True}
        with client.stream("POST", "/generate", json=ask) as answer:
            lines = answer.iter_lines()
            next(line for line in lines if line.startswith("data: "))
            victim = service.child("worker.generate")
            service.process.send_signal(signal.SIGSTOP)  # it starts nothing again until we have looked
            os.kill(victim, signal.SIGKILL)
            # Then the client is told, and so are those that come while nobody is there
            assert '"generation_interrupted"' in "".join(lines)
        told = asked()
        assert (told.status_code, told.json()["code"]) == (503, "generation_unavailable")
        assert int(told.headers["retry-after"]) > 0
        service.process.send_signal(signal.SIGCONT)
        # and who comes a little later is answered by another one
        assert eventually(lambda: asked().status_code == 200, 30)
        assert service.child("worker.generate") != victim


def test_a_second_instance_on_the_home_is_told_where_the_first_is(service: Instance) -> None:
    said = refused(Instance(service.home))
    assert (
        f"Another instance (process {service.process.pid}, http://127.0.0.1:{service.port}) runs on" in said
    )
    assert "NEFTUNE_HOME" in said


def test_a_taken_port_is_told_before_anything_starts(service: Instance, home: Path) -> None:
    said = refused(Instance(home, PORT=str(service.port)))
    assert f"Port {service.port} on 127.0.0.1 is taken" in said
    assert f"--port {service.port + 1}" in said
    assert not (home / "postgres").exists()


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"PORT": "x"}, "PORT: Input should be a valid integer"),
        ({"PORT": "70000"}, "PORT: Input should be less than or equal to 65535"),
        ({"NEFTUNE_API_KEY": "short"}, "NEFTUNE_API_KEY: Value should have at least 16 items"),
        ({"DATABASE_URL": "mysql://u:p@h/d"}, "DATABASE_URL: it must start with postgresql://"),
        ({"DATABASE_URL": "postgresql://u:p@127.0.0.1:1/d"}, "The database in DATABASE_URL does not answer"),
        ({"LEASE_SECONDS": "soon"}, "LEASE_SECONDS: Input should be a valid number"),
        ({"HOST": "256.1.1.1"}, "256.1.1.1 is no address"),
        ({"HOST": "192.0.2.1"}, "Can't listen on 192.0.2.1"),
    ],
)
def test_a_wrong_setting_is_named(home: Path, env: dict[str, str], said: str) -> None:
    assert said in refused(Instance(home, **env))


def test_a_setting_that_is_empty_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in StandaloneSettings.model_fields:
        monkeypatch.setenv(name.upper(), "")
    settings = StandaloneSettings()
    assert (settings.port, settings.host, settings.neftune_home) == (None, "127.0.0.1", None)


@pytest.mark.long  # faults/ asks the service without it
def test_a_redis_that_does_not_answer_is_told(home: Path) -> None:
    with running(home, REDIS_URL="redis://127.0.0.1:1/0") as instance:
        assert "does not answer at REDIS_URL" in instance.said()


def test_only_the_api_knows_what_prometheus_sends(service: Instance) -> None:
    knowing = {
        process.pid
        for process in of_home(service.home)
        if process.pid != service.process.pid and METRICS in process.environ().values()
    }
    assert knowing == {service.child("-m api")}


def test_temporary_files_of_processes_lie_in_the_home(service: Instance) -> None:
    for name in ("-m api", "-m worker"):
        environ = psutil.Process(service.child(name)).environ()
        assert environ["TMPDIR"] == str(service.home / "tmp")


@pytest.mark.parametrize("name", ["-m api", "-m worker", "-m worker.reconcile"])
def test_a_killed_child_is_started_again(service: Instance, name: str) -> None:
    before = service.child(name)
    os.kill(before, signal.SIGKILL)
    assert eventually(lambda: is_new(service, name, before), 30)
    assert eventually(service.answers, 30)


def is_new(service: Instance, name: str, before: int) -> bool:
    try:
        return service.child(name) != before
    except LookupError:
        return False


def test_killed_servers_are_started_again_and_nothing_is_lost(service: Instance) -> None:
    kept = upload(service, "kept")
    for process, command in commands(service.home):
        if service.is_parent_of(process) and ("/bin/postgres" in command or "redis-server" in command):
            process.kill()
    assert eventually(lambda: service.said().count("postgres    started again") == 1, 30)
    assert eventually(lambda: "redis       started again" in service.said(), 30)
    assert eventually(service.answers, 30)
    assert kept in datasets(service)


@pytest.mark.long  # installs for another user
@pytest.mark.skipif(not IS_ROOT, reason="needs two users")
def test_an_ordinary_user_runs_it_beside_root(service: Instance, home: Path) -> None:
    os.chown(home, NOBODY, NOBODY)
    around = {path: mode for path, mode in modes(home).items() if path != home}
    with running(home, as_nobody=True) as theirs:
        assert all(process.uids().real == NOBODY for process in of_home(home))
        kept = upload(theirs, "theirs")
        assert datasets(theirs) == [kept]
        assert kept not in datasets(service)
        assert service.key != theirs.key
        theirs.ctrl_c()
        assert of_home(home) == []
    assert {path: mode for path, mode in modes(home).items() if path in around} == around
    assert service.answers()


@pytest.mark.skipif(not IS_ROOT, reason="needs two users")
def test_as_root_nothing_of_the_home_is_readable_for_others(service: Instance) -> None:
    for path in service.home.iterdir():
        if path.is_dir():
            assert not path.stat().st_mode & 0o007, path


@pytest.mark.long  # one more service of its own
def test_a_terminal_that_is_gone_is_no_reason_to_stop() -> None:
    talker = python(
        "import os, time; from rich.console import Console; from standalone.up import _tell\n"
        "time.sleep(1); console = Console(); [_tell(console, 'word') for _ in range(3)]; os._exit(7)"
    )
    assert talker.stdout is not None
    talker.stdout.close()
    assert talker.wait(20) == 7

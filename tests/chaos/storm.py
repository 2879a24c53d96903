"""A service in a storm: several workers, two reconcilers, an api, and servers that die under them."""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import redis

from neftune_store.db import migrate, unit_of_work
from neftune_store.projects import ProjectLedger
from standalone.postgres import EmbeddedPostgres
from standalone.redis import EmbeddedRedis, client_url
from tests.chaos.plan import Act
from tests.conftest import create_database, database_named
from tests.worker_house import LEASE, House, opened

Server = EmbeddedPostgres | EmbeddedRedis
WORKERS, RECONCILERS = 4, 2
AWAY_SECONDS = 2.0  # the longest a killed server is away


class Storm:
    """Processes by their role, started again when they are dead, and ways to hurt them."""

    def __init__(self, house: House, postgres: EmbeddedPostgres, broker: EmbeddedRedis) -> None:
        self.house, self._postgres, self._broker = house, postgres, broker
        self.done: Counter[str] = Counter()
        self.missed: list[Act] = []
        self._roles: dict[str, subprocess.Popen[bytes]] = {}
        self._frozen: dict[int, float] = {}  # process to the time it may go on
        self._away: dict[Server, float] = {}  # a dead server to the time it comes back
        self.api_key = f"nft_{secrets.token_urlsafe(32)}"
        self.port = _free_port()
        (house.root / "spool").mkdir()
        house.environ |= {
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "SPOOL_DIR": str(house.root / "spool"),
            "QUEUE_LIMIT": "100000",
            "DRAIN_SECONDS": "6",
            "COLLECT_SECONDS": "5",
        }
        with unit_of_work(house.engine) as session:
            project = ProjectLedger(session).ensure_default()
            ProjectLedger(session).ensure_key(self.api_key, project.id, "storm")

    @property
    def url(self) -> str:
        """Where the api listens."""
        return f"http://127.0.0.1:{self.port}"

    def tend(self) -> None:
        """Start what is dead, wake what has slept long enough."""
        now = time.monotonic()
        for pid, until in list(self._frozen.items()):
            if now >= until:
                del self._frozen[pid]
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
        for server, until in list(self._away.items()):
            if now >= until:  # from the main thread: a server dies with the thread that started it
                del self._away[server]
                server.start()
        for role, module in _ROLES.items():
            process = self._roles.get(role)
            if process is None or process.poll() is not None:
                self._roles[role] = self.house.start(module, WORKER_NAME=role)

    def hurt(self, act: Act) -> None:
        """Do it, or keep it for later when there is nothing to hurt."""
        if not self._ways[act.kind](self, act):
            self.missed.append(act)
            return
        self.done[act.kind] += 1

    def calm(self) -> None:
        """Wake and mend everything."""
        for pid in list(self._frozen):
            self._frozen[pid] = 0.0
        for server in list(self._away):
            self._away[server] = 0.0
        self.tend()

    def _kill_runner(self, act: Act) -> bool:
        return self._kill(_chosen(self._runners(), act))

    def _kill_supervisor(self, act: Act) -> bool:
        return self._kill(_chosen(self._supervisors(), act))

    def _kill_worker(self, act: Act) -> bool:
        return self._kill(_chosen(self._of("worker"), act))

    def _kill_reconciler(self, act: Act) -> bool:
        return self._kill(_chosen(self._of("reconciler"), act))

    def _kill_api(self, act: Act) -> bool:
        return self._kill(_chosen(self._of("api"), act))

    def _kill(self, process: psutil.Process | None) -> bool:
        if process is None:
            return False
        try:
            process.kill()
        except psutil.NoSuchProcess:
            return False
        return True

    def _drain(self, act: Act) -> bool:
        chosen = _chosen(self._of("worker"), act)
        if chosen is None:
            return False
        chosen.terminate()
        return True

    def _freeze(self, act: Act) -> bool:
        """Let a supervisor, or in every third case its runner too, sleep for longer than its lease."""
        chosen = _chosen([one for one in self._supervisors() if one.pid not in self._frozen], act)
        if chosen is None:
            return False
        sleepers = [chosen, *(chosen.children() if act.length < 1 / 3 else ())]
        until = time.monotonic() + LEASE + 0.5 + act.length
        for sleeper in sleepers:
            with contextlib.suppress(psutil.NoSuchProcess):
                sleeper.suspend()
                self._frozen[sleeper.pid] = until
        return True

    def _crash_postgres(self, act: Act) -> bool:
        return self._crash(self._postgres, act)

    def _kill_redis(self, act: Act) -> bool:
        return self._crash(self._broker, act)

    def _crash(self, server: Server, act: Act) -> bool:
        """Let a server vanish as in a power cut; it comes back a moment later."""
        if server in self._away or server.process is None:
            return False
        server.process.kill()
        server.process.wait()
        self._away[server] = time.monotonic() + act.length * AWAY_SECONDS
        return True

    def _flush_redis(self, _act: Act) -> bool:
        try:
            redis.from_url(client_url(self.house.redis_url)).flushall()
        except redis.RedisError:
            return False
        return True

    def _of(self, role: str) -> list[psutil.Process]:
        found = []
        for name, process in self._roles.items():
            if name.startswith(role) and process.poll() is None:
                with contextlib.suppress(psutil.NoSuchProcess):
                    found.append(psutil.Process(process.pid))
        return found

    def _supervisors(self) -> list[psutil.Process]:
        return [child for worker in self._of("worker") for child in _children(worker)]

    def _runners(self) -> list[psutil.Process]:
        return [child for one in self._supervisors() for child in _children(one)]

    _ways = {  # noqa: RUF012 - never changed
        "kill_runner": _kill_runner,
        "kill_supervisor": _kill_supervisor,
        "kill_worker": _kill_worker,
        "kill_reconciler": _kill_reconciler,
        "kill_api": _kill_api,
        "freeze": _freeze,
        "drain": _drain,
        "crash_postgres": _crash_postgres,
        "flush_redis": _flush_redis,
        "kill_redis": _kill_redis,
    }


_ROLES = {
    "api": "api",
    **{f"reconciler-{number}": "worker.reconcile" for number in range(RECONCILERS)},
    **{f"worker-{number}": "worker" for number in range(WORKERS)},
}


@contextlib.contextmanager
def gathering(root: Path) -> Iterator[Storm]:
    """A storm over servers of its own; at its end every promise is looked at."""
    with contextlib.ExitStack() as held:
        servers = Path(tempfile.mkdtemp(prefix="neftune-storm-"))
        held.callback(shutil.rmtree, servers, ignore_errors=True)
        postgres, broker = EmbeddedPostgres(servers), EmbeddedRedis(servers)
        held.callback(postgres.stop)
        held.callback(broker.stop)
        url = postgres.start()
        template = f"migrated_{secrets.token_hex(4)}"
        create_database(url, template)
        migrate(database_named(url, template))
        house = held.enter_context(opened(root, url, template, broker.start()))
        yield Storm(house, postgres, broker)


def _chosen(found: list[psutil.Process], act: Act) -> psutil.Process | None:
    return found[int(act.draw * len(found))] if found else None


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children()
    except psutil.NoSuchProcess:
        return []


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port

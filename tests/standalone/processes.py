"""What runs on this machine, seen from outside; and how to run something as another user."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534
IS_ROOT = os.geteuid() == 0


def of_home(home: Path) -> list[psutil.Process]:
    """Every process that names the home in its command line, its environment or as its folder."""
    return [process for process, words in _seen() if any(str(home) in word for word in words)]


def commands(home: Path) -> list[tuple[psutil.Process, str]]:
    """The processes of a home with their command lines."""
    return [(process, words[0]) for process, words in _seen() if any(str(home) in word for word in words)]


def _seen() -> Iterator[tuple[psutil.Process, list[str]]]:
    for process in psutil.process_iter():
        try:
            words = [" ".join(process.cmdline()), process.cwd(), *process.environ().values()]
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        if process.pid != os.getpid():
            yield process, words


def eventually(true: Callable[[], object], timeout_s: float = 20) -> bool:
    """Whether it becomes true in time."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.05)
    return bool(true())


def modes(folder: Path) -> dict[Path, tuple[int, int, int]]:
    """Mode and owner of a folder, its files one level down, and all folders above it."""
    told: dict[Path, tuple[int, int, int]] = {}
    for path in (folder, *folder.parents, *folder.iterdir()):
        with suppress(FileNotFoundError):  # others come and go in the system's temporary folder
            found = path.lstat()
            told[path] = (found.st_mode, found.st_uid, found.st_gid)
    return told


def python(code: str, *arguments: object, as_nobody: bool = False, **env: str) -> subprocess.Popen[str]:
    """Run code in a process of its own, perhaps as an ordinary user."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return start(command, env, as_nobody=as_nobody)


def start(
    command: list[str], env: Mapping[str, str], *, as_nobody: bool = False, output: Path | None = None
) -> subprocess.Popen[str]:
    """Start a command in a session of its own, its output in a file or else in a pipe."""
    everything = {**_bare(), **env}
    if as_nobody:
        command = [*python_of_nobody(), *command[1:]]
        everything |= {"PYTHONPATH": _PACKAGES, "HOME": "/nonexistent"}
    with ExitStack() as opened:
        return subprocess.Popen(
            command,
            env=everything,
            cwd="/" if as_nobody else ROOT,
            stdin=subprocess.DEVNULL,
            stdout=opened.enter_context(output.open("w")) if output else subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )


def _bare() -> dict[str, str]:
    """Our environment without what would choose other servers or another home."""
    ours = (
        "DATABASE_URL",
        "REDIS_URL",
        "STORAGE_URL",
        "HOST",
        "PORT",
        "HUB",
        "ALLOWED_MODELS",
        "MODELS_DIRS",
    )
    return {name: value for name, value in os.environ.items() if name not in ours and "NEFTUNE" not in name}


@cache
def python_of_nobody() -> tuple[str, ...]:
    """How an ordinary user starts a Python of our version with our packages.

    Ours may lie in a home that is closed for others: then the system's, if it fits, else ours with leave
    to read everything (and to write nothing).
    """
    ordinary = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    reading = (*ordinary, "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
    system = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    for command in ((*ordinary, sys.executable), (*ordinary, system), (*reading, sys.executable)):
        env = {"PYTHONPATH": _PACKAGES, "PATH": os.defpath}
        trial = [*command, "-c", "import standalone.service, celery, uvicorn, redis"]
        if subprocess.run(trial, env=env, cwd="/", capture_output=True, check=False).returncode == 0:
            return command
    raise AssertionError("no Python here that an ordinary user may run")


_PACKAGES = os.pathsep.join([str(ROOT), *(path for path in sys.path if "site-packages" in path)])

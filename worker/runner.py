"""The runner as a process: how it is started, what it may see, how it is ended.

Knows process groups, pipes and the environment's allow-list. Knows nothing of jobs, rows or messages.
The secrets are all on this side: what is not named in ``PASSED_ON`` does not reach the runner.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from neftune_core import failpoint
from worker import memory, strays
from worker.memory import Memory

LAUNCHER = Path(__file__).with_name("launch.py")
REAP_SECONDS = 0.005
_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024

# What of our environment the runner gets. Nothing here may ever hold a secret.
PASSED_ON = (
    "PATH",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "TZ",
    "CUDA_VISIBLE_DEVICES",
    "CUDA_HOME",
    "NVIDIA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS",
    "OMP_WAIT_POLICY",
    "MKL_NUM_THREADS",
    *failpoint.NAMES,
)


def environment(home: Path, ours: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Make the runner's whole environment from the allow-list and fixed values."""
    passed = {name: ours[name] for name in PASSED_ON if name in ours}
    defaults = {"PATH": os.defpath, "LANG": "C.UTF-8", "OMP_WAIT_POLICY": "PASSIVE"}
    fixed = {
        "HOME": str(home),
        "TMPDIR": str(home / "tmp"),
        "HF_HOME": str(home / "hf"),
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONHASHSEED": "0",  # the same run writes the same bytes, also where a library lists a set
        "PYTHONUNBUFFERED": "1",
        "PYTHONUTF8": "1",
    }
    return {**defaults, **passed, **fixed}


@dataclass(frozen=True, slots=True)
class Before:
    """How things stood when it was started."""

    children: frozenset[int]
    oom_kills: int


@dataclass(frozen=True, slots=True)
class Limits:
    """What the kernel refuses the runner beyond."""

    open_files: int = 65_536
    file_bytes: int = 1 << 40


class Runner:
    """A running child in a process group of its own."""

    def __init__(
        self, process: subprocess.Popen[bytes], reports: IO[bytes], log: IO[bytes], before: Before
    ) -> None:
        self._process = process
        self._before = before
        self._peak: int | None = None
        self.reports = reports
        self.log = log

    @property
    def pid(self) -> int:
        """Its process id, which is also its group's."""
        return self._process.pid

    def ended(self) -> bool:
        """Tell whether it has ended. It is not reaped yet, so its group's number still means its group."""
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return self._process.returncode is not None or os.waitid(os.P_PID, self.pid, flags) is not None

    def ask_to_stop(self) -> None:
        """Ask it to stop between two steps (SIGTERM to the runner, which knows its own children)."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)

    def end(self, patience: float = 10.0) -> int:
        """Leave nothing of it alive, itself or what it started; give the exit status (negative: a signal)."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            self._reap(patience)
            strays.end_new_children(self._before.children)
        return self._process.wait(timeout=patience)

    def memory(self) -> Memory:
        """Tell of its memory, once it has ended."""
        ran_out = memory.oom_kills() > self._before.oom_kills
        return Memory(self._peak, ran_out, memory.limit_bytes())

    def _reap(self, patience: float) -> None:
        """Wait for its end as ``Popen`` would, and keep what it has used."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            pid, status, used = os.wait4(self.pid, os.WNOHANG)
            if pid:
                self._process.returncode = os.waitstatus_to_exitcode(status)
                self._peak = used.ru_maxrss * _MAXRSS_UNIT
                return
            time.sleep(REAP_SECONDS)

    def close(self) -> None:
        """Let go of its pipes."""
        self.reports.close()
        self.log.close()


def spawn(  # noqa: PLR0913 - what is started, where, under which bounds, and what it is given
    command: Sequence[str],
    home: Path,
    limits: Limits,
    environ: Mapping[str, str],
    stdin: int = subprocess.DEVNULL,
    *,
    key: str | None = None,
) -> Runner:
    """Start ``command`` tied to the calling thread, which must be the main one.

    ``--report-fd N`` is added; what it writes there comes out of ``reports``, stdout and stderr out of
    ``log``. A ``key`` comes to it on a pipe, ``--key-fd N``, and stands in no argument and no environment.
    """
    before = Before(strays.children(), memory.oom_kills())
    read_fd, write_fd = os.pipe()
    key_fd = None if key is None else _in_a_pipe(key)
    keyed = [] if key_fd is None else ["--key-fd", str(key_fd)]
    try:
        process = subprocess.Popen(  # noqa: S603 - the operator's command, no shell
            [
                *(sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid())),
                *(str(limits.open_files), str(limits.file_bytes)),
                *(*command, "--report-fd", str(write_fd), *keyed),
            ],
            cwd=home,
            env=dict(environ),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(write_fd,) if key_fd is None else (write_fd, key_fd),
            start_new_session=True,
        )
    except BaseException:
        os.close(read_fd)
        raise
    finally:
        os.close(write_fd)
        if key_fd is not None:
            os.close(key_fd)
    if process.stdout is None:  # for the type checker: stdout=PIPE makes it a file
        raise RuntimeError("the runner has no stdout")
    return Runner(process, os.fdopen(read_fd, "rb", buffering=0), process.stdout, before)


def _in_a_pipe(key: str) -> int:
    """Give the end to read of a pipe that holds the key and nothing after it; it fits in without a reader."""
    read_fd, write_fd = os.pipe()
    with os.fdopen(write_fd, "wb") as held:
        held.write(key.encode())
    return read_fd

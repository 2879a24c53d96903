"""Who hears about a run: a supervisor on a pipe, a person at a terminal, or nobody."""

import math
import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from neftune_core import messages
from neftune_core.errors import CoreError, SupervisorLost

_DETAIL_CHARACTERS = 8000  # four bytes each at most, well within a line


class PipeReporter:
    """Speaks JSON lines on a file descriptor; paths are relative to the output folder."""

    def __init__(self, fd: int, out: Path) -> None:
        self._fd, self._out = fd, out

    def metrics(self, step: int, values: Mapping[str, float | None]) -> None:
        """Send the numbers of a step; JSON has no NaN, so what is not finite travels as null."""
        finite = {
            key: value if value is not None and math.isfinite(value) else None
            for key, value in values.items()
        }
        self._send(messages.Metric(step, finite))

    def event(self, name: str, data: Mapping[str, object]) -> None:
        """Send a fact."""
        self._send(messages.Event(name, dict(data)))

    def checkpoint(self, step: int, path: Path) -> None:
        """Send where the run can be continued."""
        self._send(messages.Checkpoint(step, path.relative_to(self._out).as_posix()))

    def artifact(self, name: str, path: Path) -> None:
        """Send a finished result."""
        self._send(messages.Artifact(name, path.relative_to(self._out).as_posix()))

    def failed(self, error: CoreError) -> None:
        """Send the last line."""
        self._send(messages.Failed(error.code, str(error)[:_DETAIL_CHARACTERS], error.retryable))

    def _send(self, message: messages.Message) -> None:
        line = messages.encode(message)
        try:
            while line:
                line = line[os.write(self._fd, line) :]
        except BrokenPipeError as error:
            raise SupervisorLost("Nobody reads the report any more.") from error


class LoggedReporter:
    """Speaks on the pipe, and tells the log, which people read, of facts and of one step a second."""

    def __init__(self, fd: int, out: Path, stream: TextIO | None = None) -> None:
        self._pipe, self._log = PipeReporter(fd, out), TerminalReporter(stream)
        self._next = 0.0

    def metrics(self, step: int, values: Mapping[str, float | None]) -> None:
        """Tell both."""
        self._pipe.metrics(step, values)
        if (now := time.monotonic()) >= self._next:
            self._next = now + 1.0
            with suppress(OSError):
                self._log.metrics(step, values)

    def event(self, name: str, data: Mapping[str, object]) -> None:
        """Tell both."""
        self._pipe.event(name, data)
        with suppress(OSError):
            self._log.event(name, data)

    def checkpoint(self, step: int, path: Path) -> None:
        """Tell both; its folder means nothing to who reads the log."""
        self._pipe.checkpoint(step, path)
        with suppress(OSError):
            self._log.checkpoint(step, Path(path.name))

    def artifact(self, name: str, path: Path) -> None:
        """Tell both."""
        self._pipe.artifact(name, path)
        with suppress(OSError):
            self._log.artifact(name, Path(path.name))

    def failed(self, error: CoreError) -> None:
        """Tell both."""
        self._pipe.failed(error)
        with suppress(OSError):
            self._log.failed(error)


class TerminalReporter:
    """Tells a person what happens, a line a step."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._total: object = "?"

    def metrics(self, step: int, values: Mapping[str, float | None]) -> None:
        """Print the numbers that matter while one watches."""
        told = {
            "loss": values.get("train_loss"),
            "clean": values.get("clean_train_loss"),
            "eval": values.get("eval_loss"),
            "lr": values.get("learning_rate"),
            "grad": values.get("grad_norm"),
            "noise alpha": values.get("noise_effective_alpha"),
            "tokens/s": values.get("tokens_per_s"),
        }
        numbers = "  ".join(f"{name} {value:.4g}" for name, value in told.items() if value is not None)
        self._print(f"step {step}/{self._total}  {numbers}")

    def event(self, name: str, data: Mapping[str, object]) -> None:
        """Print a fact."""
        self._total = data.get("total_steps", self._total)
        self._print(f"{name}  " + "  ".join(f"{key}={value}" for key, value in data.items()))

    def checkpoint(self, step: int, path: Path) -> None:
        """Print where the run can be continued."""
        self._print(f"checkpoint of step {step} saved in {path}")

    def artifact(self, name: str, path: Path) -> None:
        """Print where a result lies."""
        self._print(f"{name} saved in {path}")

    def failed(self, error: CoreError) -> None:
        """Print why it ended."""
        self._print(f"failed ({error.code}): {error}")

    def _print(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()


class SilentReporter:
    """Hears the same run as rank 0's reporter does, and says nothing; only a failure goes to the log."""

    def __init__(self, rank: int, stream: TextIO | None = None) -> None:
        self._rank, self._stream = rank, stream or sys.stderr

    def metrics(self, step: int, values: Mapping[str, float | None]) -> None:
        """Say nothing."""

    def event(self, name: str, data: Mapping[str, object]) -> None:
        """Say nothing."""

    def checkpoint(self, step: int, path: Path) -> None:
        """Say nothing."""

    def artifact(self, name: str, path: Path) -> None:
        """Say nothing."""

    def failed(self, error: CoreError) -> None:
        """Print why this process ended."""
        self._stream.write(f"rank {self._rank} failed ({error.code}): {error}\n")

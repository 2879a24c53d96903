"""What the trainer wants from the world around it, and nothing more."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol


class Reporter(Protocol):
    """Hears about a run while it happens."""

    def metrics(self, step: int, values: Mapping[str, float | None]) -> None:
        """Take the numbers of one optimizer step; ``None`` stands for a non-finite number."""
        ...

    def event(self, name: str, data: Mapping[str, object]) -> None:
        """Take a past-tense fact, such as ``run.planned``."""
        ...

    def checkpoint(self, step: int, path: Path) -> None:
        """Take a folder from which the run can be continued; only where checkpoints were asked for."""
        ...

    def artifact(self, name: str, path: Path) -> None:
        """Take a finished result: a file, or a folder whose files belong together."""
        ...


class StopSignal(Protocol):
    """Asked between steps whether to end early."""

    def requested(self) -> bool:
        """Tell whether somebody wants the run to stop after this step."""
        ...

"""Run as a script: import modules as an image would, where only some packages are installed.

``only_installed.py EXTRAS MODULE...`` refuses every installed package that the project with these extras
does not need.
"""

import importlib
import importlib.machinery
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REQUIREMENTS = Path(__file__).parents[2] / "docker" / "requirements.py"


def requirements(extras: Sequence[str]) -> list[str]:
    """List what an image with these extras is told to install."""
    script = [sys.executable, REQUIREMENTS, *extras]
    return subprocess.run(script, capture_output=True, text=True, check=True).stdout.splitlines()


def needed(lines: Sequence[str]) -> set[str]:
    """Names of these packages and of all that they need, as far as they are installed here."""
    seen: set[tuple[str, str]] = set()
    waiting = [(one, extra) for one in map(Requirement, lines) for extra in one.extras | {""}]
    while waiting:
        one, extra = waiting.pop()
        name = canonicalize_name(one.name)
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        try:
            theirs = [Requirement(line) for line in metadata.requires(name) or []]
        except metadata.PackageNotFoundError:
            continue  # the GPU's, on a machine without one
        for other in theirs:
            if other.marker is None or other.marker.evaluate({"extra": extra}):
                waiting += [(other, more) for more in other.extras | {""}]
    return {name for name, _ in seen}


class Without:
    """A finder that finds nothing of the packages that are absent, as if they were not installed."""

    def __init__(self, finder: Any, present: set[str]) -> None:
        self._finder = finder
        self._absent = {
            top
            for top, owners in metadata.packages_distributions().items()
            if not {canonicalize_name(owner) for owner in owners} & (present | {"neftune-service"})
        }

    def find_spec(self, name: str, *place: Any) -> importlib.machinery.ModuleSpec | None:
        """Leave what is present to the finder."""
        if name.split(".", maxsplit=1)[0] in self._absent:
            return None
        found: importlib.machinery.ModuleSpec | None = self._finder.find_spec(name, *place)
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._finder, name)


if __name__ == "__main__":
    extras, *modules = sys.argv[1:]
    here = needed(requirements(extras.split()))
    for loaded in [name for name in sys.modules if name.split(".")[0] == "packaging"]:
        del sys.modules[loaded]
    sys.meta_path[:] = [Without(finder, here) for finder in sys.meta_path]
    for module in modules:
        importlib.import_module(module)

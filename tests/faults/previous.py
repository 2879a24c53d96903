"""The code as it was before the newest migration, from this checkout's own history."""

import io
import subprocess
import tarfile
from pathlib import Path

from neftune_store.db import MIGRATIONS

ROOT = MIGRATIONS.parent
PARTS = ("api", "worker", "neftune_core", "neftune_store", "migrations", "tests/toy_runner.py")


def unpack_previous(folder: Path) -> str | None:
    """Lay it out in a folder; give its commit, or nothing where the history is not at hand."""
    newest = max((MIGRATIONS / "versions").glob("*.py"))
    commit = _said("log", "--diff-filter=A", "--format=%H", "--", str(newest.relative_to(ROOT)))
    before = commit and _said("rev-parse", "--verify", "--quiet", f"{commit.split()[-1]}^")
    if not before:
        return None
    packed = _run("archive", "--format=tar", before, *PARTS)
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as tree:
        tree.extractall(folder, filter="data")
    return before


def _said(*words: str) -> str:
    return _run(*words).stdout.decode().strip()


def _run(*words: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(["git", "-C", ROOT, *words], capture_output=True, check=False)
    except FileNotFoundError:  # no git: then no history either
        return subprocess.CompletedProcess(words, 1, b"", b"")

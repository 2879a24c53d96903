"""Homes short enough for sockets, and ways to look at processes from outside."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def home() -> Iterator[Path]:
    """An empty folder of ours directly under the temporary folder, closed for others."""
    path = Path(tempfile.mkdtemp(prefix="neftune-t-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)

"""constraints.txt: every package that any extra needs, at the version that was tried; no package host."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LINES = [line for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines() if line[:1] != "#"]
PINS = dict(line.split("==") for line in LINES)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
DIRECT = [
    *PROJECT["dependencies"],
    *(line for more in PROJECT["optional-dependencies"].values() for line in more),
]


def needed() -> set[str]:
    """Names of all installed packages that the project needs, through others too."""
    seen: set[str] = set()
    waiting = [Requirement(line) for line in DIRECT]
    while waiting:
        one = waiting.pop()
        name = canonicalize_name(one.name)
        extras = one.extras or {""}
        if name in seen or (one.marker and not one.marker.evaluate({"extra": ""})):
            continue
        seen.add(name)
        try:
            theirs = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # the GPU's, on a machine without one
        for line in theirs:
            other = Requirement(line)
            if other.marker is None or any(
                other.marker.evaluate({"extra": extra}) for extra in extras | {""}
            ):
                other.marker = None
                waiting.append(other)
    return seen


def test_a_line_is_a_name_and_a_version():
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line) for line in LINES)
    assert sorted(LINES) == LINES


def test_all_that_is_needed_is_pinned():
    assert needed() <= set(PINS)


@pytest.mark.parametrize("line", DIRECT)
def test_a_pin_is_a_version_that_the_project_allows(line: str):
    wanted = Requirement(line)
    assert wanted.specifier.contains(PINS[canonicalize_name(wanted.name)])


def test_what_is_installed_is_what_is_pinned():
    installed = {canonicalize_name(one.name): one.version.split("+")[0] for one in metadata.distributions()}
    ours = needed() & set(installed)
    assert {name: installed[name] for name in ours} == {name: PINS[name] for name in ours}


def test_no_package_host_is_named_anywhere():
    for file in (*ROOT.glob("*.*"), ROOT / "Makefile", ROOT / ".ci" / "run", *ROOT.glob("docker/*")):
        if file.is_file() and file.suffix != ".md":
            assert not re.search(r"https?://(?!(127\.0\.0\.1|storage)\b)", file.read_text("utf-8")), file

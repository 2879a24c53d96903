"""constraints.txt: every package that any extra needs, at the version that was tried; no package host."""

import re
import sysconfig
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.frame.only_installed import needed

ROOT = Path(__file__).parents[2]
LINES = [line for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines() if line[:1] != "#"]
PINS = dict(line.split("==") for line in LINES)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
DIRECT = [
    *PROJECT["dependencies"],
    *(line for more in PROJECT["optional-dependencies"].values() for line in more),
]


def test_a_line_is_a_name_and_a_version():
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line) for line in LINES)
    assert sorted(LINES) == LINES


def test_all_that_is_needed_is_pinned():
    assert needed(DIRECT) <= set(PINS)


@pytest.mark.parametrize("line", DIRECT)
def test_a_pin_is_a_version_that_the_project_allows(line: str):
    wanted = Requirement(line)
    assert wanted.specifier.contains(PINS[canonicalize_name(wanted.name)])


def test_what_is_installed_is_what_is_pinned():
    # Not the whole path: whoever imports setuptools adds what it has within itself.
    places = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    found = metadata.distributions(path=places)
    installed = {canonicalize_name(one.name): one.version.split("+")[0] for one in found}
    ours = needed(DIRECT) & set(installed)
    assert {name: installed[name] for name in ours} == {name: PINS[name] for name in ours}


def test_no_package_host_is_named_anywhere():
    for file in (*ROOT.glob("*.*"), ROOT / "Makefile", ROOT / ".ci" / "run", *ROOT.glob("docker/*")):
        if file.is_file() and file.suffix != ".md":
            assert not re.search(
                r"https?://(?!(127\.0\.0\.1|localhost|storage)\b|\{\$)", file.read_text("utf-8")
            ), file

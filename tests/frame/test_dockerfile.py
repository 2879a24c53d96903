"""The images: linted, not root, pinned, and no torch in the api's."""

import importlib.util
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
STAGES = dict(re.findall(r"^FROM \S+ AS (\S+)\n(.*?)(?=^FROM|\Z)", DOCKERFILE, re.M | re.S))
HEAVY = {"torch", "transformers", "peft", "accelerate", "bitsandbytes", "trl"}


def wanted(*extras: str) -> list[str]:
    """What docker/requirements.py prints."""
    script = [sys.executable, ROOT / "docker" / "requirements.py", *extras]
    return subprocess.run(script, capture_output=True, text=True, check=True).stdout.split()


def with_theirs(requirements: list[str]) -> set[str]:
    """Names of packages, and of all that they need."""
    seen: set[str] = set()
    waiting = [Requirement(line) for line in requirements]
    while waiting:
        one = waiting.pop()
        if one.name.lower() in seen or (one.marker and not one.marker.evaluate({"extra": ""})):
            continue
        seen.add(one.name.lower())
        waiting += [Requirement(line) for line in metadata.requires(one.name) or []]
    return seen


def test_hadolint_has_nothing_to_say():
    tool = Path(sys.executable).with_name("hadolint")
    told = subprocess.run([tool, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (told.returncode, told.stdout) == (0, "")


@pytest.mark.parametrize("target", ["api", "worker"])
def test_an_image_runs_as_nobody_special(target: str):
    assert re.findall(r"^USER (.*)$", STAGES[target], re.M) == ["10001:10001"]


def test_the_api_image_tells_how_it_is():
    assert "HEALTHCHECK" in STAGES["api"]
    assert "/healthz" in STAGES["api"]


def test_the_api_image_has_no_torch():
    assert "packages-api" in STAGES["api"]
    assert with_theirs(wanted()).isdisjoint(HEAVY)


def test_the_worker_image_has_what_trains():
    assert {"torch", "peft"} <= {Requirement(line).name for line in wanted("worker", "gpu")}


def test_every_install_is_pinned():
    installs = re.findall(r"pip install .*", DOCKERFILE)
    assert len(installs) == 3
    assert all("-c constraints.txt" in line for line in installs)


def test_what_is_copied_exists_and_is_sent_to_the_build():
    sent = re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text("utf-8"), re.M)
    for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.M):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert any(source == one or source.startswith(one + "/") for one in sent), source


def test_every_package_of_the_source_is_in_an_image():
    # standalone stays out: it starts what compose starts
    for package in ("neftune_core", "neftune_store", "api", "worker", "migrations"):
        assert re.search(rf"^COPY {package} {package}$", DOCKERFILE, re.M)
        assert importlib.util.find_spec(package) or (ROOT / package).is_dir()

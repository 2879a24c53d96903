"""The images: linted, not root, pinned, and no torch in the api's."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.frame.only_installed import needed, requirements

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
STAGES = dict(re.findall(r"^FROM \S+ AS (\S+)\n(.*?)(?=^FROM|\Z)", DOCKERFILE, re.M | re.S))
HEAVY = {"torch", "transformers", "peft", "accelerate", "bitsandbytes", "trl"}


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
    assert "COPY --from=packages-api /venv /venv" in STAGES["api"]
    assert re.findall(r"requirements\.py(.*?)>", STAGES["packages-api"]) == [" "]
    assert needed(requirements([])).isdisjoint(HEAVY)


def test_the_worker_image_has_what_trains():
    assert needed(requirements(["worker", "gpu"])) >= {"torch", "peft", "transformers"}


@pytest.mark.parametrize(
    ("extras", "modules"),
    [
        ("", ["api.main", "api.server", "worker.reconcile", "alembic", "neftune_store.projects"]),
        ("worker gpu", ["worker.app", "worker.fetch", "neftune_core.train", "neftune_core.export"]),
    ],
    ids=["api", "worker"],
)
def test_an_image_has_all_that_its_services_import(extras: str, modules: list[str]):
    script = [sys.executable, ROOT / "tests" / "frame" / "only_installed.py", extras, *modules]
    ran = subprocess.run(script, capture_output=True, text=True, check=False, cwd=ROOT)
    assert ran.returncode == 0, ran.stderr


def test_the_api_image_has_the_dashboard_and_no_node():
    assert "RUN npm ci " in STAGES["dashboard"]  # exactly what the lock pins
    copied = "COPY --from=dashboard /build/api/dashboard/dist api/dashboard/dist"
    assert copied in STAGES["api"]
    assert [name for name, stage in STAGES.items() if "npm" in stage] == ["dashboard"]
    assert re.findall(r"--from=dashboard (\S+)", DOCKERFILE) == ["/build/api/dashboard/dist"]


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

"""How the dashboard is built: from types of the API, by setup, small, with all its words in one place."""

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.frame.test_make import make

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "api" / "dashboard"
DIST = DASHBOARD / "dist"
SOURCES = sorted([*(DASHBOARD / "src").rglob("*.ts"), *(DASHBOARD / "src").rglob("*.tsx")])
PACKAGE = json.loads((DASHBOARD / "package.json").read_text("utf-8"))
MOST_BYTES = 100_000


def test_a_first_visit_is_small_and_so_is_a_visit_that_begins_at_any_screen():
    sizes = {one.name: len(gzip.compress(one.read_bytes())) for one in DIST.rglob("*") if one.is_file()}
    assert {"index.html"} < set(sizes)
    page = (DIST / "index.html").read_text("utf-8")
    first = {name for name in sizes if name in page or name == "index.html"}
    assert sum(sizes[name] for name in first) <= MOST_BYTES / 2, sizes
    # A screen needs what the page names, and one script besides that asks for no other
    others = {one.name: one.read_text("utf-8") for one in DIST.rglob("*.js") if one.name not in first}
    assert not [name for name in others if any(name in text for text in others.values())], sorted(others)
    assert sum(sizes[name] for name in first) + max(map(sizes.__getitem__, others)) <= MOST_BYTES, sizes


def test_the_lock_names_no_package_host_and_pins_what_was_asked_for():
    text = (DASHBOARD / "package-lock.json").read_text("utf-8")
    assert '"resolved"' not in text
    packages = json.loads(text)["packages"]
    asked = PACKAGE["dependencies"] | PACKAGE["devDependencies"]
    assert {name: packages[f"node_modules/{name}"]["version"] for name in asked} == asked
    assert [name for name, one in packages.items() if name and "integrity" not in one] == []


def test_every_package_was_weighed():
    told = (ROOT / "docs" / "decisions" / "0009-dependencies.md").read_text("utf-8")
    assert [name for name in PACKAGE["dependencies"] | PACKAGE["devDependencies"] if name not in told] == []


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(DASHBOARD / "src")))
def test_words_stand_in_one_file_and_markup_is_never_made_of_text(source: Path):
    text = source.read_text("utf-8")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\(|new Function", text)
    assert not re.search(r"https?://\w", text)  # nothing is fetched from another host
    if source.suffix == ".tsx":
        between_tags = re.findall(r">\s*([A-Za-z][^<>{}=;()]*?)\s*</", text)
        assert between_tags == []
        assert re.findall(r'\s(?:label|title|placeholder|aria-label|alt)="([^"]*[A-Z][^"]*)"', text) == []


def test_setup_builds_it_when_its_sources_are_newer():
    planned = make("-n", "-W", "tests/api/openapi.json", "setup").stdout
    assert "api/dashboard/build.sh" in planned
    assert "build.sh" not in make("-n", "-W", "tests/api/openapi.json", "setup", "DASHBOARD=").stdout
    sources = {path.relative_to(ROOT) for path in (*SOURCES, *(DASHBOARD / "src").rglob("*.css"))}
    named = set(
        make("-pn", "setup").stdout.partition("api/dashboard/dist/index.html:")[2].partition("|")[0].split()
    )
    assert {str(path) for path in sources} <= named


def test_what_is_built_is_not_committed():
    built = [DIST, DASHBOARD / "node_modules", DASHBOARD / "generated"]
    asked = subprocess.run(
        ["git", "check-ignore", *built], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert asked.stdout.split() == [str(path) for path in built]
    sent = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert [path for path in built if str(path.relative_to(ROOT)) not in sent] == []


def test_a_build_begins_with_the_types_of_the_snapshot():
    steps = PACKAGE["scripts"]["build"].split(" && ")
    assert steps[0].startswith("openapi-typescript ../../tests/api/openapi.json ")
    assert steps[1:] == ["tsc", "vite build"]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The sources with what the build needs, elsewhere."""
    folder = tmp_path / "api" / "dashboard"
    without = shutil.ignore_patterns("node_modules", "dist", "generated")
    shutil.copytree(DASHBOARD, folder, ignore=without)
    (tmp_path / "tests" / "api").mkdir(parents=True)
    shutil.copy(ROOT / "tests" / "api" / "openapi.json", tmp_path / "tests" / "api")
    shutil.copy(ROOT / "constraints.txt", tmp_path)
    return tmp_path


@pytest.mark.long
def test_the_build_fails_when_the_api_changes(copy: Path):
    (copy / "api" / "dashboard" / "node_modules").symlink_to(DASHBOARD / "node_modules")
    snapshot = copy / "tests" / "api" / "openapi.json"
    document = json.loads(snapshot.read_text("utf-8"))
    fields = document["components"]["schemas"]["KeyRead"]["properties"]
    fields["used_last_at"] = fields.pop("last_used_at")
    snapshot.write_text(json.dumps(document), "utf-8")
    built = subprocess.run(
        ["npm", "run", "build"], cwd=copy / "api" / "dashboard", capture_output=True, text=True, check=False
    )
    assert built.returncode != 0
    assert "Property 'last_used_at' does not exist" in built.stdout
    assert not (copy / "api" / "dashboard" / "dist").exists()


@pytest.mark.long
def test_it_is_built_where_there_is_no_node(copy: Path, tmp_path: Path):
    # Given a machine with a shell and a Python, and no Node
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "dirname", "env"):
        (tools / name).symlink_to(shutil.which(name) or "")
    subprocess.run([sys.executable, "-m", "venv", copy / "venv"], check=True)
    env = {**os.environ, "PATH": str(tools)}
    # When it is built, then a Node from a wheel does it, at the version that is pinned
    script = [tools / "sh", "api/dashboard/build.sh", copy / "venv" / "bin" / "python", "constraints.txt"]
    built = subprocess.run(script, cwd=copy, env=env, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    assert (copy / "api" / "dashboard" / "dist" / "index.html").is_file()

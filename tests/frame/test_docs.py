"""The docs are true where a test can tell: settings, decisions, links."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))


def test_settings_are_told_as_the_classes_have_them():
    script = [sys.executable, ROOT / "docs" / "settings.py"]
    written = subprocess.run(script, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert (ROOT / "docs" / "settings.md").read_text("utf-8") == written, "run `make docs`"


def test_every_setting_has_a_meaning():
    rows = re.findall(
        r"^\| `(\w+)` \| .*? \| (.*) \|$", (ROOT / "docs" / "settings.md").read_text("utf-8"), re.M
    )
    assert rows
    assert [name for name, meaning in rows if not meaning] == []


def test_decisions_are_numbered_without_gaps():
    assert [int(path.name[:4]) for path in DECISIONS] == list(range(1, len(DECISIONS) + 1))


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.stem)
def test_a_decision_has_its_parts_and_one_line_to_quote(path: Path):
    text = path.read_text("utf-8")
    assert text.startswith(f"# {path.name[:4]} ")
    assert re.findall(r"^\*\*(\w+)\.\*\*", text, re.M) == [
        "Context",
        "Decision",
        "Consequences",
        "Alternatives",
    ]
    assert re.search(r"^\*\*Decision\.\*\* \*[^*]+\*$", text, re.M)
    prose = re.sub(r"^\|.*$", "", text, flags=re.M)  # a table of libraries grows with them
    assert len(prose.split()) < 400  # half a page


@pytest.mark.parametrize("doc", DOCS, ids=lambda doc: str(doc.relative_to(ROOT)))
def test_links_lead_somewhere(doc: Path):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", doc.read_text("utf-8")):
        assert (doc.parent / target).exists(), target


def test_every_page_is_reached_from_the_readme():
    readme = (ROOT / "README.md").read_text("utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        pages = readme + (ROOT / "CONTRIBUTING.md").read_text("utf-8")
        assert f"docs/{page.name}" in pages


def test_the_architecture_names_files_that_are_there():
    named = re.findall(
        r"`((?:api|worker|standalone|neftune_\w+)/[\w/]+\.py)`",
        (ROOT / "docs/architecture.md").read_text("utf-8"),
    )
    assert len(named) > 20
    assert [name for name in named if not (ROOT / name).is_file()] == []

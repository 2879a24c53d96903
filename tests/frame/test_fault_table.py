"""Every fault of docs/reliability.md has a test that injects it, or a reason why not.

Run this file as a module to write the table's column of tests.
"""

import ast
import re
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOC = ROOT / "docs" / "reliability.md"
FAULTS = [f"F{number}" for number in range(1, 51)]
ROW = re.compile(
    r"^\| (?P<fault>F\d+) \| (?P<what>[^|]+) \| ?(?P<tests>[^|]*?) ?\|"
    r" (?P<found>[^|]+) \| ?(?P<note>[^|]*?) ?\|$",
    re.MULTILINE,
)
REASON = re.compile(r"not tested: \S+")


def marked() -> dict[str, set[str]]:
    """Find which files inject which fault, by their marks, without importing them."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.fault":
                for argument in node.args:
                    found[ast.literal_eval(argument)].add(path.relative_to(ROOT).as_posix())
    return found


def rows() -> list[re.Match[str]]:
    return list(ROW.finditer(DOC.read_text("utf-8")))


def told(tests: set[str]) -> str:
    return ", ".join(f"`{path.removeprefix('tests/')}`" for path in sorted(tests))


def test_every_fault_has_one_row() -> None:
    assert [row["fault"] for row in rows()] == FAULTS


def test_every_mark_names_a_fault() -> None:
    assert set(marked()) <= set(FAULTS)


def test_the_table_names_the_tests_that_inject_each_fault() -> None:
    by_fault = marked()
    wrong = [row["fault"] for row in rows() if row["tests"].strip() != told(by_fault[row["fault"]])]
    assert not wrong, "run `python -m tests.frame.test_fault_table`"


def test_a_fault_without_a_test_has_a_reason() -> None:
    by_fault = marked()
    silent = [row["fault"] for row in rows() if not by_fault[row["fault"]] and not REASON.search(row["note"])]
    assert silent == []


def test_what_holds_a_promise_is_there() -> None:
    promises = re.findall(r"^\| I\d+ \| [^|]+ \| ([^|]+) \|$", DOC.read_text("utf-8"), re.MULTILINE)
    named = [path for held_by in promises for path in re.findall(r"`([\w/]+\.py)`", held_by)]
    assert len(promises) == 16
    assert [path for path in named if not (ROOT / "tests" / path.removeprefix("tests/")).is_file()] == []


def write() -> None:
    """Bring the column of tests up to date."""
    by_fault = marked()

    def row(match: re.Match[str]) -> str:
        fields = [
            match["what"].strip(),
            told(by_fault[match["fault"]]),
            match["found"].strip(),
            match["note"].strip(),
        ]
        return f"| {match['fault']} | " + " | ".join(fields) + " |"

    DOC.write_text(ROW.sub(row, DOC.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    sys.exit(write())

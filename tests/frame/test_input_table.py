"""Every row of docs/inputs.md names tests that are there and codes that are explained."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROW = re.compile(
    r"^\| (?P<row>B\d+) \| (?P<sent>.+?) \| (?P<answer>.+?) \| ?(?P<tests>[^|]*?) ?\|$", re.MULTILINE
)
ROWS = list(ROW.finditer((ROOT / "docs" / "inputs.md").read_text("utf-8")))
EXPLAINED = set(re.findall(r"`([a-z_]+)`", (ROOT / "docs" / "errors.md").read_text("utf-8")))


def names_in(file: Path) -> set[str]:
    return {
        one.name for one in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(one, ast.FunctionDef)
    }


def test_every_row_is_there_once_and_in_order() -> None:
    assert [row["row"] for row in ROWS] == [f"B{number}" for number in range(1, 86)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["row"])
def test_a_row_is_held_by_tests_that_are_there(row: re.Match[str]) -> None:
    named = re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", row["tests"])
    assert named or "not tested: " in row["answer"]
    for path, test in named:
        file = ROOT / "tests" / path
        assert file.is_file(), path
        assert not test or test in names_in(file), test


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["row"])
def test_the_codes_of_a_row_are_explained(row: re.Match[str]) -> None:
    assert set(re.findall(r"`([a-z]+_[a-z_]+)`", row["answer"])) <= EXPLAINED | {"max_length"}

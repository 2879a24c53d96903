"""Each migration leaves room for the code of the version before, which still runs while it is applied."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from neftune_store.db import MIGRATIONS

FIRST = "0001"
# What somebody has looked at, and why older code bears it.
LOOKED_AT = {
    "0002": "the guard on jobs lets more through than before, and refuses nothing new",
    "0004": "the guard on events refuses changes and removals, which no version makes",
    "0007": "the guard on audit events is on a table that older code does not know",
    "0013": "key and guard are about a column that older code leaves empty",
    "0008": "keys, index and guard are about columns that older code leaves empty",
}
FILES = sorted((MIGRATIONS / "versions").glob("*.py"))


def revision(tree: ast.Module) -> str:
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "revision":
            return str(ast.literal_eval(node.value))
    raise AssertionError("a migration without a revision")


def operations(tree: ast.Module) -> Iterator[ast.Call]:
    (upgrade,) = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "upgrade")
    for node in ast.walk(upgrade):
        if isinstance(node, ast.Call) and ast.unparse(node.func) not in {"op.f", "sa.text"}:
            yield node


def keywords(call: ast.Call) -> dict[str, str]:
    return {each.arg or "**": ast.unparse(each.value) for each in call.keywords}


def bears(call: ast.Call, made: set[str], added: set[str]) -> bool:
    """Tell whether code that knows nothing of this operation goes on as before."""
    name = ast.unparse(call.func)
    match name:
        case "op.execute":
            return str(ast.literal_eval(call.args[0])).startswith("SET LOCAL lock_timeout")
        case "op.create_table":
            return True
        case "op.add_column":
            column = call.args[1]
            assert isinstance(column, ast.Call)
            said = keywords(column)
            return said.get("nullable", "True") == "True" or "server_default" in said
        case "op.create_index":
            unique = keywords(call).get("unique", "False") == "True"
            return not unique or ast.literal_eval(call.args[1]) in made
        case "op.create_check_constraint":  # only about columns that older code leaves empty
            return any(column in ast.unparse(call.args[2]) for column in added)
        case _:
            return not name.startswith(("op.", "_"))


@pytest.mark.fault("F42")
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_migration_only_adds(file: Path) -> None:
    tree = ast.parse(file.read_text("utf-8"))
    if revision(tree) == FIRST:
        return
    calls = list(operations(tree))
    made = {ast.literal_eval(call.args[0]) for call in calls if ast.unparse(call.func) == "op.create_table"}
    added = {
        ast.literal_eval(call.args[1].args[0])
        for call in calls
        if ast.unparse(call.func) == "op.add_column" and isinstance(call.args[1], ast.Call)
    }
    strange = [ast.unparse(call) for call in calls if not bears(call, made, added)]
    assert not strange or revision(tree) in LOOKED_AT, strange


def test_nothing_is_looked_at_in_vain() -> None:
    assert {revision(ast.parse(file.read_text("utf-8"))) for file in FILES} >= set(LOOKED_AT)


@pytest.mark.parametrize(
    "harsh",
    [
        "op.drop_column('jobs', 'name')",
        "op.add_column('jobs', sa.Column('x', sa.Text(), nullable=False))",
        "op.alter_column('jobs', 'name', nullable=False)",
        "op.execute('DROP TABLE runs')",
        "op.create_index('ix', 'jobs', ['name'], unique=True)",
        "op.create_check_constraint('ck', 'jobs', 'alpha < 50')",
        "op.get_bind()",
    ],
)
def test_what_older_code_could_not_bear_is_seen(harsh: str) -> None:
    (call,) = (node.value for node in ast.parse(harsh).body if isinstance(node, ast.Expr))
    assert isinstance(call, ast.Call)
    assert not bears(call, set(), set())

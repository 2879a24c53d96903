"""In what runs differ, field by field: as asked, as resolved, in what they were made from and on."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from neftune_core.report.document import Column, Table
from neftune_core.report.reading import Run, at, flat
from neftune_core.spec import JobSpec

_PARTS = ("spec", "resolved", "model", "dataset", "versions", "hardware")
_LABELS = {"spec.name", "spec.tags", "spec.metadata", "spec.hub_token"}  # decide nothing
_LONGEST = 200


def asked(run: Run) -> Table:
    """Show the fields that were not left as they are by default."""
    default = flat(_defaults())
    rows = [
        {"field": name, "value": shown(value), "default": shown(default.get(name))}
        for name, value in flat(_mapping(at(run.record, "spec"))).items()
        if f"spec.{name}" not in _LABELS and not _equal(value, default.get(name))
    ]
    columns = (
        Column(key="field", title="Field"),
        Column(key="value", title="This run"),
        Column(key="default", title="Default"),
    )
    return Table(title="What was asked, where it is not the default", columns=columns, rows=tuple(rows))


def between(runs: Sequence[tuple[str, Run]]) -> Table:
    """Show in which fields runs differ, and who has which value."""
    fields = [(name, _fields(run)) for name, run in runs]
    names = sorted({field for _, told in fields for field in told})
    rows = [row for field in names for row in _rows(field, fields)]
    columns = (
        Column(key="field", title="Field"),
        Column(key="value", title="Value"),
        Column(key="runs", title="Runs"),
    )
    return Table(title="Where the runs differ", columns=columns, rows=tuple(rows))


def unasked(table: Table) -> tuple[str, ...]:
    """Name the parts that differ though a series changes alpha and seed alone."""
    expected = {"spec.alpha", "spec.training.seed"}
    found = {str(row["field"]) for row in table.rows} - expected
    return tuple(sorted({field.split(".")[0] for field in found}))


def shown(value: Any) -> str:
    """Write a value in one line."""
    try:
        said = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
    except RecursionError:
        return "…"
    return said if len(said) <= _LONGEST else f"{said[: _LONGEST - 1]}…"


def _rows(field: str, fields: Sequence[tuple[str, Mapping[str, Any]]]) -> Iterator[dict[str, str]]:
    by_value: dict[str, list[str]] = {}
    for name, told in fields:
        by_value.setdefault(shown(told.get(field)), []).append(name)
    if len(by_value) > 1:
        for value, names in by_value.items():
            yield {"field": field, "value": value, "runs": ", ".join(names)}


def _fields(run: Run) -> dict[str, Any]:
    told = flat({part: _mapping(at(run.record, part)) for part in _PARTS})
    return {name: value for name, value in told.items() if name not in _LABELS}


def _defaults() -> dict[str, Any]:
    return JobSpec(model="any/model", dataset="any").model_dump(mode="json", exclude={"model", "dataset"})


def _equal(value: Any, default: Any) -> bool:
    return bool(value == default) or (value in (None, [], {}) and default in (None, [], {}))


def _mapping(told: Any) -> Mapping[str, Any]:
    return told if isinstance(told, Mapping) else {}

"""What a valid dataset is told to hold: counts, and what its owner may want to look at."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from neftune_core.rows_look import Tally
from neftune_core.rows_schema import Format

FEW_ROWS = 10  # what OpenAI asks for at least


@dataclass(frozen=True, slots=True)
class DatasetSummary:
    """What a valid dataset holds."""

    format: Format
    rows: int
    bytes: int
    stats: Mapping[str, Any] = field(default_factory=dict)
    warnings: Sequence[Mapping[str, Any]] = ()


def summary(form: Format, size: int, tally: Tally, duplicates: int, bom: bool) -> DatasetSummary:
    """Put the counts of a scan together."""
    stats = {
        "turns": tally.turns,
        "answers": tally.answers,
        "answer_chars": tally.answer_chars,
        "multi_turn": tally.multi_turn,
        "with_tools": tally.with_tools,
        "duplicates": duplicates,
    }
    warnings = tuple(_warnings(tally, duplicates, bom))
    return DatasetSummary(form, tally.rows, size, stats, warnings)


def _warnings(tally: Tally, duplicates: int, bom: bool) -> Iterator[dict[str, Any]]:
    if tally.rows < FEW_ROWS:
        yield _warning("few_rows", tally.rows, "There are few rows; fine-tuning wants more to learn from.")
    if duplicates:
        yield _warning("duplicate_rows", duplicates, "Rows that stood in the file before, byte for byte.")
    if tally.first_turn_answers:
        yield _warning("first_turn_assistant", tally.first_turn_answers, "Rows that begin with an answer.")
    if tally.users_in_sequence:
        yield _warning("users_in_sequence", tally.users_in_sequence, "User turns right after a user turn.")
    if tally.untrained:
        yield _warning("no_trained_turn", tally.untrained, "Rows whose answers all have weight 0; dropped.")
    if bom:
        yield _warning("byte_order_mark", 1, "The file began with a byte order mark, which was left out.")


def _warning(code: str, count: int, msg: str) -> dict[str, Any]:
    return {"code": code, "count": count, "msg": msg}

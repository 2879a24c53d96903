"""What Postgres cannot hold is made harmless before it gets there.

jsonb and text refuse NUL, the wire refuses lone surrogates, JSON has no NaN. Such things come in the
words of a runner (log lines, messages of libraries), and a log line must never fail a job.
"""

import math
from collections.abc import Mapping
from typing import Any

LOG_LINES = 200
LOG_CHARACTERS = 64 * 1024


def clean_text(text: str) -> str:
    """Give the text without NUL and lone surrogates; the replacement sign stands in their place."""
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def clean_json(value: Any) -> Any:
    """Give a JSON value that Postgres takes: cleaned texts, ``None`` for numbers that are not finite."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {clean_text(str(key)): clean_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean_json(item) for item in value]
    return value


def log_tail(text: str) -> str:
    """Keep the end of a log: the last lines, and no more of them than a row should carry."""
    lines = clean_text(text[-2 * LOG_CHARACTERS :]).splitlines()[-LOG_LINES:]
    return "\n".join(lines)[-LOG_CHARACTERS:]

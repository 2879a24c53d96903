"""Answers that are known: one line of JSON each, by the hash of all that was asked.

A line that is half written, because the process died over it, is not known; the next one begins afresh.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from neftune_core.strict_json import JsonFault, loads

_SHARES = (0.0, 0.5, 1.0)


@dataclass(frozen=True, slots=True)
class Known:
    """What a judge thought: the first text's share of the win."""

    share: float
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


def key_of(url: str, body: Mapping[str, Any]) -> str:
    """Name a question by its content: who is asked, and every word of it."""
    asked = json.dumps([url.rstrip("/"), body], sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(asked.encode()).hexdigest()


class Remembered:
    """A file of answers, read once and only ever added to. Without a file, for as long as it lives."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._known: dict[str, Known] = {}
        if path is not None and path.exists():
            for line in path.read_bytes().split(b"\n"):
                if (found := _line(line)) is not None:
                    self._known[found[0]] = found[1]

    def get(self, key: str) -> Known | None:
        """Give what is known."""
        return self._known.get(key)

    def keep(self, key: str, known: Known) -> None:
        """Know it from now on."""
        self._known[key] = known
        if self._path is None:
            return
        line = json.dumps({"key": key, **asdict(known)}).encode()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # One write to the end of the file; the break before it ends a line that another process left open.
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(handle, b"\n" + line + b"\n")
        finally:
            os.close(handle)


def _line(line: bytes) -> tuple[str, Known] | None:
    try:
        value = loads(line) if line else None
    except JsonFault:
        return None
    if (
        not isinstance(value, dict)
        or not isinstance(value.get("key"), str)
        or value.get("share") not in _SHARES
    ):
        return None
    tokens = (value.get(name) for name in ("prompt_tokens", "completion_tokens"))
    return value["key"], Known(
        float(value["share"]), *(one if isinstance(one, int) else None for one in tokens)
    )

"""Finds tokens of well-known services where they do not belong: in specs and in logs, which are shown."""

import re
from collections.abc import Mapping

FOUND = (
    "This looks like a secret. Specs are stored and shown to everyone in the project; take it out, "
    "and revoke it if it is real."
)
_SECRET = re.compile(
    r"\bhf_[A-Za-z0-9]{20,}"  # Hugging Face
    r"|\bsk-[A-Za-z0-9_-]{16,}"  # OpenAI and others
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"  # AWS
    r"|\bgh[pousr]_[A-Za-z0-9]{30,}"  # GitHub
    r"|\bnft_[A-Za-z0-9_-]{43}"  # this service
)
_DEEP_ENOUGH = 8  # no spec that is valid nests as deep


def field_with_secret(spec: Mapping[object, object]) -> str | None:
    """Name the top-level field in which something looks like a secret."""
    for name, value in spec.items():
        if _has_secret(name, 0) or _has_secret(value, 0):
            return str(name) if not _has_secret(name, 0) else ""
    return None


def masked(text: str) -> str:
    """Give the text with a mark in the place of whatever looks like a secret."""
    return _SECRET.sub("[secret]", text)


def _has_secret(value: object, depth: int) -> bool:
    if isinstance(value, str):
        return _SECRET.search(value) is not None
    if depth == _DEEP_ENOUGH:
        return False
    if isinstance(value, Mapping):
        return any(_has_secret(key, depth) or _has_secret(one, depth + 1) for key, one in value.items())
    if isinstance(value, list | tuple):
        return any(_has_secret(one, depth + 1) for one in value)
    return False

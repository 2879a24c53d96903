"""Ids: a readable prefix and a ULID in lowercase Crockford base32.

48 bits of milliseconds make them sort by time; 80 random bits make them unguessable. Needs no help
from the database, so Postgres 15 and 18 serve alike.
"""

import re
import secrets
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_BODY = re.compile(r"[0-7][0-9a-hjkmnp-tv-z]{25}")


def new_id(prefix: str) -> str:
    """Make an id such as ``job_01k…``."""
    number = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    return f"{prefix}_" + "".join(_ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))


def is_id(prefix: str, text: str) -> bool:
    """Tell whether ``text`` could be an id of this kind.

    What could not be one is unknown without asking the database, which cannot even hold some strings (NUL).
    """
    return text.startswith(f"{prefix}_") and _BODY.fullmatch(text, len(prefix) + 1) is not None

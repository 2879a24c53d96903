"""Pages of a list: keyset cursors, opaque to whoever carries them.

A cursor says where to go on, never in which project: the project stands in every WHERE, so a foreign
or forged cursor shows nothing that its bearer could not list anyway.
"""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

from neftune_store.errors import InvalidCursor, InvalidLimit
from neftune_store.ids import is_id

LARGEST = 200

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items, newest first, and where the next page begins (``None``: there is none)."""

    items: tuple[T, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a list ordered by time of creation and id."""

    created_at: datetime
    id: str


def check_limit(limit: int, largest: int = LARGEST) -> int:
    """Give the limit back, or refuse it."""
    if not 1 <= limit <= largest:
        raise InvalidLimit(largest)
    return limit


def encode_cursor(place: Place) -> str:
    """Write a place down for the client."""
    microseconds = round(place.created_at.timestamp() * 1_000_000)
    return base64.urlsafe_b64encode(json.dumps([microseconds, place.id]).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, prefix: str) -> Place:
    """Read a place back; anything this module did not write raises :class:`InvalidCursor`."""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        microseconds, id_ = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        if not isinstance(microseconds, int) or not isinstance(id_, str) or not is_id(prefix, id_):
            raise InvalidCursor
        seconds, rest = divmod(microseconds, 1_000_000)
        return Place(datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest), id_)
    except (ValueError, TypeError, OverflowError, OSError, RecursionError, binascii.Error) as fault:
        raise InvalidCursor from fault


def page_of(items: Sequence[T], places: Sequence[Place], limit: int) -> Page[T]:
    """Cut one page out of ``limit + 1`` items; the one too many says that there is more."""
    if len(items) <= limit:
        return Page(tuple(items), None)
    return Page(tuple(items[:limit]), encode_cursor(places[limit - 1]))

"""Redis as a broker that may hold anything: an entry that is no message is dropped, not obeyed by dying.

kombu raises out of its loop for such an entry, which ends the worker and its run. Only what kombu cannot
read at all ends here; messages go their usual way.
"""

from json import JSONDecodeError
from typing import Any

import structlog
from kombu import transport
from kombu.transport import redis, virtual

log = structlog.get_logger()


class Unreadable(Exception):
    """An entry of the queue is no message."""


class Message(virtual.Message):
    """A message whose frame is what it should be."""

    def __init__(self, payload: Any, channel: Any = None, **options: Any) -> None:
        try:
            super().__init__(payload, channel=channel, **options)  # type: ignore[no-untyped-call]  # as below
            _check(self)
        except (AttributeError, KeyError, TypeError, ValueError) as fault:
            raise Unreadable from fault


def _check(message: Any) -> None:
    for value in (message.headers, message.properties, message.delivery_info):
        if not isinstance(value, dict):
            raise TypeError("no object")
    if not isinstance(message.delivery_tag, str):
        raise TypeError("no tag")


class Channel(redis.Channel):
    """Drops what is no message."""

    Message = Message

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[no-untyped-call]  # kombu has no types
        except (Unreadable, JSONDecodeError):
            log.warning("bell.unreadable")
            return True


class Transport(redis.Transport):
    """kombu's Redis transport with our channel."""

    Channel = Channel


def use_it() -> None:
    """Let every ``redis://`` URL of this process mean this transport."""
    for alias in ("redis", "rediss"):
        transport.TRANSPORT_ALIASES[alias] = f"{__name__}:{Transport.__name__}"

"""Redis as a broker that may hold anything and be gone at any moment, and no worker ends or goes deaf by it.

kombu raises out of its loop for an entry that is no message, which ends the worker and its run; such an
entry is dropped. A message whose receipt could not be sent counts as open for ever, and a worker that may
hold only one hears nothing more; such a message is let go, for a bell that comes again does no harm. And a
worker asks for a Redis that is away again each second, not at growing intervals of up to half a minute.
"""

from json import JSONDecodeError
from typing import Any

import structlog
from celery.app.amqp import AMQP
from kombu import transport
from kombu.connection import Connection
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


class QoS(redis.QoS):
    """Lets go of a message whose receipt could not be sent."""

    def ack(self, delivery_tag: str) -> None:
        """Send a receipt; whoever hears the error finds that the message is not held any more."""
        try:
            super().ack(delivery_tag)  # type: ignore[no-untyped-call]  # kombu has no types
        except Exception:
            virtual.QoS.ack(self, delivery_tag)
            raise


class Channel(redis.Channel):
    """Drops what is no message."""

    Message = Message
    QoS = QoS

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[no-untyped-call]  # kombu has no types
        except (Unreadable, JSONDecodeError):
            log.warning("bell.unreadable")
            return True


class Transport(redis.Transport):
    """kombu's Redis transport with our channel."""

    Channel = Channel


class Steady(Connection):
    """Asks again each second while Redis is away."""

    def ensure_connection(self, *args: Any, **how: Any) -> Any:
        """Connect, however long it takes."""
        every = {"interval_start": 1, "interval_step": 0, "interval_max": 1}
        return super().ensure_connection(*args, **(every | how))  # type: ignore[no-untyped-call]  # as above


class SteadyAMQP(AMQP):  # type: ignore[misc]  # Celery has no types
    """Celery's way to its broker, over such connections."""

    Connection = Steady


def use_it() -> None:
    """Let every ``redis://`` URL of this process mean this transport."""
    for alias in ("redis", "rediss"):
        transport.TRANSPORT_ALIASES[alias] = f"{__name__}:{Transport.__name__}"

"""Bells: "look at the table", never "here is a job".

A bell carries neither an id nor a spec, so a lost, doubled or forged one does no harm. Ring after the
commit and outside the request; the reconciler rings again for whatever waits.
"""

from contextlib import closing
from typing import Any
from uuid import uuid4

from kombu.connection import Connection
from kombu.exceptions import KombuError
from kombu.messaging import Producer
from redis.exceptions import RedisError

from neftune_store.errors import BrokerUnavailable

RUN_NEXT = "neftune.run_next"
QUEUE = "neftune"
BODY = {"v": 1}
VISIBILITY_SECONDS = 60
ANSWER_SECONDS = 1.0  # each thing asked of Redis while ringing is answered within this, or we give up
ENOUGH = 100  # so many bells already wait: one more says nothing new
_OPTIONS = {
    "socket_timeout": ANSWER_SECONDS,
    "socket_connect_timeout": ANSWER_SECONDS,
    "retry_on_timeout": False,
    "max_retries": 0,
}
_FAULTS = (OSError, RedisError, KombuError)


def celery_config(redis_url: str, *, grace_seconds: float) -> dict[str, Any]:
    """Give the configuration of a worker that has ``grace_seconds`` to leave when it is asked to."""
    return {
        "broker_url": redis_url,
        "result_backend": None,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_ignore_result": True,
        "task_store_errors_even_if_ignored": False,
        "task_acks_late": False,
        "task_default_queue": QUEUE,
        "task_create_missing_queues": False,
        "worker_prefetch_multiplier": 1,
        "worker_concurrency": 1,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_soft_shutdown_timeout": max(grace_seconds - 10, 1.0),
        "worker_hijack_root_logger": False,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_transport_options": {
            "socket_timeout": 5,
            "socket_connect_timeout": 2,
            "visibility_timeout": VISIBILITY_SECONDS,
            "health_check_interval": 15,
        },
    }


class Bells:
    """Rings, and keeps its connection: to make one costs ten times as much as to ring.

    A bell goes straight into the queue, without an exchange, so a Redis that was flushed hears it too.
    """

    def __init__(self, broker_url: str) -> None:
        self._broker_url = broker_url
        self._line: Connection | None = None

    def ring(self, times: int = 1) -> None:
        """Ring; raise :class:`BrokerUnavailable` within about 4 seconds."""
        if self._line is not None:
            try:
                _ring(self._line, times)
                return
            except _FAULTS:  # of an old connection that says nothing yet about Redis
                self.close()
        self._line = Connection(self._broker_url, transport_options=_OPTIONS, connect_timeout=ANSWER_SECONDS)
        try:
            _ring(self._line, times)
        except _FAULTS as fault:
            self.close()
            raise BrokerUnavailable from fault

    def close(self) -> None:
        """Let the connection go."""
        if self._line is not None:
            self._line.release()
            self._line = None


def ring(broker_url: str, times: int = 1) -> None:
    """Ring once, on a connection of its own."""
    with closing(Bells(broker_url)) as bells:
        bells.ring(times)


def _ring(line: Connection, times: int) -> None:
    channel = line.default_channel
    waiting = channel.queue_declare(queue=QUEUE, durable=True).message_count
    producer = Producer(channel)
    for _ in range(min(times, ENOUGH - waiting)):
        producer.publish(
            ((), BODY, {}), routing_key=QUEUE, serializer="json", headers=_headers(), retry=False
        )


def _headers() -> dict[str, str | None]:
    return {
        "lang": "py",
        "task": RUN_NEXT,
        "id": str(uuid4()),
        "root_id": None,
        "parent_id": None,
        "group": None,
    }

"""Bells on a real Redis, and on none: heard after a flush, never hanging."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from celery import Celery
from kombu.connection import Connection
from kombu.message import Message

from neftune_store.bells import ENOUGH, QUEUE, RUN_NEXT, Bells, celery_config, ring
from neftune_store.errors import BrokerUnavailable


@pytest.fixture
def broker(redis_url: str) -> Iterator[redis.Redis]:
    """The Redis behind the bell, empty."""
    from standalone.redis import client_url  # noqa: PLC0415 - only here, to speak to it without Celery

    client = redis.Redis.from_url(client_url(redis_url))
    client.flushdb()
    yield client
    client.close()


def hear(redis_url: str, timeout: float = 3) -> Message:
    """The next bell, as a worker's Celery app receives it."""
    heard: list[Message] = []
    app = Celery(set_as_current=False)
    app.conf.update(celery_config(redis_url, grace_seconds=30))
    with app.connection_for_read() as connection:
        queue = app.amqp.queues[QUEUE]
        with connection.Consumer(queue, accept=["json"], on_message=heard.append):
            connection.drain_events(timeout=timeout)
    heard[0].ack()
    return heard[0]


def test_a_ring_reaches_a_consumer_and_says_nothing(broker: redis.Redis, redis_url: str) -> None:
    ring(redis_url)
    message = hear(redis_url)
    assert message.headers["task"] == RUN_NEXT
    args, kwargs, _ = message.decode()
    assert (args, kwargs) == ([], {"v": 1})
    assert message.content_type == "application/json"


def test_a_ring_after_a_flush_reaches_a_consumer_that_was_there_before(
    broker: redis.Redis, redis_url: str
) -> None:
    heard: list[Message] = []
    app = Celery(set_as_current=False)
    app.conf.update(celery_config(redis_url, grace_seconds=30))
    with app.connection_for_read() as connection:
        with connection.Consumer(app.amqp.queues[QUEUE], accept=["json"], on_message=heard.append):
            ring(redis_url)
            connection.drain_events(timeout=3)
            broker.flushdb()
            ring(redis_url)
            connection.drain_events(timeout=3)
        assert len(heard) == 2
        for message in heard:
            message.ack()


def test_a_celery_app_takes_the_configuration(redis_url: str) -> None:
    app = Celery(set_as_current=False)
    app.conf.update(celery_config(redis_url, grace_seconds=30))
    assert app.conf.accept_content == ["json"]
    assert app.conf.task_acks_late is False
    assert app.conf.worker_prefetch_multiplier == 1
    assert app.conf.result_backend is None
    assert app.conf.worker_soft_shutdown_timeout == 20
    assert list(app.amqp.queues) == [QUEUE]


def test_bells_do_not_pile_up(broker: redis.Redis, redis_url: str) -> None:
    for _ in range(ENOUGH + 20):
        ring(redis_url)
    assert broker.llen(QUEUE) == ENOUGH


def test_several_bells_share_a_connection(broker: redis.Redis, redis_url: str) -> None:
    ring(redis_url, 3)
    assert broker.llen(QUEUE) == 3
    ring(redis_url, ENOUGH)
    assert broker.llen(QUEUE) == ENOUGH


def test_a_ring_leaves_no_connection_behind(broker: redis.Redis, redis_url: str) -> None:
    def open_files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    ring(redis_url)
    before = open_files()
    for _ in range(10):
        ring(redis_url)
    assert open_files() == before


def refused_within(url: str, seconds: float) -> None:
    begun = time.monotonic()
    with pytest.raises(BrokerUnavailable):
        ring(url)
    assert time.monotonic() - begun < seconds


def test_a_dead_port_is_told_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens
        refused_within(f"redis://127.0.0.1:{taken.getsockname()[1]}/0", 3)


def test_a_black_hole_is_given_up() -> None:
    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        hole.listen(8)  # accepted by the kernel, answered by nobody
        refused_within(f"redis://127.0.0.1:{hole.getsockname()[1]}/0", 3.5)


def test_a_full_backlog_is_given_up() -> None:
    with contextlib.ExitStack() as sockets:
        hole = sockets.enter_context(socket.socket())
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        for _ in range(3):
            caller = sockets.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(hole.getsockname())
        refused_within(f"redis://127.0.0.1:{hole.getsockname()[1]}/0", 3.5)


@pytest.mark.parametrize("url", ["redis://nowhere.invalid:6379/0", "redis+socket:///nowhere/at/all.sock"])
def test_a_place_that_does_not_exist_is_told(url: str) -> None:
    refused_within(url, 3.5)


def test_a_server_that_speaks_something_else_is_told() -> None:

    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(4)

        def answer() -> None:
            with contextlib.suppress(OSError):
                caller, _ = server.accept()
                caller.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                caller.close()

        threading.Thread(target=answer, daemon=True).start()
        refused_within(f"redis://127.0.0.1:{server.getsockname()[1]}/0", 3.5)


def test_a_ring_needs_no_worker_to_have_been_there(broker: redis.Redis, redis_url: str) -> None:
    assert broker.keys() == []
    ring(redis_url)
    with Connection(redis_url) as connection:
        assert connection.default_channel.queue_declare(QUEUE).message_count == 1


def test_rings_share_a_connection_and_outlive_it(broker: redis.Redis, redis_url: str) -> None:
    # Given bells that have rung twice over one connection
    bells = Bells(redis_url)
    with contextlib.closing(bells):
        bells.ring()
        before = broker.info("stats")["total_connections_received"]
        bells.ring(2)
        assert broker.info("stats")["total_connections_received"] == before
        # When Redis closes it
        broker.client_kill_filter(_type="normal", skipme=True)
        bells.ring()
    # Then the next one is heard all the same, on another
    assert broker.info("stats")["total_connections_received"] > before
    assert broker.llen(QUEUE) == 4

"""Messages from a broker that is not trusted: at most one look at the table, never a command."""

import base64
import json
import pickle
import time
import uuid

import pytest
import redis

from neftune_store.bells import QUEUE, RUN_NEXT
from standalone.redis import client_url
from tests.worker_house import House


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (self.path, "w")


def push(
    house: House, body: bytes, task: str = RUN_NEXT, content_type: str = "application/json", **more: object
) -> None:
    """Lay a message of our making into the queue."""
    message = {
        "body": base64.b64encode(body).decode(),
        "content-encoding": "utf-8",
        "content-type": content_type,
        "headers": {"lang": "py", "task": task, "id": str(uuid.uuid4()), "root_id": None, "parent_id": None}
        | {"group": None, **more},
        "properties": {
            "body_encoding": "base64",
            "delivery_info": {"exchange": "", "routing_key": QUEUE},
            "delivery_tag": str(uuid.uuid4()),
            "delivery_mode": 2,
            "priority": 0,
        },
    }
    redis.from_url(client_url(house.redis_url)).lpush(QUEUE, json.dumps(message))


def test_forged_messages_have_no_effect_and_the_worker_goes_on(busy_house: House) -> None:
    # Given a worker that has done a job
    busy_house.wait(busy_house.submit("steps=1"), "succeeded")
    trap = busy_house.root / "trapped"
    # When messages come that no api of ours sends
    push(
        busy_house, pickle.dumps(((Trap(str(trap)),), {}, {})), content_type="application/x-python-serialize"
    )
    push(busy_house, b"- !!python/object/apply:os.system [touch x]", content_type="application/x-yaml")
    push(busy_house, b"[[], {}, {}]", task="os.system")
    push(busy_house, b'[["job_1", "job_2"], {"spec": {"model": "x"}}, {}]')
    push(busy_house, b'[[], {"v": {"a": [1, 2]}}, {}]')
    push(busy_house, b"{}")
    push(busy_house, b"not json")
    queue = redis.from_url(client_url(busy_house.redis_url))
    for junk in (
        "no message at all",
        "{}",
        "[]",
        "1",
        '{"properties": 1}',
        '{"properties": {}}',
        b"\xff",
        b"",
    ):
        queue.lpush(QUEUE, junk)
    # Then the next job runs as if nothing had been
    done = busy_house.wait(busy_house.submit("steps=1"), "succeeded", "failed")
    assert (done.status, done.attempt) == ("succeeded", 1), busy_house.logs()[-3000:]
    assert not trap.exists()
    assert busy_house.processes[0].poll() is None


@pytest.mark.fault("F16")
def test_a_thousand_bells_are_one_run(busy_house: House) -> None:
    job = busy_house.submit("steps=5 sleep=0.1", rung=False)
    for _ in range(1000):
        push(busy_house, b'[[], {"v": 1}, {}]')
    assert busy_house.wait(job, "succeeded").attempt == 1
    began = time.monotonic()
    assert busy_house.wait(busy_house.submit("steps=1"), "succeeded").attempt == 1
    assert time.monotonic() - began < 20
    assert busy_house.events(job).count("run.started") == 1


def test_a_command_over_the_broker_is_not_heard(busy_house: House) -> None:
    worker = busy_house.processes[0]
    from celery import Celery  # noqa: PLC0415 - only here

    app = Celery(broker=busy_house.redis_url, set_as_current=False)
    app.control.shutdown()
    app.close()
    busy_house.wait(busy_house.submit("steps=1"), "succeeded")
    assert worker.poll() is None

"""What a message from the broker may do: wake the task, and nothing else.

Celery believes a message: its arguments, chains, time limits, dates. A body that is no triple even ends
the worker, and comes back after its restart. A bell carries nothing, so whatever came is replaced by an
empty call before Celery looks at it. Only JSON is a bell; other content types are refused by Celery.
"""

from collections.abc import Callable
from typing import Any

from celery.worker.strategy import default
from kombu.utils.uuid import uuid

JSON = "application/json"
EMPTY_CALL = b"[[], {}, {}]"

Handler = Callable[..., Any]


def strategy(task: Any, app: Any, consumer: Any, **options: Any) -> Handler:
    """Make the handler of one task's messages."""
    handle: Handler = default(task, app, consumer, **options)

    def hear(message: Any, body: Any, *how: Any, **more: Any) -> Any:
        if message.content_type == JSON:
            _empty(message, task.name)
            body = None
        return handle(message, body, *how, **more)

    return hear


def _empty(message: Any, task: str) -> None:
    message.body, message.content_encoding = EMPTY_CALL, "utf-8"
    message._decoded_cache = None  # what was decoded of the old body
    message.headers = {"lang": "py", "task": task, "id": uuid(), "root_id": None, "parent_id": None}
    kept = ("delivery_tag", "delivery_info", "body_encoding")
    message.properties = {key: message.properties[key] for key in kept if key in message.properties}

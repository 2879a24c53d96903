"""Bells: "look at the table", never "here is a job".

A bell carries neither an id nor a spec, so a lost, doubled or forged one does no harm. Ring after the
commit and outside the request; the reconciler rings again for whatever waits.
"""

from typing import Any

RUN_NEXT = "neftune.run_next"
QUEUE = "neftune"
BODY = {"v": 1}
GRACE_SECONDS = 120  # how long a worker that is asked to stop may take
VISIBILITY_SECONDS = 60


def celery_config(redis_url: str, *, grace_seconds: float = GRACE_SECONDS) -> dict[str, Any]:
    """Give the configuration of everything that speaks Celery here."""
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


def ring(broker_url: str) -> None:
    """Ring once, on a connection of its own; raise :class:`BrokerUnavailable` within about 3 seconds.

    A fresh connection declares queue and binding again, so a Redis that was flushed hears it too.
    """
    raise NotImplementedError

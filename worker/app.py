"""The Celery app: a bell that wakes the worker. Made by a function; importing opens nothing."""

from celery import Celery

from neftune_store.bells import celery_config
from worker import tasks
from worker.broker import SteadyAMQP
from worker.claim import Slot
from worker.drain import Drain
from worker.settings import WorkerSettings


def create_app(settings: WorkerSettings, slot: Slot | None = None) -> Celery:
    """Make the app with its one task. The slot's drain has to exist before the pool forks."""
    app = Celery("neftune", set_as_current=False, amqp=SteadyAMQP)
    app.config_from_object(celery_config(settings.redis_url, grace_seconds=settings.grace_seconds))
    app.conf.update(
        worker_enable_remote_control=False,  # whoever reaches Redis may ring, not command
        worker_send_task_events=False,
        worker_log_color=False,
    )
    tasks.register(app, slot or Slot(settings, Drain()))
    return app

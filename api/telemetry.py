"""What is measured for operators: the answers of this process, and the service as its database shows it.

A registry of its own for each app; nothing is kept beyond numbers. Labels are routes, kinds, statuses and
outcomes, of which there are few: never a path, a project, a job or a key, which are other people's words.
"""

import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import get_args

from sqlalchemy import Engine
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from neftune_store.db import unit_of_work
from neftune_store.lifecycle import KINDS, Status
from neftune_store.overview import EndedRun, Overview, ended_lately, overview
from neftune_store.workers import Heard, Kind

_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_ANSWER_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_RUN_S = (10, 30, 60, 300, 900, 3600, 14_400, 43_200, 86_400, 259_200)
_SLACK_S = 60.0  # a run that ended may become visible later than one that ended after it
_REMEMBERED = 100_000  # runs counted lately, lest one is counted twice


class Telemetry:
    """Counts while requests go by, and looks at the database when it is asked."""

    def __init__(self, engine: Engine) -> None:
        from prometheus_client import (  # noqa: PLC0415 - importing the api stays cheap
            CollectorRegistry,
            Counter,
            Gauge,
            Histogram,
            PlatformCollector,
            ProcessCollector,
        )

        self._engine = engine
        self._began = self._looked = time.monotonic()
        self._counted: OrderedDict[str, None] = OrderedDict()
        here = self.registry = CollectorRegistry()
        ProcessCollector(registry=here)
        PlatformCollector(registry=here)
        self._answers = Histogram(
            "neftune_http_answer_seconds",
            "From a request's head to its answer's; a stream counts until it begins.",
            ("method", "route", "status"),
            buckets=_ANSWER_S,
            registry=here,
        )
        self._bodies = Counter(
            "neftune_http_body_bytes", "Bytes of bodies that came in.", ("route",), registry=here
        )
        self._streams = Gauge("neftune_streams_open", "Live streams that clients hold.", registry=here)
        self._up = Gauge("neftune_up", "Whether a dependency answers.", ("dependency",), registry=here)
        self._jobs = Gauge("neftune_jobs", "Jobs that wait or run.", ("kind", "status"), registry=here)
        self._workers = Gauge(
            "neftune_workers",
            "Workers heard within the hour; who is silent for 20 seconds left without a word.",
            ("kind", "state"),
            registry=here,
        )
        self._heartbeats = Gauge(
            "neftune_heartbeat_oldest_seconds",
            "Age of the last heartbeat of the worker that was heard longest ago; 0 where there is none.",
            ("kind",),
            registry=here,
        )
        told = {
            "neftune_queue_oldest_seconds": "How long the oldest queued job has waited.",
            "neftune_lease_shortest_seconds": "What the running job has left that was heard longest ago.",
            "neftune_progress_oldest_seconds": "How long the most silent running job has written no number.",
            "neftune_gpu_memory_bytes": "The most GPU memory that one running job holds.",
            "neftune_webhooks_due": "Deliveries that wait to be heard.",
            "neftune_webhooks_overdue_seconds": "How long the latest of them is overdue.",
        }
        self._gauges = {name: Gauge(name, text, registry=here) for name, text in told.items()}
        self._runs = Histogram(
            "neftune_run_seconds",
            "Attempts that ended since this process began, by how; lost ones are crashes.",
            ("kind", "outcome"),
            buckets=_RUN_S,
            registry=here,
        )
        self._ended = Histogram(
            "neftune_job_seconds",
            "Jobs that runs ended since this process began, from submit to end.",
            ("kind", "status"),
            buckets=_RUN_S,
            registry=here,
        )

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answer."""
        method = method if method in _METHODS else "other"
        self._answers.labels(method, route, f"{status // 100}xx").observe(seconds)

    def received(self, route: str, size: int) -> None:
        """Count what a body brought."""
        self._bodies.labels(route).inc(size)

    def depends(self, told: Mapping[str, str], streams: int) -> None:
        """Take what is up, and how many streams are open."""
        self._streams.set(streams)
        for dependency, state in told.items():
            self._up.labels(dependency).set(state == "up")

    def look(self) -> None:
        """Ask the database, and keep its numbers."""
        began = time.monotonic()
        with unit_of_work(self._engine) as session:
            found = overview(session)
            ended = ended_lately(session, min(began - self._looked + _SLACK_S, began - self._began))
        for run in ended:
            self._count(run)
        self._looked = began
        self._set(found)

    def forget(self) -> None:
        """Show nothing of a database that does not answer: old numbers would look like new ones."""
        for labelled in (self._jobs, self._workers, self._heartbeats):
            labelled.clear()
        for gauge in self._gauges.values():
            gauge.set(float("nan"))

    def text(self) -> bytes:
        """Give all of it in the text format that every scraper reads."""
        from prometheus_client import generate_latest  # noqa: PLC0415 - as above

        return generate_latest(self.registry)

    def _count(self, run: EndedRun) -> None:
        if run.id in self._counted:
            return
        self._counted[run.id] = None
        while len(self._counted) > _REMEMBERED:
            self._counted.popitem(last=False)
        self._runs.labels(run.kind, run.outcome).observe(run.run_s)
        if run.job_s is not None:
            self._ended.labels(run.kind, run.outcome).observe(run.job_s)

    def _set(self, found: Overview) -> None:
        counts = {(one.kind, one.status): one.count for one in found.jobs}
        for kind in KINDS:
            for status in (Status.QUEUED, Status.RUNNING):
                self._jobs.labels(kind, status.value).set(counts.get((kind, status.value), 0))
        heard = {one.kind: one for one in found.workers}
        for kind in get_args(Kind):
            one = heard.get(kind, Heard(kind, 0, 0, 0.0))
            self._workers.labels(kind, "alive").set(one.alive)
            self._workers.labels(kind, "silent").set(one.silent)
            self._heartbeats.labels(kind).set(one.oldest_s)
        nan = float("nan")
        values = {
            "neftune_queue_oldest_seconds": found.oldest_queued_s,
            "neftune_lease_shortest_seconds": nan
            if found.shortest_lease_s is None
            else found.shortest_lease_s,
            "neftune_progress_oldest_seconds": found.longest_silence_s,
            "neftune_gpu_memory_bytes": nan if found.gpu_memory_bytes is None else found.gpu_memory_bytes,
            "neftune_webhooks_due": found.deliveries_due,
            "neftune_webhooks_overdue_seconds": found.oldest_delivery_s,
        }
        for name, value in values.items():
            self._gauges[name].set(value)


class Clocked:
    """Measures each request, by the route that took it."""

    def __init__(self, app: ASGIApp, *, telemetry: Telemetry) -> None:
        self._app = app
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, size = time.perf_counter(), 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            return message

        async def timed(message: Message) -> None:
            if message["type"] == "http.response.start":
                seconds = time.perf_counter() - began
                self._telemetry.answered(scope["method"], _route(scope), message["status"], seconds)
            await send(message)

        try:
            await self._app(scope, counted, timed)
        finally:
            if size:
                self._telemetry.received(_route(scope), size)


def _route(scope: Scope) -> str:
    """Name the route and not the path: a path is the sender's text."""
    return str(getattr(scope.get("route"), "path", "none"))

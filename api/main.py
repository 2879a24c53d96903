"""The app: what it holds while it lives, and which routes it answers.

Importing this opens nothing; :func:`create_app` builds, and only the lifespan connects.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from fastapi import FastAPI
from sqlalchemy import Engine
from starlette.middleware import Middleware

from api import (
    artifacts,
    audit,
    dashboard_files,
    datasets,
    docs_page,
    errors,
    evaluations,
    events,
    exports,
    generate,
    health,
    jobs,
    keys,
    logs,
    metrics,
    models,
    projects,
    queue,
    readouts,
    scrape,
    secrets,
    session,
    stream,
    streams,
    sweep_reports,
    sweeps,
    usage,
    webhooks,
    workers,
)
from api.database import Database
from api.feed import Feeds
from api.keeper import Keeper
from api.listener import Listener, Wakeups
from api.middleware import Envelope, Gate
from api.openai import routes as openai_routes
from api.openapi import describe
from api.rates import Rates
from api.security import WrongKeys
from api.settings import ApiSettings
from api.telemetry import Clocked, Telemetry
from api.verdicts import Verdicts
from neftune_core.catalog import Catalog
from neftune_store.blobs import Blobs
from neftune_store.db import make_engine
from neftune_store.ringer import Ringer
from neftune_store.s3 import SignedUrls
from neftune_store.sealing import Sealer

_STREAM_THREADS = 4
_BESIDE_TURNS = (
    _STREAM_THREADS + 2
)  # connections of those who don't wait for a turn: streams, readiness, metrics

_ROUTERS = (
    datasets.router,
    readouts.router,
    jobs.router,
    exports.router,
    evaluations.router,
    sweep_reports.router,
    sweeps.router,
    queue.router,
    events.router,
    metrics.router,
    stream.router,
    streams.router,
    artifacts.router,
    logs.router,
    models.router,
    generate.router,
    workers.router,
    webhooks.router,
    keys.router,
    projects.router,
    session.router,
    usage.router,
    audit.router,
    secrets.router,
    health.router,
    scrape.router,
    dashboard_files.router,
    *openai_routes.ROUTERS,
)


def create_app(settings: ApiSettings) -> FastAPI:
    """Build the service's web face."""
    telemetry = Telemetry(engine := _engine(settings))
    app = FastAPI(
        title="NEFTune fine-tuning service",
        version="0.1.0",
        lifespan=_lifespan,
        docs_url=None,  # the stock page loads scripts from another host; ours loads nothing
        redoc_url=None,
        openapi_url="/openapi.json" if settings.docs else None,
        redirect_slashes=False,  # a redirect would carry the body nowhere
        middleware=[
            Middleware(Clocked, telemetry=telemetry),
            Middleware(Envelope, stalled_after_s=settings.stalled_reader_s),
            Middleware(Gate, trusted_hosts=settings.hosts(), body_limit=settings.json_body_limit),
        ],
    )
    app.state.telemetry = telemetry
    _equip(app, settings, engine)
    for router in _ROUTERS:
        if settings.metrics or router is not scrape.router:
            app.include_router(router)
    if settings.docs:
        app.include_router(docs_page.router)
    errors.install(app)
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]  # FastAPI's documented way
    return app


def _engine(settings: ApiSettings) -> Engine:
    return make_engine(
        settings.database_url,
        pool_size=settings.database_pool + _BESIDE_TURNS,
        application_name="neftune-api",
        idle_seconds=settings.idle_seconds(),
    )


def _equip(app: FastAPI, settings: ApiSettings, engine: Engine) -> None:
    """Put on the app's state what handlers ask for; nothing is opened yet."""
    state = app.state
    state.settings = settings
    state.engine = engine
    state.database = Database(state.engine, settings.database_pool)
    state.blobs = Blobs.open(settings)
    state.signed_urls = SignedUrls.open(settings, settings.s3_public_endpoint_url)
    state.catalog = Catalog(settings.models_dirs, settings.allowed_models, settings.hub, settings.model_cache)
    state.verdicts = Verdicts(state.database, state.blobs)
    state.sealer = Sealer.of(settings.secret_keys())
    state.ringer = Ringer.of(settings.redis_url)
    state.wrong_keys = WrongKeys(settings.wrong_keys_per_minute)
    state.rates = Rates(settings.rate_per_minute)
    state.wakeups = Wakeups()
    state.stream_slots = stream.StreamSlots(settings.sse_per_key)
    state.answer_slots = stream.StreamSlots(None)  # the queue of who answers bounds them
    state.keeper = Keeper(state.database, [state.stream_slots, state.answer_slots], state.wakeups)
    state.uploads = datasets.UploadSlots(settings.uploads_at_once)
    state.readouts = readouts.ReadoutSlots()
    state.dashboard = dashboard_files.Dashboard()


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    state = app.state
    # Long answers have threads of their own, so that they never keep short ones waiting.
    state.upload_threads = anyio.CapacityLimiter(4)
    state.table_threads = anyio.CapacityLimiter(2)
    state.readout_threads = anyio.CapacityLimiter(readouts.AT_ONCE)
    state.stream_threads = anyio.CapacityLimiter(_STREAM_THREADS)
    state.readiness = health.Readiness(health.checks(state.engine, state.blobs, state.settings.redis_url))
    state.scraping = anyio.Lock()
    state.scrape_threads = anyio.CapacityLimiter(1)
    state.closing = asyncio.Event()
    state.feeds = Feeds(
        state.engine, state.stream_threads, state.wakeups, state.closing, state.settings.sse_poll_seconds
    )
    listener = Listener(state.settings.database_url, state.wakeups)
    listener.start(asyncio.get_running_loop())
    state.ringer.start()
    keeping = asyncio.create_task(state.keeper.run())
    try:
        yield
    finally:
        keeping.cancel()
        listener.close()
        state.ringer.close()
        state.engine.dispose()

"""The HTTP server: uvicorn, with a bound on how long headers may take and streams told of the end."""

import asyncio
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.settings import ApiSettings

_GRACE_S = 10
_QUIET_LIMIT = 512 * 1024  # bytes that bring neither a whole head nor any of a body


class Server(uvicorn.Server):
    """Tells live streams that the process ends, so that they end and a stop need not wait for them."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._api = app

    async def main_loop(self) -> None:
        """Run until asked to stop, then say so."""
        await super().main_loop()
        self._api.state.closing.set()
        self._api.state.wakeups.wake_all()


def serving(app: FastAPI, settings: ApiSettings, **changes: Any) -> Server:
    """Make a server for the app."""
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=protocol(settings.header_timeout_s),
        loop="asyncio",
        ws="none",
        server_header=False,
        # Nobody is believed by default, not even this machine: who names addresses could guess keys for ever.
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies,
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=_GRACE_S,
        **changes,
    )
    return Server(config, app)


def protocol(header_timeout_s: float) -> type[asyncio.Protocol]:
    """Make uvicorn's protocol close connections whose request head does not arrive in time."""

    class Timed(HttpToolsProtocol):
        """uvicorn takes heads and trailers of any size, and waits for them for ever; this does neither."""

        _waiting: asyncio.TimerHandle | None = None
        _quiet_bytes = 0

        def data_received(self, data: bytes) -> None:
            self._quiet_bytes += len(data)
            super().data_received(data)
            if self._quiet_bytes > _QUIET_LIMIT:
                self.transport.close()

        def on_body(self, body: bytes) -> None:
            self._quiet_bytes = 0
            super().on_body(body)

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
            super().connection_made(transport)
            self._wait()

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._wait()

        def on_headers_complete(self) -> None:
            self._stop_waiting()
            super().on_headers_complete()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            super().connection_lost(exc)

        def _wait(self) -> None:
            self._stop_waiting()
            self._quiet_bytes = 0
            self._waiting = self.loop.call_later(header_timeout_s, self.transport.close)

        def _stop_waiting(self) -> None:
            if self._waiting is not None:
                self._waiting.cancel()
                self._waiting = None

    return Timed

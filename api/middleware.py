"""The edge of the app, as plain ASGI: what is refused before a route is looked for.

Request ids and security headers on every answer, malformed hosts and request-smuggling shapes refused,
bodies bounded where no upload is expected, readers that stopped reading let go, and no exception left
without an answer. Knows nothing of jobs or datasets.
"""

import asyncio
import re
import secrets
from collections.abc import MutableMapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import anyio
import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import answer_to
from api.rates import Rate
from api.refusals import BadRequest, BodyTooLarge, HeadTooLarge, UnsupportedMedia

log = structlog.get_logger()

_HOST = re.compile(r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251})|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")

UPLOADS = re.compile(r"/datasets|/v1/files|/v1/uploads/[^/]+/parts")  # large bodies, which bound themselves
HEAD_LIMIT = 64 * 1024  # bytes of all headers together
_LINGER_S = 2.0
_LINGER_BYTES = 64 * 1024 * 1024
_A_YEAR = "max-age=31536000"

SECURITY_HEADERS = {
    "content-security-policy": (
        "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    ),
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
}


class Envelope:
    """Outermost: a request id, security headers, and an answer whatever happens."""

    def __init__(self, app: ASGIApp, *, stalled_after_s: float = 60) -> None:
        self._app = app
        self._stalled_after_s = stalled_after_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(Headers(scope=scope))
        scope.setdefault("state", {}).update(request_id=request_id, by_tls=scope.get("scheme") == "https")
        exchange = _Exchange(receive, send, scope["state"], self._stalled_after_s)
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, exchange.receive, exchange.send)
            except Exception as error:
                if exchange.cut:  # the reader is gone; there is nobody to tell
                    log.info("reader.stalled", route=_route(scope))
                    return
                answer = answer_to(error, request_id, scope["path"])
                if not exchange.started:  # else it is too late for one: the cut connection tells
                    await answer(scope, exchange.receive, exchange.send)


class _Exchange:
    """One request and its answer, watched."""

    def __init__(
        self, receive: Receive, send: Send, state: MutableMapping[str, Any], stalled_after_s: float
    ) -> None:
        self._receive = receive
        self._send = send
        self._state = state
        self._stalled_after_s = stalled_after_s
        self._asked_for_body = self._body_ended = self._refused = False
        self.started = False
        self.cut = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._asked_for_body = True
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self._body_ended = True
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            self._refused = message["status"] >= 400
            _seal(message, self._state)
        elif self._refused and self._asked_for_body and not message.get("more_body", False):
            await self._push({**message, "more_body": True})
            await self._linger()
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._push(message)

    async def _push(self, message: Message) -> None:
        # A reader that stopped reading would hold a thread, a stream slot and its buffers for ever.
        try:
            async with asyncio.timeout(self._stalled_after_s):  # half the price of anyio's, for each message
                await self._send(message)
        except TimeoutError:
            self.cut = True
            raise

    async def _linger(self) -> None:
        """Let a sender whose body was refused midway read the answer before the connection closes.

        Closing on unread bytes resets the connection, and the reset overtakes the answer.
        """
        left = _LINGER_BYTES
        with anyio.move_on_after(_LINGER_S):
            while not self._body_ended and left > 0:
                left -= len((await self.receive()).get("body", b""))


class Gate:
    """Refuses requests whose frame is wrong, whatever the route."""

    def __init__(self, app: ASGIApp, *, trusted_hosts: Sequence[str], body_limit: int) -> None:
        self._app = app
        self._trusted = [host.lower() for host in trusted_hosts]
        self._body_limit = body_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check one request's head, then pass it on."""
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            if sum(len(name) + len(value) for name, value in scope["headers"]) > HEAD_LIMIT:
                raise HeadTooLarge(HEAD_LIMIT)
            self._check_host(headers)
            _check_framing(headers)
            _check_upgrade(headers)
            if not scope.get("query_string", b"").isascii():
                raise BadRequest("Percent-encode what is not ASCII in the query.")
            if not _takes_upload(scope):
                self._check_body(headers)
        await self._app(scope, receive, send)

    def _check_host(self, headers: Headers) -> None:
        hosts = headers.getlist("host")
        match = _HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
        if match is None:
            raise BadRequest("The Host header is missing or malformed.")
        name = match["name"].lower()
        if not any(fnmatchcase(name, pattern) for pattern in self._trusted):
            raise BadRequest("This service does not answer for that host; see TRUSTED_HOSTS.")

    def _check_body(self, headers: Headers) -> None:
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise UnsupportedMedia("Bodies are read uncompressed; leave Content-Encoding out.")
        length = headers.get("content-length", "0")
        if int(length) > self._body_limit:
            raise BodyTooLarge(self._body_limit)


def _check_framing(headers: Headers) -> None:
    lengths, codings = headers.getlist("content-length"), headers.getlist("transfer-encoding")
    if lengths and codings:
        raise BadRequest("Send either Content-Length or Transfer-Encoding, not both.")
    if len(lengths) > 1 or len(codings) > 1:
        raise BadRequest("Content-Length and Transfer-Encoding may be sent once.")
    if codings and codings[0].lower() != "chunked":  # the server would unchunk it and leave the rest coded
        raise BadRequest("The only Transfer-Encoding read here is chunked.")
    if lengths and not (lengths[0].isascii() and lengths[0].isdigit() and len(lengths[0]) <= 18):
        raise BadRequest("Content-Length must be a whole number.")


def _check_upgrade(headers: Headers) -> None:
    """Refuse WebSocket; another offer, such as curl's of h2c, is passed over as HTTP allows."""
    asked = {one.strip().lower() for one in headers.get("upgrade", "").split(",")}
    if any(one.partition("/")[0] == "websocket" for one in asked):
        raise BadRequest("No route here speaks WebSocket; live streams are server-sent events.")


def _takes_upload(scope: Scope) -> bool:
    return scope["method"] == "POST" and UPLOADS.fullmatch(scope["path"]) is not None


def _request_id(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else f"req_{secrets.token_hex(12)}"


def _route(scope: Scope) -> str:
    """Name the route and not the path: a path is the sender's text."""
    return str(getattr(scope.get("route"), "path", "?"))


def _seal(message: Message, state: MutableMapping[str, Any]) -> None:
    headers = MutableHeaders(scope=message)
    headers["x-request-id"] = state["request_id"]
    rate: Rate | None = state.get("rate")
    if rate is not None:
        headers.update(rate.headers())
    for name, value in SECURITY_HEADERS.items():
        headers.setdefault(name, value)
    if state["by_tls"]:  # to us, or to a proxy that we believe
        headers.setdefault("strict-transport-security", _A_YEAR)
    headers.setdefault("cache-control", "no-store")

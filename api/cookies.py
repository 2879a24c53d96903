"""The cookie of a browser that has logged in, and what other sites may not do with it.

A browser sends cookies by itself, also when a page of another site makes it ask. So whatever changes
something must come from a page of this very host, and carry a header that no form can send.
"""

import re
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from api.refusals import ForeignOrigin

OWN_HEADER = "neftune-csrf"
_COOKIE = re.compile(r"[A-Za-z0-9_-]{43}")
_SAFE = {"GET", "HEAD", "OPTIONS"}
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def cookie_of(request: Request) -> str | None:
    """Give what the browser was given at its login, if it was."""
    found = request.cookies.get(_name(request), "")
    return found if _COOKIE.fullmatch(found) else None


def set_cookie(request: Request, response: Response, value: str, seconds: int) -> None:
    """Have the browser keep it: out of reach of scripts, sent only from pages of ours."""
    response.set_cookie(
        _name(request),
        value,
        max_age=seconds,
        path="/",
        secure=_is_secure(request),
        httponly=True,
        samesite="strict",
    )


def drop_cookie(request: Request, response: Response) -> None:
    """Have the browser forget it."""
    set_cookie(request, response, "", 0)


def refuse_foreign(request: Request) -> None:
    """Refuse a change that a page of another origin may have made the browser ask for."""
    if request.method in _SAFE:
        return
    origins = request.headers.getlist("origin")
    sites = request.headers.getlist("sec-fetch-site")
    if len(origins) != 1 or not _is_ours(request, origins[0]) or any(site != "same-origin" for site in sites):
        raise ForeignOrigin
    if not request.headers.get(OWN_HEADER):
        raise ForeignOrigin


def _is_ours(request: Request, origin: str) -> bool:
    """Tell whether a page's origin is the host that was asked; a proxy may have taken TLS off before us."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    if parts.scheme not in _DEFAULT_PORTS or (_is_secure(request) and parts.scheme != "https"):
        return False
    default = _DEFAULT_PORTS[parts.scheme]
    host = request.headers.get("host", "").lower()
    return parts.netloc.lower().removesuffix(default) == host.removesuffix(default) != ""


def _name(request: Request) -> str:
    """Over TLS the name itself makes browsers refuse the cookie from any other host or path."""
    return "__Host-neftune" if _is_secure(request) else "neftune"


def _is_secure(request: Request) -> bool:
    return bool(request.scope["scheme"] == "https")  # `request.url` decodes the query, which may be any bytes

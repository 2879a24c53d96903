"""The dashboard: what `make setup` has built, served as it is under `/app/`.

The page knows the service by its public API alone, so this knows files and nothing of jobs. Whatever names no
file is a place within the page, and gets the page.
"""

import zlib
from pathlib import Path
from typing import NamedTuple

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.exceptions import HTTPException

router = APIRouter()

BUILT = Path(__file__).parent / "dashboard" / "dist"
_ASSETS = "assets/"  # their names hold a hash of what is in them
_WORTH_PACKING = 1024  # bytes
_AS_GZIP = zlib.MAX_WBITS + 16
# Told by us: what a machine believes about them differs, and a script of another type is not run.
_TYPES = {".css": "text/css", ".html": "text/html", ".js": "text/javascript", ".svg": "image/svg+xml"}

# Nothing inline, nothing from elsewhere, and no text that becomes markup.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "form-action 'none'; frame-ancestors 'none'; base-uri 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_PAGE = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-cache",
}
_NOT_BUILT = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>The dashboard is not built</title></head><body>
<h1>The dashboard is not built</h1>
<p>Run <code>make setup</code> where the service's code lies, then load this page again.</p>
<p>Everything else works without it: <a href="/docs">the API</a>.</p>
</body></html>
"""


class File(NamedTuple):
    """A file as it is sent."""

    body: bytes
    packed: bytes | None
    media_type: str


class Dashboard:
    """The built files, read when they are first asked for, and again when they were built again."""

    def __init__(self, built: Path = BUILT) -> None:
        self._built = built
        self._read_at = 0
        self._files: dict[str, File] = {}

    def page(self) -> File | None:
        """Give the page; None while it is not built."""
        try:
            changed = (self._built / "index.html").stat().st_mtime_ns
        except FileNotFoundError:
            return None
        if changed != self._read_at:
            self._files = {
                path.relative_to(self._built).as_posix(): _file(path)
                for path in self._built.rglob("*")
                if path.is_file()
            }
            self._read_at = changed
        return self._files["index.html"]

    def file(self, name: str) -> File | None:
        """Give a file by its name, of those that were there when it was built."""
        return self._files.get(name) if self.page() else None


def lead_to_it(_request: Request) -> RedirectResponse:
    """Lead to the dashboard."""
    return RedirectResponse("/app/", status_code=307)


def give(request: Request) -> Response:
    """Give a file of the dashboard, or the page itself for every place within it."""
    path: str = request.path_params["path"]
    files: Dashboard = request.app.state.dashboard
    page = files.page()
    if page is None:
        return HTMLResponse(_NOT_BUILT, status_code=503, headers={"cache-control": "no-store"})
    if path.startswith(_ASSETS):
        asset = files.file(path)
        if asset is None:  # of a build before this one: the page would be no script
            raise HTTPException(404)
        return _sent(request, asset, {"cache-control": "public, max-age=31536000, immutable"})
    return _sent(request, page, _PAGE)


def _file(path: Path) -> File:
    body = path.read_bytes()
    packed = zlib.compress(body, wbits=_AS_GZIP) if len(body) >= _WORTH_PACKING else None
    return File(body, packed, _TYPES.get(path.suffix, "application/octet-stream"))


def _sent(request: Request, file: File, headers: dict[str, str]) -> Response:
    headers = {**headers, "vary": "accept-encoding"}
    if file.packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
        headers["content-encoding"] = "gzip"
        return Response(file.packed, media_type=file.media_type, headers=headers)
    return Response(file.body, media_type=file.media_type, headers=headers)


# Plain routes: nothing of them is validated or described, and all take GET and HEAD.
for _path, _answer in {"/": lead_to_it, "/app": lead_to_it, "/app/{path:path}": give}.items():
    router.add_route(_path, _answer, methods=["GET"], include_in_schema=False)

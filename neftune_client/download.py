"""An artifact on its way out: goes on where it broke off, and is what its tag says or is not kept.

Bytes arrive in a file beside the target that carries the hash they are to have, so what an earlier try has
left is used if it belongs to the same artifact, and never otherwise.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import httpx

from neftune_client.errors import BadInput, DownloadFailed, Refused, Unreachable
from neftune_client.patience import may_come_back
from neftune_client.wire import Wire

Progress = Callable[[int, int], None]  # bytes so far, bytes in all


@dataclass(frozen=True, slots=True)
class Download:
    """A file that was fetched, with its hash as counted here."""

    path: Path
    bytes: int
    sha256: str


def download(
    wire: Wire, job_id: str, name: str, path: Path, progress: Progress = lambda *_: None
) -> Download:
    """Fetch an artifact whole, or raise; the file appears only once it is known to be right."""
    url = f"/jobs/{quote(job_id, safe='')}/artifacts/{quote(name)}"
    told = wire.send("HEAD", url).headers
    tag, size = told.get("etag", "").strip('"'), int(told.get("content-length", 0))
    if len(tag) != 64:
        raise DownloadFailed(f"{name} comes without its SHA-256, so it can't be checked.")
    part = path.with_name(f"{path.name}.{tag[:16]}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _fetch(wire, url, part, size, progress)
        counted = _sha256(part)
        if counted != tag:
            part.unlink()
            raise DownloadFailed(
                f"{name} arrived with sha256 {counted}; its ETag says {tag}. Nothing was kept."
            )
        part.replace(path)
    except OSError as error:
        raise BadInput(f"{path} can't be written: {error.strerror}.") from error
    return Download(path, size, counted)


def _fetch(wire: Wire, url: str, part: Path, size: int, progress: Progress) -> None:
    """Write to the file until it has its size, going on behind what it has."""
    patience = wire.patience()
    while (have := _size(part)) != size:
        answer = None
        try:
            with _asked(wire, url, have) as answer:
                if not answer.is_success:
                    raise Refused.of(answer)
                _write(answer, part, size, progress)
            trouble: Refused | Unreachable = Unreachable(f"{part.name} ended early.")
        except httpx.TransportError as error:
            trouble = wire.unreachable(error)
        except Refused as refused:
            if answer is None or not may_come_back(answer):
                raise
            trouble = refused
        now = _size(part)
        if now > have:
            patience.renew()
        if now != size and not patience.wait(trouble, answer if isinstance(trouble, Refused) else None):
            raise trouble


def _size(part: Path) -> int:
    """Tell how much is there; less than nothing where there is no file yet."""
    return part.stat().st_size if part.exists() else -1


@contextmanager
def _asked(wire: Wire, url: str, have: int) -> Iterator[httpx.Response]:
    """Ask for what is missing, of the service or of the storage that it points to."""
    headers = {"accept-encoding": "identity"} | ({"range": f"bytes={have}-"} if have > 0 else {})
    with wire.http.stream("GET", url, headers=headers) as answer:
        if not answer.has_redirect_location:
            yield answer
            return
        elsewhere = answer.url.join(answer.headers["location"])
    with httpx.stream("GET", elsewhere, headers=headers, timeout=30.0) as answer:  # without our key
        yield answer


def _write(answer: httpx.Response, part: Path, size: int, progress: Progress) -> None:
    """Add what comes; an answer that is not a part begins at the beginning."""
    with part.open("ab" if answer.status_code == httpx.codes.PARTIAL_CONTENT else "wb") as out:
        for block in answer.iter_raw():
            if out.tell() + len(block) > size:
                raise DownloadFailed(f"{part.name}: more arrives than was announced.")
            out.write(block)
            progress(out.tell(), size)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

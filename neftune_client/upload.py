"""A dataset on its way in: the raw file as the body, with a word on how far it is.

Nothing is kept of a body that ends early, so a broken upload is simply sent again. Only when all of it was
sent and no answer came does nobody know: then the newest datasets are asked whether these very bytes are
there.
"""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import httpx

from neftune_client.errors import BadInput, Refused, Unreachable
from neftune_client.patience import may_come_back
from neftune_client.shapes import Dataset
from neftune_client.wire import Wire, never_arrived

BLOCK = 256 * 1024
_ANSWER_S = 600.0  # the last check and the store's own upload come after the last byte

Progress = Callable[[int, int], None]  # bytes so far, bytes in all


class _Body:
    """A file as it is sent once."""

    def __init__(self, path: Path, progress: Progress) -> None:
        self._path, self._progress = path, progress
        self.size = path.stat().st_size
        self.sent = 0
        self._hash = hashlib.sha256()

    def __iter__(self) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            while block := file.read(BLOCK):
                self._hash.update(block)
                yield block
                self.sent += len(block)
                self._progress(self.sent, self.size)

    def sha256(self) -> str | None:
        """Give the hash of what was sent, if it was all."""
        return self._hash.hexdigest() if self.sent == self.size else None


def upload(wire: Wire, path: Path, name: str | None, progress: Progress = lambda *_: None) -> Dataset:
    """Send a file until it is a dataset, or is refused."""
    patience = wire.patience()
    while True:
        answer, body = None, _opened(path, progress)
        try:
            answer = _sent(wire, body, name or path.name)
            if answer.is_success:
                return cast(Dataset, answer.json())
            trouble: Refused | Unreachable = Refused.of(answer)
            hopeful = may_come_back(answer)
        except httpx.LocalProtocolError as error:
            raise BadInput(f"{path} changed while it was read; send it again when it is whole.") from error
        except httpx.TransportError as error:
            trouble, hopeful = wire.unreachable(error), True
            if not never_arrived(error) and (found := _kept(wire, body, name or path.name)):
                return found
        if not hopeful or not patience.wait(trouble, answer):
            raise trouble


def _opened(path: Path, progress: Progress) -> _Body:
    try:
        with path.open("rb"):
            return _Body(path, progress)
    except OSError as error:
        raise BadInput(f"{path} can't be read: {error.strerror}.") from error


def _sent(wire: Wire, body: _Body, name: str) -> httpx.Response:
    headers = {"content-type": "application/octet-stream", "content-length": str(body.size)}
    return wire.http.post(
        "/datasets",
        params={"name": name},
        content=iter(body),
        headers=headers,
        timeout=httpx.Timeout(60.0, connect=5.0, read=_ANSWER_S),
    )


def _kept(wire: Wire, body: _Body, name: str) -> Dataset | None:
    """Find the dataset that these bytes became, when its answer was lost."""
    digest = body.sha256()
    if digest is None:
        return None
    newest = wire.send("GET", "/datasets", params={"limit": 50}).json()["items"]
    same = (one for one in newest if one["sha256"] == digest and one["name"] == name)
    return cast(Dataset | None, next(same, None))

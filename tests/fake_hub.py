"""A hub on loopback: the few answers the client library asks for, and a note of every question."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """One repository, ``org/name``, with one commit."""

    files: dict[str, bytes]
    token: str | None = None  # asked of everyone when set
    status: int = 200  # of everything, to break it
    lies: bytes | None = None  # sent instead of the weights
    url: str = ""
    asked: list[str] = field(default_factory=list)
    tokens: set[str | None] = field(default_factory=set)


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Answer on a free port of loopback."""

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def log_message(self, *_: object) -> None:
            pass

        def _answer(self) -> None:
            path = unquote(urlsplit(self.path).path)
            token = self.headers.get("Authorization")
            hub.asked.append(f"{self.command} {path}")
            hub.tokens.add(token)
            if hub.status != 200:
                self._send(hub.status, b"{}")
            elif hub.token is not None and token != f"Bearer {hub.token}":
                self._send(401, b"{}", {"X-Error-Code": "GatedRepo", "X-Error-Message": "ask the owner"})
            elif path.startswith("/api/models/org/name"):
                self._model(path)
            elif path.startswith(f"/org/name/resolve/{COMMIT}/"):
                self._file(path.rsplit("/", 1)[1])
            else:
                self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})

        def _model(self, path: str) -> None:
            revision = path.partition("/revision/")[2] or "main"
            if revision not in ("main", "v1", COMMIT):
                self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
                return
            body = {
                "id": "org/name",
                "sha": COMMIT,
                "siblings": [_sibling(*item) for item in hub.files.items()],
            }
            self._send(200, json.dumps(body).encode(), {"Content-Type": "application/json"})

        def _file(self, name: str) -> None:
            if name not in hub.files:
                self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
                return
            data = hub.files[name]
            sent = hub.lies if hub.lies is not None and name.endswith(".safetensors") else data
            etag = f'"{hashlib.sha256(data).hexdigest()}"'
            self._send(200, sent, {"ETag": etag, "X-Repo-Commit": COMMIT, "X-Linked-Etag": etag})

        def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _sibling(name: str, data: bytes) -> dict[str, object]:
    large = {"lfs": {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 1}}
    known = {"rfilename": name, "size": len(data), "blobId": hashlib.sha1(data).hexdigest()}
    return {**known, **(large if name.endswith((".safetensors", ".bin")) else {})}

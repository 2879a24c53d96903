"""An S3 store that can be down, slow, short, absent or lying: a proxy before a real one.

The real one is rclone's server, which checks signatures and keeps objects as files in a folder; the proxy
passes requests on with their own ``Host``, so signatures hold, and spoils what its ``mode`` says.
"""

import contextlib
import http.client
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from standalone.address import free_port

Mode = Literal["pass", "down", "third", "slow", "hang", "short", "wrong", "error_body", "vanish"]
BUCKET = "bucket"
KEYS = ("access-key", "secret-key")
SLOW_BYTES = 64 * 1024  # a second
NO_SUCH_KEY = b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code><Message>none</Message></Error>"
BROKEN = b"<?xml version='1.0'?><Error><Code>InternalError</Code><Message>We broke.</Message></Error>"


class Store:
    """The proxy's switch, and the folder behind it."""

    def __init__(self, port: int, behind: int, folder: Path) -> None:
        self.mode: Mode = "pass"
        self.port, self.behind, self.folder = port, behind, folder
        self.requests = self.refused = self.trickled = 0
        self.over = threading.Event()
        self._lock = threading.Lock()
        self._fresh: set[str] = set()
        self._short: set[str] = set()

    def environ(self, prefix: str) -> dict[str, str]:
        """What a process needs to store here."""
        return {
            "STORAGE_URL": f"s3://{BUCKET}/{prefix}",
            "S3_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ACCESS_KEY_ID": KEYS[0],
            "AWS_SECRET_ACCESS_KEY": KEYS[1],
        }

    def refuses(self) -> bool:
        """Count a request; tell whether it is one that fails."""
        with self._lock:
            self.requests += 1
            no = self.mode == "down" or (self.mode == "third" and self.requests % 3 == 0)
            self.refused += no
            return no

    def stored(self, path: str) -> None:
        """Spoil an object that was just stored, or forget it for a moment."""
        file = self.folder / unquote(urlsplit(path).path).lstrip("/")
        if self.mode == "vanish":
            self._fresh.add(urlsplit(path).path)
        if self.mode == "short":
            self._short.add(urlsplit(path).path)
        if self.mode == "wrong" and file.is_file() and file.stat().st_size:
            data = bytearray(file.read_bytes())
            data[len(data) // 2] ^= 1
            file.write_bytes(data)

    def kept(self, path: str, length: int) -> int:
        """Tell how much of an object there is."""
        return length // 2 if urlsplit(path).path in self._short else length

    def forgets(self, path: str) -> bool:
        """Tell whether an object that was just stored is not to be found yet; only once."""
        key = urlsplit(path).path
        with self._lock:
            if key not in self._fresh:
                return False
            self._fresh.discard(key)
            return True


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store: Store

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        store = self.store
        if store.refuses():
            self._answer(503, b"<Error><Code>SlowDown</Code></Error>")
        elif store.mode == "hang":
            store.over.wait(600)
            self.close_connection = True
        elif self._writes() and store.mode == "error_body":
            self._answer(200, BROKEN)
        elif self.command in ("GET", "HEAD") and store.forgets(self.path):
            self._answer(404, NO_SUCH_KEY)
        else:
            self._pass(body)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = do  # noqa: N815 - the server's names

    def _writes(self) -> bool:
        return self.command == "PUT" or (self.command == "POST" and "uploadId" in self.path)

    def _pass(self, body: bytes) -> None:
        behind = http.client.HTTPConnection("127.0.0.1", self.store.behind, timeout=120)
        behind.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in ("connection", "transfer-encoding"):
                behind.putheader(name, value)
        behind.endheaders(body)
        answer = behind.getresponse()
        data = answer.read()
        behind.close()
        if self.command == "GET":
            data = data[: self.store.kept(self.path, len(data))]
        if answer.status < 300 and self._writes() and "partNumber" not in self.path:
            self.store.stored(self.path)
        self._answer(answer.status, data, answer.getheaders())

    def _answer(self, status: int, data: bytes, headers: list[tuple[str, str]] | None = None) -> None:
        length = len(data)
        self.send_response_only(status)
        for name, value in headers or [("content-type", "application/xml")]:
            if name.lower() == "content-length" and self.command == "HEAD":
                length = self.store.kept(self.path, int(value))
            elif name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("content-length", str(length))
        self.end_headers()
        if self.command == "HEAD":
            return
        with contextlib.suppress(OSError):
            if self.store.mode != "slow":
                self.wfile.write(data)
                return
            for start in range(0, len(data), SLOW_BYTES // 10):
                self.wfile.write(data[start : start + SLOW_BYTES // 10])
                self.store.trickled += 1
                time.sleep(0.1)


@contextlib.contextmanager
def serving(root: Path) -> Iterator[Store]:
    """Run the store over a folder of its own."""
    folder, behind = root / "s3", free_port()
    (folder / BUCKET).mkdir(parents=True)
    command: list[str | Path] = [
        Path(sys.executable).with_name("rclone"),
        *("serve", "s3", folder, "--addr", f"127.0.0.1:{behind}", "--auth-key", ",".join(KEYS)),
        *("--config", root / "none.conf", "--vfs-cache-mode", "off", "-q"),
    ]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", behind), 0.2):
                break
            time.sleep(0.05)
        handler = type("Handler", (_Handler,), {})
        proxy = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        proxy.daemon_threads = True
        store = handler.store = Store(proxy.server_address[1], behind, folder)
        thread = threading.Thread(target=proxy.serve_forever, args=(0.1,), daemon=True)
        thread.start()
        yield store
        store.over.set()
        proxy.shutdown()
        proxy.server_close()
        thread.join()
    finally:
        server.kill()
        server.wait()

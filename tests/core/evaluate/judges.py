"""Judges for tests: real servers on loopback that answer as OpenAI's do, each with its own taste."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from neftune_core.evaluate.judge.asking import Patience
from neftune_core.evaluate.judge.endpoint import Endpoint
from neftune_core.evaluate.judge.judging import Judge
from neftune_core.evaluate.judge_spec import JudgeSpec

LOCAL = ("127.0.0.1",)
_TAGS = re.compile(r"<answer-a-(\w+)>\n(.*)\n</answer-a-\1>.*<answer-b-\1>\n(.*)\n</answer-b-\1>", re.DOTALL)

# Status, body and headers of one answer, or what to say as the answer; None hangs up.
Said = str | tuple[int, bytes, dict[str, str]] | None
Taste = Callable[[str, str], str]


def longer(first: str, second: str) -> str:
    return "A" if len(first) > len(second) else "B" if len(first) < len(second) else "TIE"


def first_always(first: str, second: str) -> str:
    return "A"


def undecided(first: str, second: str) -> str:
    return "TIE"


@dataclass
class Server:
    """A judge, and what it was asked."""

    url: str = ""
    calls: list[dict] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)


@contextmanager
def judging(taste: Taste, trouble: Callable[[int], Said] = lambda _number: "") -> Iterator[Server]:
    """Serve; ``trouble`` may answer call number n (from 1) instead, with "" it does not."""
    server, lock = Server(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                server.calls.append({**asked, "path": self.path})
                server.keys.append(self.headers.get("Authorization"))
                number = len(server.calls)
            said = trouble(number)
            if said == "":
                said = taste(*_TAGS.search(asked["messages"][-1]["content"]).group(2, 3))
            if said is None:
                self.close_connection = True
                return
            status, body, headers = (200, answer(said), {}) if isinstance(said, str) else said
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    server.url = f"http://127.0.0.1:{httpd.server_address[1]}/v1"
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()


def answer(text: object, **more: object) -> bytes:
    """Give the body in which an endpoint says this."""
    usage = {"prompt_tokens": 100, "completion_tokens": 1}
    return json.dumps({"choices": [{"message": {"content": text}}], "usage": usage, **more}).encode()


def judge_at(url: str, *, key: str | None = None, allowed: tuple[str, ...] = LOCAL, **more: object) -> Judge:
    """A judge that is asked without long waits."""
    patience = {"first_wait": 0.001, "longest_wait": 0.002, "give_up": 30.0, **more.pop("patience", {})}
    spec = JudgeSpec(endpoint=url, model="a-judge", **more)
    return Judge(
        spec,
        Endpoint(url, key, allowed, spec.timeout_seconds),
        Patience(spec.concurrency, spec.attempts, **patience),
    )


class Going:
    """A stop signal that never comes."""

    def requested(self) -> bool:
        return False

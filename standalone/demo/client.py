"""The service as any program sees it: plain REST with a key.

Knows httpx and the public contract, nothing of what lies behind it.
"""

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from standalone.errors import DemoFailed

READY_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Download:
    """A file that was fetched, with its hash as counted here."""

    path: Path
    bytes: int
    sha256: str


class Client:
    """Says what the demo wants in requests, and refusals in one plain sentence."""

    def __init__(self, base_url: str, api_key: str) -> None:
        self.http = httpx.Client(
            base_url=base_url,
            headers={"Authorization": f"Bearer {api_key}"},
            timeout=httpx.Timeout(30.0, connect=5.0),
            trust_env=False,  # the service is on this machine: no proxy
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.http.close()

    def wait_ready(self, within_s: float = READY_WITHIN_S) -> None:
        """Wait until the service says that all it depends on is there."""
        end = time.monotonic() + within_s
        while not self._ready():
            if time.monotonic() > end:
                raise DemoFailed(f"{self.http.base_url} was not ready within {within_s:g} s.")
            time.sleep(0.2)

    def upload(self, path: Path, name: str) -> dict[str, Any]:
        """Send a dataset as the raw body of one request."""
        headers = {"Content-Type": "application/octet-stream"}
        return self.ask(
            "POST", "/datasets", content=path.read_bytes(), params={"name": name}, headers=headers
        )

    def submit(self, spec: dict[str, Any]) -> dict[str, Any]:
        """Ask for a job."""
        return self.ask("POST", "/jobs", json=spec)

    def job(self, job_id: str) -> dict[str, Any]:
        """Look at a job."""
        return self.ask("GET", f"/jobs/{job_id}")

    def artifacts(self, job_id: str) -> dict[str, dict[str, Any]]:
        """List what a job has made, by name."""
        listed = self.ask("GET", f"/jobs/{job_id}/artifacts")
        return {item["name"]: item for item in listed["items"]}

    def log(self, job_id: str) -> str:
        """Read the runner's log, or nothing if there is none."""
        try:
            answer = self.http.get(f"/jobs/{job_id}/log")
        except httpx.HTTPError:
            return ""
        return answer.text if answer.is_success else ""

    def download(self, job_id: str, name: str, path: Path) -> Download:
        """Fetch an artifact and check it against its entity tag."""
        counted, size = hashlib.sha256(), 0
        try:
            with self.http.stream("GET", f"/jobs/{job_id}/artifacts/{name}?via=api") as answer:
                _refuse(answer)
                with path.open("wb") as out:
                    for chunk in answer.iter_bytes():
                        counted.update(chunk)
                        size += out.write(chunk)
                tag = answer.headers.get("etag", "").strip('"')
        except httpx.HTTPError as error:
            raise DemoFailed(f"The download of {name} broke off: {error}") from error
        if counted.hexdigest() != tag:
            raise DemoFailed(f"{name} arrived with sha256 {counted.hexdigest()}; its ETag says {tag}.")
        return Download(path, size, counted.hexdigest())

    def ask(self, method: str, url: str, **request: Any) -> dict[str, Any]:
        """Send a request and give its JSON; anything but success ends the demo."""
        try:
            answer = self.http.request(method, url, **request)
        except httpx.HTTPError as error:
            raise DemoFailed(f"{method} {url}: {error or type(error).__name__}") from error
        _refuse(answer)
        told: dict[str, Any] = answer.json()
        return told

    def _ready(self) -> bool:
        try:
            return self.http.get("/readyz", timeout=5.0).is_success
        except httpx.HTTPError:
            return False


def _refuse(answer: httpx.Response) -> None:
    """Raise with what the problem details say, and with each fault they list."""
    if answer.is_success:
        return
    answer.read()
    lines = [f"{answer.request.method} {answer.request.url.path} was answered with {answer.status_code}."]
    try:
        problem = answer.json()
        lines.append(f"{problem['code']}: {problem['detail']}")
        lines += [
            f"  {fault.get('loc') or fault.get('line')}: {fault['msg']}"
            for fault in problem.get("errors", [])
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        lines.append(answer.text[:500])
    raise DemoFailed("\n".join(lines))

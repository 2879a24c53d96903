"""Where a run's base model lies: among the operator's folders, in the cache, or on the hub.

Asked under the lease, before the runner starts. What the hub gives comes through the fetcher, a child
that alone holds the hub's token; this module never speaks to a hub.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from neftune_core.catalog import Catalog, inspect_model
from neftune_core.errors import ModelDownload, ModelNotAvailable
from worker.errors import ModelRefused
from worker.inputs import Check
from worker.pipe import read_block
from worker.settings import WorkerSettings

Tell = Callable[[str, dict[str, object]], None]

# What the fetcher needs to reach a hub, also through a proxy with a certificate of the house.
PASSED_ON = (
    *("PATH", "LANG", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"),
)
LONGEST_LINE = 64 * 1024


@dataclass(frozen=True, slots=True)
class Wanted:
    """A base model, and with whose token it is asked for."""

    model: str
    revision: str | None
    owner: str | None = None  # the project whose token it is; None: the operator's, for everybody
    token: Callable[[], str] | None = None  # asked for only where something has to be fetched


def model_folder(wanted: Wanted, settings: WorkerSettings, tell: Tell, check: Check) -> Path:
    """Give the local folder of the job's model, fetching it if that is allowed and needed."""
    model, revision = wanted.model, wanted.revision
    cache = _cache(wanted, settings)
    catalog = Catalog(settings.models_dirs, settings.allowed_models, settings.hub, cache)
    found = catalog.find(model, revision) if catalog.allowed(model) else None
    if found is None:
        catalog.check(model, revision)  # refuses what may not be fetched
        found = _fetched(wanted, cache, settings, tell, check)
    inspect_model(found)
    return found


def _cache(wanted: Wanted, settings: WorkerSettings) -> Path | None:
    """What a project may read with its own token is not for the others: it has a cache of its own."""
    if settings.model_cache is None or wanted.owner is None:
        return settings.model_cache
    return settings.model_cache / "projects" / wanted.owner


def _fetched(wanted: Wanted, cache: Path | None, settings: WorkerSettings, tell: Tell, check: Check) -> Path:
    model, revision = wanted.model, wanted.revision
    if not settings.hub or cache is None:
        raise ModelNotAvailable(f"{model} is not at hand and no hub may be asked; see GET /models.")
    environ = _environment(settings, None if wanted.token is None else wanted.token())
    tell("model.fetching", {"model": model, "revision": revision})
    command = [sys.executable, "-m", "worker.fetch", model, str(cache)]
    child = subprocess.Popen(  # noqa: S603 - our own module, arguments checked by JobSpec
        command if revision is None else [*command, "--revision", revision],
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # a library's traceback may hold a signed URL
        start_new_session=True,
    )
    try:
        last = _listen(child, settings.model_fetch_seconds, tell, check)
    finally:
        child.kill()
        child.wait()
    return _outcome(last, tell)


def _listen(
    child: "subprocess.Popen[bytes]", longest: float, tell: Tell, check: Check
) -> Mapping[str, Any] | None:
    """Pass the fetcher's progress on; give its last line."""
    if child.stdout is None:  # for the type checker: stdout=PIPE makes it a file
        return None
    deadline = time.monotonic() + longest
    last: Mapping[str, Any] | None = None
    for line in _lines(child.stdout, lambda: _is_over(check, deadline)):
        last = json.loads(line)
        if last is not None and "bytes_done" in last:
            tell("model.fetching", dict(last))
    return last


def _is_over(check: Check, deadline: float) -> bool:
    check()
    if time.monotonic() > deadline:
        raise ModelDownload("The model took too long to come; try again or place it in a models folder.")
    return False


def _lines(source: IO[bytes], closed: Callable[[], bool]) -> Iterator[bytes]:
    line = b""
    while block := read_block(source, closed):
        *whole, line = (line + block).split(b"\n")
        yield from whole
        if len(line) > LONGEST_LINE:
            raise ModelDownload("The fetcher spoke without end.")


def _outcome(last: Mapping[str, Any] | None, tell: Tell) -> Path:
    if last is None or "code" in last:
        code = "model_download" if last is None else str(last["code"])
        message = "The fetcher ended without a word." if last is None else str(last["message"])
        if last is None or last.get("retryable"):
            raise ModelDownload(message)
        raise ModelRefused(code, message)
    tell("model.fetched", {key: last[key] for key in ("model", "commit", "bytes")})
    return Path(last["path"])


def _environment(settings: WorkerSettings, given: str | None) -> dict[str, str]:
    """The fetcher holds one token for the hub, the job's or the operator's, and no other secret."""
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    operators = None if settings.hf_token is None else settings.hf_token.get_secret_value()
    held = given or operators
    token = {} if held is None else {"HF_TOKEN": held}
    endpoint = {} if settings.hf_endpoint is None else {"HF_ENDPOINT": settings.hf_endpoint}
    return {"PATH": os.defpath, **passed, **token, **endpoint}

"""The service in words of the domain, for scripts and for the command line alike.

    from neftune_client import Client

    with Client() as client:
        dataset = client.upload("rows.jsonl")
        job = client.submit({"model": "neftune/demo-base", "dataset": dataset["id"], "alpha": 5})
        for message in client.follow(job["id"]):
            print(message.kind, message.data)
        client.download(job["id"], "adapter", "adapter.tar")

Answers are the service's own documents. What goes wrong is a :class:`neftune_client.errors.ClientError`.
"""

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, cast

import httpx

from neftune_client import answers, config, stream
from neftune_client.config import Access
from neftune_client.download import Download, Progress, download
from neftune_client.errors import ClientError, Refused, Unreachable
from neftune_client.patience import Pause, Tell, silent
from neftune_client.shapes import Artifact, Dataset, Job, Key, NewKey
from neftune_client.stream import Message
from neftune_client.upload import upload
from neftune_client.wire import PATIENCE_S, Wire

Answer = dict[str, Any]
Place = str | PathLike[str]
_READY_WITHIN_S = 60.0


def quiet(_done: int, _all: int) -> None:
    """Show no progress."""


class Client:
    """A service, and the key that opens one of its projects.

    Without an address and a key it finds them as the command line does: in NEFTUNE_URL and NEFTUNE_API_KEY,
    in what ``neftune login`` wrote, or from a service that runs on this machine. ``tell`` hears when it tries
    again.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        patience_s: float = PATIENCE_S,
        tell: Tell = silent,
        pause: Pause = time.sleep,
    ) -> None:
        access = Access(url, key, "the caller") if url and key else config.find()
        self.wire = Wire(access, patience_s=patience_s, tell=tell, pause=pause)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wire.close()

    # datasets

    def upload(self, path: Place, name: str | None = None, progress: Progress = quiet) -> Dataset:
        """Send a file of rows; its faults come as :class:`Refused`, by line."""
        return upload(self.wire, Path(path), name, progress)

    def datasets(self, **wanted: Any) -> Iterator[Dataset]:
        """Walk through the datasets, newest first."""
        return cast(Iterator[Dataset], self._pages("/datasets", wanted))

    def dataset(self, dataset_id: str) -> Dataset:
        """Look at a dataset."""
        return cast(Dataset, self.get(f"/datasets/{dataset_id}"))

    def preview(self, dataset_id: str, **wanted: Any) -> Answer:
        """Show rows as a model will see them."""
        return self.get(f"/datasets/{dataset_id}/preview", **wanted)

    def delete_dataset(self, dataset_id: str) -> None:
        """Forget a dataset that no job needs."""
        self.wire.send("DELETE", f"/datasets/{dataset_id}")

    # jobs

    def submit(self, spec: Mapping[str, Any], *, key: str | None = None) -> Job:
        """Ask for a job, once, however often it has to be sent; the same ``key`` gives the same job."""
        return cast(Job, self._keyed("/jobs", dict(spec), key))

    def dry_run(self, spec: Mapping[str, Any]) -> Answer:
        """Check a spec, and tell what the job would take."""
        return self._post("/jobs", json=dict(spec), params={"dry_run": "true"})

    def jobs(self, **filters: Any) -> Iterator[Job]:
        """Walk through the jobs that fit all the filters, newest first."""
        return cast(Iterator[Job], self._pages("/jobs", filters))

    def job(self, job_id: str) -> Job:
        """Look at a job."""
        return cast(Job, self.get(f"/jobs/{job_id}"))

    def intend(self, job_id: str, what: Literal["cancel", "pause", "resume"]) -> Job:
        """Say what shall become of a job, or of a series by its id; said twice is said once."""
        kind = "sweeps" if job_id.startswith("swp_") else "jobs"
        return cast(Job, self._post(f"/{kind}/{job_id}/{what}"))

    def retry(self, job_id: str, *, key: str | None = None) -> Job:
        """Try a failed or cancelled job again, from its last checkpoint."""
        return cast(Job, self._keyed(f"/jobs/{job_id}/retry", None, key))

    def clone(self, job_id: str, changes: Mapping[str, Any] | None = None, *, key: str | None = None) -> Job:
        """Submit a job's spec again, with changes, from the beginning."""
        return cast(Job, self._keyed(f"/jobs/{job_id}/clone", dict(changes or {}), key))

    def follow(self, *job_ids: str, stopping: Callable[[], bool] = lambda: False) -> Iterator[Message]:
        """Give everything that happens to the jobs, once and in order, until all have ended."""
        return stream.follow(self.wire, job_ids, stopping)

    def events(self, job_id: str, **wanted: Any) -> Answer:
        """List the facts about a job."""
        return self.get(f"/jobs/{job_id}/events", **wanted)

    def metrics(self, job_id: str, **wanted: Any) -> dict[str, list[list[float]]]:
        """Give the curves of a job as lists of step and value."""
        return cast(dict[str, list[list[float]]], self.get(f"/jobs/{job_id}/metrics", **wanted)["series"])

    def record(self, job_id: str) -> Answer:
        """Give the frozen record of a run."""
        return self.get(f"/jobs/{job_id}/record")

    def log(self, job_id: str) -> str:
        """Read the runner's log."""
        return self.wire.send("GET", f"/jobs/{job_id}/log").text

    def log_as_it_grows(self, job_id: str) -> Iterator[str]:
        """Read the runner's log while it is written, until the job has ended."""
        path, silent_for_long = f"/jobs/{job_id}/log", httpx.Timeout(30.0, read=None)
        try:
            with self.wire.http.stream(
                "GET", path, params={"follow": "true"}, timeout=silent_for_long
            ) as answer:
                if not answer.is_success:
                    raise Refused.of(answer)
                yield from answer.iter_text()
        except httpx.TransportError as error:
            raise self.wire.unreachable(error) from error

    # series

    def submit_sweep(self, spec: Mapping[str, Any], *, key: str | None = None) -> Answer:
        """Ask for one job at several alphas and seeds; the same ``key`` gives the same series."""
        return self._keyed("/sweeps", dict(spec), key)

    def sweeps(self, **wanted: Any) -> Iterator[Answer]:
        """Walk through the series, newest first."""
        return cast(Iterator[Answer], self._pages("/sweeps", wanted))

    def sweep(self, sweep_id: str) -> Answer:
        """Look at a series, its results and its verdict."""
        return self.get(f"/sweeps/{sweep_id}")

    # results

    def artifacts(self, job_id: str) -> dict[str, Artifact]:
        """List what a job has made, by name."""
        return {one["name"]: one for one in self.get(f"/jobs/{job_id}/artifacts")["items"]}

    def download(self, job_id: str, name: str, path: Place, progress: Progress = quiet) -> Download:
        """Fetch an artifact and check it; a download that broke off goes on."""
        return download(self.wire, job_id, name, Path(path), progress)

    def ask(self, question: Mapping[str, Any]) -> Iterator[Message]:
        """Put a question (the body of ``POST /generate``); give the answer as it is said.

        Letting go of the iterator ends the answer.
        """
        return answers.answers(self.wire, question)

    # keys, for those that hold the scope admin

    def keys(self) -> Iterator[Key]:
        """Walk through the project's keys, newest first."""
        return cast(Iterator[Key], self._pages("/keys", {}))

    def make_key(self, name: str, scopes: Sequence[str], expires_at: str | None = None) -> NewKey:
        """Make a key. It is asked for once: twice would make two."""
        body = {"name": name, "scopes": list(scopes), "expires_at": expires_at}
        return cast(NewKey, _document(self.wire.send("POST", "/keys", json=body)))

    def revoke_key(self, key_id: str, *, even_last_admin: bool = False) -> None:
        """Close a key for ever."""
        query = {"even_last_admin": "true"} if even_last_admin else {}
        self.wire.send("DELETE", f"/keys/{key_id}", params=query)

    # the service

    def models(self) -> list[str]:
        """List the base models at hand."""
        return [one["id"] for one in self.get("/models")["items"]]

    def wait_ready(self, within_s: float = _READY_WITHIN_S) -> None:
        """Wait until the service says that all it depends on is there."""
        end = time.monotonic() + within_s
        while not self._ready():
            if time.monotonic() > end:
                raise Unreachable(f"{self.wire.access.url} was not ready within {within_s:g} s.")
            self.wire.pause(0.2)

    def get(self, path: str, **query: Any) -> Answer:
        """Ask for a document; what is None is not asked for."""
        return _document(self.wire.send("GET", path, params=_told(query)))

    def _ready(self) -> bool:
        try:
            return self.wire.http.get("/readyz", timeout=5.0).is_success
        except httpx.HTTPError:
            return False

    def _post(self, path: str, **request: Any) -> Answer:
        """Ask for what may be asked for twice."""
        return _document(self.wire.send("POST", path, again=True, **request))

    def _keyed(self, path: str, body: Answer | None, key: str | None) -> Answer:
        headers = {"idempotency-key": key or f"neftune-{secrets.token_hex(16)}"}
        return self._post(path, headers=headers, **({} if body is None else {"json": body}))

    def _pages(self, path: str, query: Mapping[str, Any]) -> Iterator[Any]:
        cursor: str | None = None
        while True:
            page = self.get(path, **query, cursor=cursor)
            yield from page["items"]
            if (cursor := page["next"]) is None:
                return


def _told(query: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in query.items() if value is not None}


def _document(answer: httpx.Response) -> Answer:
    try:
        told = answer.json()
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise ClientError(
            f"{answer.request.url} answered with something else than a document of this service."
        )
    return told

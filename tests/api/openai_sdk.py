"""The official SDK as it is, told where our api listens, and what tests say through it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from openai import DefaultHttpxClient, OpenAI
from openai.types import FileObject
from openai.types.fine_tuning import FineTuningJob

from tests.api.live_api import MODEL, Service, rows

CHAT = b"".join(
    json.dumps(
        {
            "messages": [
                {"role": "user", "content": f"Say {number}."},
                {"role": "assistant", "content": f"It is {number}."},
            ]
        }
    ).encode()
    + b"\n"
    for number in range(12)
)


@contextmanager
def sdk(url: str, key: str, **more: Any) -> Iterator[OpenAI]:
    """A client of the service; repeats nothing by itself unless told to."""
    # No certificates to read for each client: nothing here speaks TLS.
    given = {"max_retries": 0, "http_client": DefaultHttpxClient(trust_env=False, verify=False), **more}
    with OpenAI(base_url=f"{url}/v1", api_key=key, **given) as client:
        yield client


def key_of(client: httpx.Client) -> str:
    """The key that a native client holds."""
    return str(client.headers["authorization"]).removeprefix("Bearer ")


def put(ai: OpenAI, data: bytes | None = None, name: str = "rows.jsonl") -> FileObject:
    """Upload a file to train on."""
    return ai.files.create(file=(name, data if data is not None else rows()), purpose="fine-tune")


def create(ai: OpenAI, file: str | None = None, **more: Any) -> FineTuningJob:
    """Create a job, with a file of its own."""
    return ai.fine_tuning.jobs.create(model=MODEL, training_file=file or put(ai).id, **more)


def native_id(job: FineTuningJob) -> dict[str, Any]:
    """The job as the tests of the native surface pass it around."""
    return {"id": job.id.replace("ftjob-", "job_")}


def service_key(service: Service) -> str:
    """A key of a new project."""
    return service.key()

"""The official SDK against a whole service of processes: the docs as they stand, and a real run."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from tests.standalone.instance import Instance, running
from tests.standalone.processes import ROOT, eventually

EXAMPLES = re.findall(
    r"^```python\n(.*?)^```$", (ROOT / "docs/openai.md").read_text(), re.MULTILINE | re.DOTALL
)


@contextmanager
def receiver() -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    """Somebody who is told; what they hear."""
    heard: list[tuple[dict[str, str], bytes]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            heard.append((dict(self.headers.items()), body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Hook) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/hook", heard
        finally:
            server.shutdown()
            thread.join()


def run_the_docs(service: Instance, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Execute the examples one after the other, as a reader would."""
    monkeypatch.setenv("NEFTUNE_URL", f"http://127.0.0.1:{service.port}")
    monkeypatch.setenv("NEFTUNE_API_KEY", service.key)
    monkeypatch.chdir(ROOT)
    names: dict[str, Any] = {}
    for number, example in enumerate(EXAMPLES):
        exec(compile(example, f"docs/openai.md, example {number + 1}", "exec"), names)
    return names


def test_the_docs_run_as_they_stand_and_the_end_is_told(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with receiver() as (hook, heard), running(home, WEBHOOK_ALLOW="127.0.0.1") as service:
        with service.client() as native:
            secret = native.post("/webhooks", json={"url": hook}).json()["secret"]
        # When the examples are run: upload, job, pause, resume, a real run, events, results, models
        names = run_the_docs(service, monkeypatch)
        client: OpenAI = names["client"]
        try:
            # Then the job has trained, though it was paused in between
            job = names["job"]
            assert (job.status, job.hyperparameters.learning_rate_multiplier) == ("succeeded", 10.0)
            assert job.trained_tokens > 0
            said = capsys.readouterr().out
            table = [line.split(",") for line in said.splitlines() if line.startswith(("step,", "4,"))]
            found = dict(zip(*table, strict=True))
            assert float(found["train_loss"]) > 0
            assert 0 <= float(found["train_accuracy"]) <= 1
            assert ":ckpt-step-4" in said
            assert "fine-tune" not in [
                file.purpose for file in client.files.list(purpose="fine-tune-results")
            ]

            # and whoever asked to be told can trust what they hear
            def of_the_job() -> list[str]:  # the jobs of the series are told of too, in any order
                return [body for _headers, body in heard if json.loads(body)["data"]["job"] == job.native_id]

            assert eventually(of_the_job, 30)
            events = [client.webhooks.unwrap(body, headers, secret=secret) for headers, body in list(heard)]
            assert ("fine_tuning.job.succeeded", job.id) in [(one.type, one.data.id) for one in events]  # type: ignore[union-attr]  # events of jobs
        finally:
            client.close()


def test_every_call_of_the_sdk_that_is_served_is_shown() -> None:
    shown = "".join(EXAMPLES)
    for call in (
        *("files.create", "files.wait_for_processing", "files.content", "files.delete"),
        "uploads.upload_file_chunked",
        *("jobs.create", "jobs.list", "jobs.pause", "jobs.resume", "jobs.retrieve", "jobs.list_events"),
        *("chat.completions.create", "client.completions.create"),
        *("checkpoints.list", "models.list", "models.retrieve", "models.delete"),
    ):
        assert f"{call}(" in shown

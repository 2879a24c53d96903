"""The main job over HTTP on the running standalone service: rows in, adapter out, loaded in plain PEFT.

With NEFTUNE_TEST_DATA the rows are real files, uploaded as they are; without it, generated rows of the
same shapes.
"""

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from neftune_core.__main__ import main as command_line
from tests.api.openai_sdk import sdk
from tests.e2e import rows
from tests.standalone.instance import Instance, running

MODEL = "neftune/demo-base"
BASE = Path(__file__).resolve().parents[2] / "standalone" / "models" / "neftune" / "demo-base"
FEW = {"max_steps": 3, "batch_size": 4, "max_length": 256, "eval_every": 3}


@pytest.fixture(scope="module")
def service() -> Iterator[Instance]:
    home = Path(tempfile.mkdtemp(prefix="neftune-e2e-"))
    with running(home) as instance:
        yield instance
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def client(service: Instance) -> Iterator[httpx.Client]:
    with service.client() as opened:
        yield opened


def tune(
    client: httpx.Client, body: bytes, meanwhile: Callable[[dict], None] = lambda _: None, **spec: object
) -> dict:
    """Upload the rows, run a job on them to its end, give the job."""
    uploaded = client.post("/datasets", content=body)
    assert uploaded.status_code == 201, uploaded.text
    asked = {"model": MODEL, "dataset": uploaded.json()["id"], "alpha": 5, **spec}
    submitted = client.post("/jobs", json=asked)
    assert submitted.status_code == 201, submitted.text
    job = submitted.json()
    meanwhile(job)
    job = ended_well(client, job)
    was_run_as_asked(client, job, asked, uploaded.json()["sha256"])
    return job


def ended_well(client: httpx.Client, job: dict) -> dict:
    """Wait for the job's end, which has to be a good one."""
    end = time.monotonic() + 240
    while job["status"] in {"queued", "running"} and time.monotonic() < end:
        time.sleep(0.3)
        job = client.get(f"/jobs/{job['id']}").json()
    assert job["status"] == "succeeded", (job["error"], client.get(f"/jobs/{job['id']}/log").text)
    return job


def merges_into_what_base_and_adapter_compute(client: httpx.Client, job: dict, adapter: Path) -> dict:
    """Have it merged, load that as anybody would, and hold it against adapter and base in full precision.

    Gives what plain libraries compute for the record's own probe.
    """
    asked = client.post(f"/jobs/{job['id']}/export", json={"kind": "merged"})
    assert asked.status_code == 201, asked.text
    export = ended_well(client, asked.json())
    proof = client.get(f"/jobs/{export['id']}/record").json()["proof"]
    assert proof["stored_difference"] <= proof["stored_tolerance"]
    into = adapter.parent / "exported"
    merged = download(client, job, "merged", into)
    assert {path.suffix for path in merged.iterdir()} == {".json", ".safetensors", ".jinja", ".md"}
    record = client.get(f"/jobs/{job['id']}/record").json()
    full = {"probe": {**record["probe"], "dtype": "float32", "quantization": None}}
    apart, plain, as_trained = in_plain_peft(
        into, (full, BASE, adapter), (full, merged, None), (record, BASE, adapter)
    )
    assert plain["ours"] == []
    assert plain["base"] == pytest.approx(apart["tuned"], abs=1e-5)
    assert plain["base"] != pytest.approx(apart["base"], abs=1e-2)
    again = client.post(f"/jobs/{job['id']}/export", json={"kind": "merged"})
    assert (again.status_code, again.json()["id"]) == (200, export["id"])
    return as_trained


def was_run_as_asked(client: httpx.Client, job: dict, asked: dict, sha256: str) -> None:
    """Hold the record against what went in and what came out."""
    record = client.get(f"/jobs/{job['id']}/record").json()
    assert record["spec"] == job["spec"]
    assert record["spec"]["alpha"] == asked["alpha"]
    assert record["noise"]["effective_alpha"] == pytest.approx(asked["alpha"], rel=0.03)
    assert record["dataset"]["sha256"] == sha256
    kind = record["artifact"]["name"]
    out = {one["name"]: one["sha256"] for one in job["artifacts"]}
    assert record["artifact"]["files"].items() <= {
        (name.removeprefix(f"{kind}/"), digest) for name, digest in out.items()
    }


def series(client: httpx.Client, job: dict, key: str) -> list[float]:
    answer = client.get(f"/jobs/{job['id']}/metrics", params={"keys": key}).json()
    return [value for _step, value in answer["series"][key]]


def download(client: httpx.Client, job: dict, name: str, into: Path) -> Path:
    """Download a tar, check it against its hash, unpack it."""
    answer = client.get(f"/jobs/{job['id']}/artifacts/{name}")
    assert answer.status_code == 200
    assert answer.headers["etag"] == f'"{hashlib.sha256(answer.content).hexdigest()}"'
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as tar:
        tar.extractall(into, filter="data")
    (config,) = into.rglob("adapter_config.json" if name == "adapter" else "config.json")
    return config.parent


def in_plain_peft(tmp_path: Path, *results: tuple[dict, Path, Path | None]) -> list[dict]:
    """What a process without our code computes for each record's probe, with that base and that adapter."""
    requests = [
        {
            "base": str(base),
            "adapter": adapter and str(adapter),
            "input_ids": record["probe"]["input_ids"],
            "dtype": record["probe"]["dtype"],
            "quantization": record["probe"]["quantization"],
        }
        for record, base, adapter in results
    ]
    asked = tmp_path / "requests.json"
    asked.write_text(json.dumps(requests))
    done = subprocess.run(
        [sys.executable, "-P", Path(__file__).with_name("plain_probe.py"), asked],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HF_HUB_OFFLINE": "1", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


QUESTION = "Name three colours."


def answers(client: httpx.Client, job: dict, **how: object) -> list[str]:
    """What base and tuned model say to the question, side by side."""
    asked = {"model": [MODEL, job["id"]], "prompt": QUESTION, "max_new_tokens": 24, **how}
    answer = client.post("/generate", json=asked, timeout=120)
    assert answer.status_code == 200, answer.text
    return [one["text"] for one in answer.json()["answers"]]


def on_the_command_line(adapter: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The same without any service; with the template of the job."""
    decoding = ["--template", "alpaca", "--max-new-tokens", "24", "--repetition-penalty", "1.2"]
    capsys.readouterr()
    model = ["--model-dir", str(BASE), "--adapter", str(adapter)]
    assert command_line(["generate", *model, *decoding, "--prompt", QUESTION]) == 0
    (answered,) = json.loads(capsys.readouterr().out)["answers"]
    return [answered["base"], answered["tuned"]]


def chatted(service: Instance, job: dict) -> str:
    """What the SDK, as it is, hears word by word from the tuned model under its own name."""
    with sdk(f"http://127.0.0.1:{service.port}", service.key) as ai:
        name = ai.fine_tuning.jobs.retrieve(job["id"].replace("job_", "ftjob-")).fine_tuned_model
        assert name
        chunks = list(
            ai.chat.completions.create(
                model=name, messages=[{"role": "user", "content": QUESTION}], max_tokens=24, stream=True
            )
        )
    assert len(chunks) > 3
    assert chunks[-1].choices[0].finish_reason in {"stop", "length"}
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


def test_a_lora_job_on_alpaca_rows_learns_and_its_adapter_loads_in_plain_peft(
    client, service, tmp_path, capsys
):
    training = {"max_steps": 6, "batch_size": 8, "learning_rate": 3e-3, "max_length": 256, "eval_every": 6}
    followed: list[str] = []

    def follow(job: dict) -> None:
        """Read the log as it is printed; when the first words come, the job is not over."""
        # A log has no sign of life to send: it is silent until the trainer has loaded its libraries.
        with client.stream("GET", f"/jobs/{job['id']}/log?follow=true", timeout=180) as lines:
            for line in lines.iter_lines():
                if not followed:
                    assert client.get(f"/jobs/{job['id']}").json()["status"] == "running"
                followed.append(line)

    job = tune(client, rows.alpaca(), follow, training=training)
    assert followed == client.get(f"/jobs/{job['id']}/log").text.splitlines()
    assert followed[0].startswith("run.planned")
    assert any(line.startswith("step ") for line in followed)

    held_out = series(client, job, "eval_loss")
    assert held_out[-1] < held_out[0] - 0.2  # the first one is the base's own

    record = client.get(f"/jobs/{job['id']}/record").json()
    assert record["noise"]["effective_alpha"] == pytest.approx(5, rel=0.02)
    adapter = download(client, job, "adapter", tmp_path)
    assert sorted(path.suffix for path in adapter.iterdir() if path.suffix in {".bin", ".pt", ".pkl"}) == []
    plain = merges_into_what_base_and_adapter_compute(client, job, adapter)
    assert plain["ours"] == []
    assert plain["base"] == pytest.approx(record["probe"]["base_logits"], abs=1e-5)
    assert plain["tuned"] == pytest.approx(record["probe"]["tuned_logits"], abs=1e-5)
    assert plain["tuned"] != pytest.approx(plain["base"], abs=1e-2)

    # and it is asked: by the SDK, beside its base, and where no service is
    base, tuned = answers(client, job, template="alpaca")
    assert base != tuned
    assert [base, tuned] == on_the_command_line(adapter, capsys)
    assert chatted(service, job) == tuned == answers(client, job)[1]  # its template is that of its training


@pytest.mark.long  # another training and merge; the base here is the one that must not be merged into
def test_a_qlora_job_is_merged_into_the_base_in_full_precision(client, tmp_path):
    job = tune(client, rows.alpaca(), method="qlora", alpha=10, training={**FEW, "learning_rate": 2e-3})
    merges_into_what_base_and_adapter_compute(client, job, download(client, job, "adapter", tmp_path))


@pytest.mark.long  # core/test_cli.py trains and loads one
def test_a_qlora_job_trains_on_the_base_that_plain_peft_quantises(client, tmp_path):
    job = tune(client, rows.alpaca(), method="qlora", alpha=10, training={**FEW, "learning_rate": 2e-3})

    record = client.get(f"/jobs/{job['id']}/record").json()
    assert record["probe"]["quantization"]["type"] == "nf4"
    adapter = download(client, job, "adapter", tmp_path)
    (plain,) = in_plain_peft(tmp_path, (record, BASE, adapter))
    assert plain["base"] == pytest.approx(record["probe"]["base_logits"], abs=1e-5)
    assert plain["tuned"] == pytest.approx(record["probe"]["tuned_logits"], abs=1e-5)
    assert plain["tuned"] != pytest.approx(plain["base"], abs=1e-3)
    assert all(answers(client, job))  # the tuned one on the base as it was quantised


@pytest.mark.long  # core/test_cli.py trains and loads one
def test_a_full_job_gives_a_model_that_plain_transformers_loads(client, tmp_path):
    job = tune(client, rows.alpaca(), method="full", alpha=2.5, training={**FEW, "learning_rate": 1e-3})

    record = client.get(f"/jobs/{job['id']}/record").json()
    model = download(client, job, "model", tmp_path)
    (plain,) = in_plain_peft(tmp_path, (record, model, None))
    assert plain["base"] == pytest.approx(record["probe"]["tuned_logits"], abs=1e-5)
    assert plain["base"] != pytest.approx(record["probe"]["base_logits"], abs=1e-3)
    base, tuned = answers(client, job, template="alpaca")
    assert tuned
    assert base != tuned


@pytest.mark.long  # each form is read, rendered and tokenised in core/
@pytest.mark.parametrize(
    "made",
    [rows.tool_calls, rows.sharegpt, rows.chinese],
    ids=lambda made: made.__name__,
)
def test_other_rows_train_too(client, made):
    job = tune(client, made(), training={**FEW, "max_length": 1024, "learning_rate": 2e-3})
    assert len(series(client, job, "train_loss")) == 3
    held_out = series(client, job, "eval_loss")
    assert held_out[-1] < held_out[0]

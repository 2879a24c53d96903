"""Every example of the docs, run as a reader would, against a whole service of processes with a toy runner.

What stands for the reader's own (`ds_…`, `$JOB`) is put in; everything else is run as it is written, and
whatever the service refuses fails the example. openai.md is run by test_openai.py, noise.md by tests/core.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from standalone.demo import dataset as demo
from tests.standalone.instance import Instance, running
from tests.standalone.processes import ROOT, eventually

TOY = {
    "RUNNER": json.dumps([sys.executable, str(ROOT / "tests" / "toy_runner.py")]),
    "GENERATOR": json.dumps([sys.executable, str(ROOT / "tests" / "toy_speaker.py")]),
    "RECONCILE_SECONDS": "0.5",
    "WEBHOOK_ALLOW": "example.org",
}
# Blocks that fail on any refusal, as `ask` of the quickstart does by itself.
STRICT = 'set -euo pipefail\ncurl() { command curl --fail-with-body --max-time 30 "$@"; }\n'


@dataclass(frozen=True)
class Example:
    """A block of a page, and the heading above it."""

    page: str
    heading: str
    code: str

    def __str__(self) -> str:
        return f"{self.page} {self.heading}"


def examples(page: str, language: str) -> list[Example]:
    found, heading = [], ""
    parts = re.findall(r"^(#+ [^\n]*)$|^```(\w*)\n(.*?)^```$", (ROOT / page).read_text("utf-8"), re.M | re.S)
    for title, kind, code in parts:
        heading = title.strip("# `") or heading
        if kind == language:
            found.append(Example(page, heading, code))
    return found


@dataclass(frozen=True)
class Reader:
    """Somebody at a terminal of the machine that runs the service."""

    service: Instance
    folder: Path
    http: httpx.Client
    ended: str  # a job that has succeeded
    rows: str  # a dataset

    def run(self, code: str, known: bool = True, **values: str) -> str:
        """Run shell code; ``known`` puts address and key into the environment. Gives what it wrote."""
        env = {name: value for name, value in os.environ.items() if "NEFTUNE" not in name}
        env |= {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "NEFTUNE_HOME": str(self.service.home),
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            **({"NEFTUNE_URL": self.url, "NEFTUNE_API_KEY": self.service.key} if known else {}),
            **values,
        }
        done = subprocess.run(
            ["bash", "-c", STRICT + code],
            env=env,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=90,
        )
        assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done.stdout

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.service.port}"

    def ask(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        answer = self.http.request(method, path, **request)
        assert answer.is_success, answer.text
        told: dict[str, Any] = answer.json()
        return told

    def uploaded(self) -> str:
        return str(self.ask("POST", "/datasets", content=demo.PATH.read_bytes())["id"])

    def submitted(self, toy: str = "steps=3") -> str:
        spec = {"model": "neftune/demo-base", "dataset": self.rows, "metadata": {"toy": toy}}
        return str(self.ask("POST", "/jobs", json=spec)["id"])

    def reaches(self, job: str, status: str) -> str:
        assert eventually(lambda: self.ask("GET", f"/jobs/{job}")["status"] == status, 30)
        return job

    def resting(self) -> str:
        """A job that would take long, paused."""
        job = self.submitted("steps=5000 sleep=0.05")
        self.ask("POST", f"/jobs/{job}/pause")
        return self.reaches(job, "paused")

    def failed(self) -> str:
        return self.reaches(self.submitted("fail=1"), "failed")


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    folder = tmp_path_factory.mktemp("reader")
    (folder / "rows.jsonl").write_bytes(demo.PATH.read_bytes())
    (folder / "rows.csv").write_text("instruction,input,output\n" + "Say hello.,,Hello!\n" * 3)
    with (
        tempfile.TemporaryDirectory(prefix="neftune-t-") as home,
        running(Path(home), **TOY) as service,
        service.client() as http,
    ):
        alone = Reader(service, folder, http, "", "")
        furnished = replace(alone, rows=alone.uploaded())
        spec = {"model": "neftune/demo-base", "dataset": furnished.rows, "alpha": 5}
        (folder / "spec.json").write_text(json.dumps(spec))
        yield replace(furnished, ended=furnished.reaches(furnished.submitted(), "succeeded"))


def id_of(path: str, **body: Any) -> Callable[[Reader], str]:
    return lambda reader: str(reader.ask("POST", path, json=body)["id"])


WEBHOOK = id_of("/webhooks", url="https://example.org/mine")
KEY = id_of("/keys", name="mine", scopes=["read"])
SWEEP_SPEC = {"alpha": [5], "seed": [1]}


def evaluation(reader: Reader) -> str:
    return str(reader.ask("POST", f"/jobs/{reader.ended}/evaluations", json={"kinds": ["loss"]})["id"])


def sweep(reader: Reader) -> str:
    job = {"model": "neftune/demo-base", "dataset": reader.rows}
    return str(reader.ask("POST", "/sweeps", json={"job": job, **SWEEP_SPEC})["id"])


# What an example needs of its own, because it changes or removes it.
OWN: dict[str, dict[str, Callable[[Reader], str]]] = {
    "DELETE /datasets/{dataset_id}": {"DATASET": Reader.uploaded},
    "POST /jobs/{job_id}/cancel": {"JOB": Reader.resting},
    "POST /jobs/{job_id}/pause": {"JOB": Reader.resting},
    "POST /jobs/{job_id}/resume": {"JOB": Reader.resting},
    "POST /jobs/{job_id}/retry": {"JOB": Reader.failed},
    "DELETE /jobs/{job_id}": {"JOB": Reader.failed},
    "GET /evaluations/{evaluation_id}": {"EVALUATION": evaluation},
    "POST /evaluations/{evaluation_id}/cancel": {"EVALUATION": evaluation},
    **{
        f"{verb} /sweeps/{{sweep_id}}{ending}": {"SWEEP": sweep}
        for verb, ending in (
            *(("GET", ""), ("GET", "/report")),
            *(("POST", "/cancel"), ("POST", "/pause"), ("POST", "/resume")),
        )
    },
    "DELETE /webhooks/{webhook_id}": {"WEBHOOK": WEBHOOK},
    "GET /webhooks/{webhook_id}/deliveries": {"WEBHOOK": WEBHOOK},
    "POST /webhooks/{webhook_id}/test": {"WEBHOOK": WEBHOOK},
    "GET /keys/{key_id}": {"KEY": KEY},
    "DELETE /keys/{key_id}": {"KEY": KEY},
    "GET /projects/{project_id}": {"PROJECT": lambda reader: reader.ask("GET", "/session")["project"]["id"]},
    "PATCH /projects/{project_id}": {
        "PROJECT": lambda reader: reader.ask("GET", "/session")["project"]["id"]
    },
    "PUT /secrets/{name}": {"HUB_TOKEN": lambda _: "made-up"},
    "DELETE /secrets/{name}": {"HUB_TOKEN": lambda reader: reader.run(SECRET, HUB_TOKEN="made-up")},
    "DELETE /session": {"LOGIN": lambda reader: reader.run(LOGIN)},
}
API = examples("docs/api.md", "sh")
LOGIN, SECRET = (
    next(one.code for one in API if one.heading == heading)
    for heading in ("POST /session", "PUT /secrets/{name}")
)


@pytest.mark.parametrize("example", API, ids=lambda one: one.heading)
def test_the_examples_of_the_api_run(reader: Reader, example: Example) -> None:
    own = {name: make(reader) for name, make in OWN.get(example.heading, {}).items()}
    reader.run(
        example.code, **{"DATASET": reader.rows, "JOB": reader.ended, "OTHER_JOB": reader.ended, **own}
    )
    if own.get("JOB"):
        reader.http.post(f"/jobs/{own['JOB']}/cancel")  # what goes on would keep the worker
    if "/sweeps" in example.heading or "/evaluations" in example.heading:
        for kind in ("sweeps", "evaluations"):
            for one in reader.ask("GET", f"/{kind}")["items"]:
                reader.http.post(f"/{kind}/{one['id']}/cancel")


def test_every_own_thing_belongs_to_an_example() -> None:
    assert set(OWN) <= {one.heading for one in API}


ENDING = {"pause": Reader.resting, "cancel": Reader.resting, "retry": Reader.failed}


@pytest.mark.parametrize("page", ["README.md", "docs/quickstart.md"])
def test_the_pages_for_beginners_run(reader: Reader, page: str) -> None:
    code = "".join(one.code for one in examples(page, "sh"))
    put_in = {"http://127.0.0.1:8000": reader.url, "nft_…": reader.service.key, "ds_…": reader.rows}
    for placeholder, value in put_in.items():
        code = code.replace(placeholder, value)
    # What ends a job gets one that can be ended; all others one that has succeeded.
    lines = []
    for line in code.replace("\\\n", "").splitlines():
        verb = next((verb for verb in ENDING if f"job_…/{verb}" in line), None)
        lines.append(line.replace("job_…", ENDING[verb](reader) if verb else reader.ended))
    said = reader.run("mkdir -p .venv/bin; touch .venv/bin/activate\n" + "\n".join(lines))
    assert (reader.folder / "adapter" / "adapter_config.json").is_file()
    assert "ds_" in said
    if page == "README.md":  # base and tuned model, side by side
        asked = re.findall(r'"model":"([^"]+)","template":"\w+","text":"I am a toy."', said)
        assert asked == ["neftune/demo-base", reader.ended]


@pytest.mark.long  # tests/client runs each command
def test_the_command_line_runs_as_its_page_says(reader: Reader) -> None:
    said = {}
    for example in examples("docs/cli.md", "sh"):
        said[example.heading] = reader.run(example.code, known="login" in example.code)
    assert said["Where the service is"] == ""  # of the login; before that:
    assert "status succeeded" in said["A job"] or "succeeded" in said["A job"]
    assert (reader.folder / "fruit" / "adapter" / "adapter_config.json").is_file()
    table = [line.split("\t") for line in said["Several strengths of noise"].splitlines() if "\t" in line]
    assert [line[:2] for line in table] == [["0", "2/2"], ["5", "2/2"], ["10", "2/2"]]
    said_of_it = said["Asking what was made"].splitlines()
    assert [line for line in said_of_it if "a toy" not in line][1:] == ["--- neftune/demo-base"]
    assert len(said_of_it) == 6
    assert re.fullmatch(r"nft_\S+\n", (reader.folder / "key.txt").read_text())
    messages = [json.loads(line) for line in (reader.folder / "messages.jsonl").read_text().splitlines()]
    assert messages[-1]["data"]["status"] == "succeeded"
    listed = {one["name"] for one in reader.ask("GET", "/jobs?tag=fruit")["items"]}
    assert listed == {None}


@pytest.mark.long  # tests/client asks each method
def test_the_class_for_scripts_runs_as_its_page_says(reader: Reader) -> None:
    (example,) = examples("docs/cli.md", "python")
    said = reader.run(f"{sys.executable} - <<'END'\n{example.code}END\n", known=False)
    assert said.splitlines()[0] == "invalid_spec ['alpha']"
    assert (reader.folder / "adapter.tar").stat().st_size > 0


@pytest.mark.long  # as the pages do, once more
@pytest.mark.parametrize(
    ("command", "end"),
    [
        (f"sh {ROOT}/docs/examples/curl.sh rows.jsonl by-curl", "adapter_model.safetensors"),
        (f"python {ROOT}/docs/examples/plain_http.py rows.jsonl by-http.tar", "bytes"),
        (f"python {ROOT}/docs/examples/openai_sdk.py rows.jsonl", "succeeded ft:neftune/demo-base:"),
    ],
    ids=["curl", "python", "openai"],
)
def test_the_examples_in_files_run(reader: Reader, command: str, end: str) -> None:
    assert end in reader.run(command).splitlines()[-1]

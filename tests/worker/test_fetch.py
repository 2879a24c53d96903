"""Fetching a model from a hub on loopback: what comes, what is refused, who holds the token."""

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from neftune_core.spec import JobSpec
from neftune_store.bells import ring
from neftune_store.db import unit_of_work
from neftune_store.jobs import JobLedger
from neftune_store.sealing import Sealer
from neftune_store.secrets import SecretLedger
from tests.fake_hub import COMMIT, Hub, serving
from tests.worker_house import House, family

MODEL_FILES = {
    "config.json": b'{"model_type": "llama"}',
    "tokenizer.json": b"{}",
    "tokenizer_config.json": b"{}",
    "model.safetensors": b"weights" * 1000,
    "consolidated.safetensors": b"the same weights again" * 1000,
    "pytorch_model.bin": b"a pickle",
    "modeling_own.py": b"import os",
    "README.md": b"# A model",
    "original/params.json": b"{}",
}
TAKEN = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving(Hub(dict(MODEL_FILES))) as made:
        yield made


def fetch(
    hub: Hub, cache: Path, *more: str, model: str = "org/name", token: str | None = None
) -> dict[str, Any]:
    """Run the fetcher as the supervisor does; give its last line."""
    environ = {"PATH": os.environ["PATH"], "HF_ENDPOINT": hub.url, "HOME": str(cache)}
    done = subprocess.run(
        [sys.executable, "-m", "worker.fetch", model, str(cache), *more],
        env=environ if token is None else {**environ, "HF_TOKEN": token},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.stdout, done.stderr.decode()
    return json.loads(done.stdout.splitlines()[-1])


def test_what_is_known_comes_under_its_commit_and_nothing_else(hub: Hub, tmp_path: Path) -> None:
    last = fetch(hub, tmp_path)
    target = tmp_path / "org--name" / COMMIT
    assert last == {"model": "org/name", "commit": COMMIT, "path": str(target), "bytes": 7000 + 27 - 4 + 4}
    assert sorted(path.name for path in target.iterdir()) == TAKEN
    assert (target / "model.safetensors").read_bytes() == MODEL_FILES["model.safetensors"]
    assert [path.name for path in (tmp_path / "org--name").iterdir()] == [COMMIT]  # no half-made folder
    assert not [line for line in hub.asked if line.endswith((".bin", ".py", "consolidated.safetensors"))]


def test_a_revision_is_resolved_to_its_commit(hub: Hub, tmp_path: Path) -> None:
    assert fetch(hub, tmp_path, "--revision", "v1")["commit"] == COMMIT


def test_what_is_in_the_cache_is_not_fetched_again(hub: Hub, tmp_path: Path) -> None:
    fetch(hub, tmp_path)
    hub.asked.clear()
    assert fetch(hub, tmp_path)["commit"] == COMMIT
    assert len(hub.asked) == 1  # which commit, and no file


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"config.json": b'{"auto_map": {"AutoModel": "modeling_own.X"}}'}, "custom_code"),
        ({"tokenizer_config.json": b'{"auto_map": {"AutoTokenizer": ["own.X", null]}}'}, "custom_code"),
        ({"config.json": b"not json"}, "model_error"),
    ],
)
def test_a_model_with_code_is_refused_before_its_weights_come(
    hub: Hub, tmp_path: Path, files: dict[str, bytes], code: str
) -> None:
    hub.files.update(files)
    last = fetch(hub, tmp_path)
    assert (last["code"], last["retryable"]) == (code, False)
    assert not [line for line in hub.asked if "safetensors" in line]
    assert not (tmp_path / "org--name" / COMMIT).exists()


def test_pickled_weights_are_refused(hub: Hub, tmp_path: Path) -> None:
    del hub.files["model.safetensors"], hub.files["consolidated.safetensors"]
    assert fetch(hub, tmp_path)["code"] == "unsafe_weights"
    assert len(hub.asked) == 1


def test_other_bytes_than_promised_are_refused(hub: Hub, tmp_path: Path) -> None:
    hub.lies = b"wEights" * 1000
    last = fetch(hub, tmp_path)
    assert (last["code"], last["retryable"]) == ("model_download", True)
    assert not list((tmp_path / "org--name").iterdir())


def test_a_hub_that_fails_is_asked_again_later(hub: Hub, tmp_path: Path) -> None:
    hub.status = 500
    assert fetch(hub, tmp_path) == {
        "code": "model_download",
        "message": "The hub refused with status 500.",
        "retryable": True,
    }


def test_a_hub_that_is_not_there_is_asked_again_later(tmp_path: Path) -> None:
    last = fetch(Hub({}, url="http://127.0.0.1:9"), tmp_path)
    assert (last["code"], last["retryable"]) == ("model_download", True)


def test_an_unknown_model_and_an_unknown_revision_are_not_tried_again(hub: Hub, tmp_path: Path) -> None:
    for last in (fetch(hub, tmp_path, model="org/other"), fetch(hub, tmp_path, "--revision", "v2")):
        assert (last["code"], last["retryable"]) == ("model_not_available", False)


def test_a_gated_model_wants_the_operators_token(hub: Hub, tmp_path: Path) -> None:
    hub.token = "hf_secret"
    assert fetch(hub, tmp_path)["code"] == "model_not_available"
    assert fetch(hub, tmp_path, token="hf_secret")["commit"] == COMMIT


def test_a_job_on_a_model_of_the_hub_fetches_it_under_its_lease(hub: Hub, house: House) -> None:
    # Given a worker that may ask the hub
    hub.token = "hf_secret"
    house.start(
        HUB="on",
        MODEL_CACHE=str(house.root / "cache"),
        ALLOWED_MODELS="org/*",
        HF_ENDPOINT=hub.url,
        HF_TOKEN=hub.token,
    )
    # When a job names a model that is not at hand
    job = house.submit("steps=1 environ=1", model="org/name")
    house.wait(job, "succeeded")
    # Then it was fetched with the token, which the runner never saw
    facts = {fact.name: fact.data for fact in house.facts(job)}
    assert facts["model.fetched"] == {"model": "org/name", "commit": COMMIT, "bytes": 7027}
    assert hub.tokens == {"Bearer hf_secret"}
    assert "hf_secret" not in json.dumps(facts["run.environ"])
    # And the same job again asks for the commit only
    hub.asked.clear()
    again = house.submit("steps=1", model="org/name")
    house.wait(again, "succeeded")
    assert len(hub.asked) == 1
    # And a revision is the one that was asked for, or none
    unknown = house.submit("steps=1", model="org/name", revision="v2")
    assert house.wait(unknown, "succeeded", "failed").error_code == "model_not_available"
    house.wait(house.submit("steps=1", model="org/name", revision="v1"), "succeeded")


def test_a_job_fetches_a_gated_model_with_a_secret_of_its_project(hub: Hub, house: House) -> None:
    # Given a hub that takes the project's token and not the operator's, and that token as a secret
    hub.token, key = "hf_of_the_project", base64.b64encode(bytes(32)).decode()
    with unit_of_work(house.engine) as session:
        SecretLedger(session, Sealer.of(key)).put(house.project(), "gated", hub.token)
    house.start(
        HUB="on",
        MODEL_CACHE=str(house.root / "cache"),
        ALLOWED_MODELS="org/*",
        HF_ENDPOINT=hub.url,
        NEFTUNE_SECRET_KEY=key,
    )
    # When a job names it
    named = {"model": "org/name", "hub_token": {"secret": "gated"}}
    job = house.submit("steps=1 environ=1 inputs=1", **named)
    house.wait(job, "succeeded")
    # Then only the hub has seen it: not the runner, no row but the sealed one, no log
    assert hub.tokens == {f"Bearer {hub.token}"}
    told = json.dumps([fact.data for fact in house.facts(job)])
    assert '{"secret": "gated"}' in told
    assert hub.token not in told + house.logs() + house.log_tail(job)
    # What it opened is in the cache of its project alone: without it the model is not at hand
    other = house.submit("steps=1", model="org/name", revision=COMMIT)
    assert house.wait(other, "succeeded", "failed").error_code == "model_not_available"
    # And a job whose secret is gone by then says so
    with unit_of_work(house.engine) as session:
        late = JobLedger(session).submit(
            job.project_id, JobSpec.model_validate({**job.spec, "revision": "v1"})
        )[0]
        SecretLedger(session, Sealer.of(key)).delete(job.project_id, "gated")
    ring(house.redis_url)
    failed = house.wait(late, "succeeded", "failed")
    assert (failed.status, failed.error_code) == ("failed", "secret_unknown")


def test_a_secret_that_the_workers_key_does_not_open_is_told(hub: Hub, house: House) -> None:
    sealed_with, workers = (base64.b64encode(bytes([fill]) * 32).decode() for fill in (1, 2))
    with unit_of_work(house.engine) as session:
        SecretLedger(session, Sealer.of(sealed_with)).put(house.project(), "gated", "hf_x")
    house.start(
        HUB="on",
        MODEL_CACHE=str(house.root / "cache"),
        ALLOWED_MODELS="org/*",
        HF_ENDPOINT=hub.url,
        NEFTUNE_SECRET_KEY=workers,
    )
    job = house.submit("steps=1", model="org/name", hub_token={"secret": "gated"})
    failed = house.wait(job, "succeeded", "failed")
    assert (failed.status, failed.error_code) == ("failed", "secret_unreadable")
    assert hub.asked == []


def test_without_a_hub_the_cache_gives_the_commit_that_was_asked_for_or_none(house: House) -> None:
    cached = house.root / "cache" / "org--name" / COMMIT
    shutil.copytree(house.root / "models" / "toy" / "base", cached)
    house.start(MODEL_CACHE=str(house.root / "cache"), ALLOWED_MODELS="org/*")

    job = house.submit("steps=1", model="org/name", revision=COMMIT)
    other = house.submit("steps=1", model="org/name", revision="e" * 40)

    house.wait(job, "succeeded")
    assert house.wait(other, "succeeded", "failed").error_code == "model_not_available"


def test_a_model_that_is_not_allowed_is_never_asked_for(hub: Hub, house: House) -> None:
    house.start(HUB="on", MODEL_CACHE=str(house.root / "cache"), ALLOWED_MODELS="toy/*", HF_ENDPOINT=hub.url)
    job = house.submit("steps=1", model="org/name")
    assert house.wait(job, "failed").error_code == "model_not_available"
    assert hub.asked == []


def fetcher(house: House) -> psutil.Process:
    (child,) = (
        process
        for process in family(house.processes[0].pid)
        if {"worker.fetch", str(house.root / "cache")} <= set(process.cmdline())
    )
    return child


def test_a_cancel_ends_a_download(hub: Hub, house: House) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes calls and never answers
        silent.settimeout(30)
        house.start(
            HUB="on",
            MODEL_CACHE=str(house.root / "cache"),
            ALLOWED_MODELS="org/*",
            HF_ENDPOINT=f"http://127.0.0.1:{silent.getsockname()[1]}",
        )
        job = house.submit("steps=1", model="org/name")
        call, _ = silent.accept()
        with call:
            # It holds the hub's token, and nothing else that opens a door
            seen = fetcher(house).environ()
            assert seen["HF_TOKEN"] == house.environ["HF_TOKEN"]
            assert not {"DATABASE_URL", "REDIS_URL", "STORAGE_URL", "RUNNER"} & set(seen)
            house.cancel(job)
            house.wait(job, "cancelled", seconds=3)
    assert not [line for line in house.left_behind() if "worker.fetch" in line]

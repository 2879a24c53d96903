"""Evaluations through the standalone service: every kind, a judge over HTTP, and a death in the middle."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.arc_form import lay_out
from tests.core.evaluate.judges import judging, longer
from tests.e2e import rows
from tests.e2e.test_real_rows import BASE, download, tune
from tests.standalone.instance import Instance, running
from tests.standalone.processes import commands, eventually

pytestmark = pytest.mark.long  # trains, and measures many times; test_real_rows.py measures once
KEY = "jk_canary_of_the_judge"


@pytest.fixture(scope="module")
def benchmarks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lay_out(tmp_path_factory.mktemp("benchmarks"), questions=20)


@pytest.fixture(scope="module")
def service(benchmarks: Path) -> Iterator[Instance]:
    home = Path(tempfile.mkdtemp(prefix="neftune-e2e-"))
    settings = {"BENCHMARKS_DIR": str(benchmarks), "JUDGE_ALLOW": "127.0.0.1"}
    with running(home, **settings) as instance:
        yield instance
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def client(service: Instance) -> Iterator[httpx.Client]:
    with service.client() as opened:
        yield opened


@pytest.fixture(scope="module")
def job(client: httpx.Client) -> dict[str, Any]:
    training = {"max_steps": 12, "batch_size": 8, "learning_rate": 2e-3, "max_length": 256, "eval_every": 4}
    return tune(client, rows.alpaca(), training={**training, "save_every": 4})


def evaluated(client: httpx.Client, job: dict[str, Any], **asked: Any) -> dict[str, Any]:
    made = client.post(f"/jobs/{job['id']}/evaluations", json=asked)
    assert made.status_code == 201, made.text
    return ended(client, made.json())


def ended(client: httpx.Client, evaluation: dict[str, Any]) -> dict[str, Any]:
    end = time.monotonic() + 240
    while evaluation["status"] in {"queued", "running"} and time.monotonic() < end:
        time.sleep(0.3)
        evaluation = client.get(f"/evaluations/{evaluation['id']}").json()
    log = client.get(f"/jobs/{evaluation['id']}/log").text
    assert evaluation["status"] == "succeeded", (evaluation["error"], log)
    return evaluation


def test_losses_are_those_of_the_run(client: httpx.Client, job: dict[str, Any]) -> None:
    final = client.get(f"/jobs/{job['id']}/record").json()["final"]
    for checkpoint, name in (("last", "eval_loss"), ("best", "best_eval_loss")):
        told = evaluated(client, job, kinds=["loss"], checkpoint=checkpoint)
        losses = {(one["subject"], one["rows"]): one["per_token"] for one in told["results"]["loss"]}
        assert losses["checkpoint", "held_out"] == pytest.approx(final[name], abs=1e-5)
        assert losses["base", "held_out"] == pytest.approx(final["base_eval_loss"], abs=1e-5)
        kept = {one["name"] for one in client.get(f"/jobs/{told['id']}").json()["artifacts"]}
        assert {"report.html", "report.json"} <= kept
    step = evaluated(client, job, kinds=["loss"], checkpoint=8)
    assert step["checkpoint"] == {"of": "step", "step": 8}
    assert step["results"]["of"]["step"] == 8


def lm_eval(folder: Path, adapter: Path | None, out: Path) -> dict[str, Any]:
    given = f"pretrained={BASE},dtype=float32" + (f",peft={adapter}" if adapter else "")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "lm_eval", "run", "--model", "hf", "--model_args", given),
            *("--tasks", "lighthouse", "--include_path", str(folder), "--device", "cpu"),
            *("--batch_size", "8", "--output_path", str(out)),
        ],
        cwd=folder,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(out / "hf")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (file,) = out.rglob("results_*.json")
    return json.loads(file.read_text())["results"]["lighthouse"]


def test_benchmarks_are_those_of_lm_evals_own_command_line(
    client: httpx.Client, job: dict[str, Any], benchmarks: Path, tmp_path: Path
) -> None:
    told = evaluated(client, job, kinds=["benchmarks"], benchmarks={"tasks": ["lighthouse", "arc_easy"]})
    adapter = download(client, job, "adapter", tmp_path)
    base = lm_eval(benchmarks, None, tmp_path / "base")
    tuned = lm_eval(benchmarks, adapter, tmp_path / "tuned")
    found = {one["metric"]: one for one in told["results"]["benchmarks"]}
    for metric in ("acc", "acc_norm"):
        assert found[metric]["value"] == tuned[f"{metric},none"]
        assert found[metric]["standard_error"] == tuned[f"{metric}_stderr,none"]
        assert found[metric]["base"] == base[f"{metric},none"]
        assert found[metric]["base_standard_error"] == base[f"{metric}_stderr,none"]
    # and what has no data here is told
    assert {one["what"] for one in told["missing"]} == {
        "benchmarks/arc_easy/base",
        "benchmarks/arc_easy/checkpoint",
    }


def test_a_judge_is_asked_once_with_a_key_that_nobody_sees(
    client: httpx.Client, job: dict[str, Any], service: Instance
) -> None:
    assert client.put("/secrets/judge", json={"value": KEY}).status_code == 201
    with judging(longer) as server:
        asked = {
            "kinds": ["diversity", "judge"],
            "prompts": {"most": 6},
            "generation": {"max_new_tokens": 24},
            "baselines": {"min_new_tokens": 20},
            "judge": {"endpoint": server.url, "model": "longer", "key": {"secret": "judge"}},
        }
        told = evaluated(client, job, **asked)
        calls = len(server.calls)
        again = evaluated(client, job, **asked)
        assert len(server.calls) == calls > 0
    assert set(server.keys) == {f"Bearer {KEY}"}
    assert {one["variant"] for one in told["results"]["judge"]} == {"plain", "min_length"}
    figures = ("wins", "losses", "ties", "win_rate", "length_controlled")
    first, second = (
        [{name: one[name] for name in figures} for one in each["results"]["judge"]] for each in (told, again)
    )
    assert first == second
    assert [one["cost"]["calls"] for one in again["results"]["judge"]] == [0, 0]
    # Nothing that is kept or printed holds the key
    for one in (told, again):
        assert KEY not in client.get(f"/jobs/{one['id']}/log").text
        for artifact in one["artifacts"]:
            assert KEY.encode() not in client.get(artifact["url"]).content
    assert KEY not in service.said()


def test_a_judge_that_is_not_there_costs_nothing_but_itself(
    client: httpx.Client, job: dict[str, Any]
) -> None:
    judge = {"endpoint": "http://127.0.0.1:1/v1", "model": "nobody", "attempts": 1, "give_up_seconds": 2}
    told = evaluated(
        client,
        job,
        kinds=["diversity", "judge"],
        prompts={"most": 2},
        generation={"max_new_tokens": 4},
        judge=judge,
    )
    assert any(one["what"].startswith("judge") for one in told["missing"])
    assert told["results"]["diversity"]


def test_two_runs_are_judged_against_each_other(client: httpx.Client, job: dict[str, Any]) -> None:
    other = client.post(f"/jobs/{job['id']}/clone", json={"alpha": 0}).json()
    eventually(lambda: client.get(f"/jobs/{other['id']}").json()["status"] == "succeeded", 120)
    with judging(longer) as server:
        told = evaluated(
            client,
            job,
            kinds=["judge"],
            compare_base=False,
            prompts={"most": 4},
            generation={"max_new_tokens": 24},
            judge={"endpoint": server.url, "model": "longer", "against": "run", "run": other["id"]},
        )
    (only,) = told["results"]["judge"]
    assert (only["subject"], only["against"], only["judged"]) == ("checkpoint", f"run:{other['id']}", 4)


def test_an_evaluation_goes_on_after_its_worker_was_killed(
    client: httpx.Client, job: dict[str, Any], service: Instance
) -> None:
    asked = {"kinds": ["loss", "overlap"], "overlap": {"prompts": 24}, "generation": {"max_new_tokens": 48}}
    whole = evaluated(client, job, **asked)
    made = client.post(f"/jobs/{job['id']}/evaluations", json=asked).json()

    def begun() -> bool:
        events = client.get(f"/jobs/{made['id']}/events?limit=200").json()["items"]
        return any(one["name"] == "checkpoint.committed" for one in events)

    assert eventually(begun, 60)
    for process, command in commands(service.home):
        if "evaluate" in command and "--report-fd" in command:
            os.kill(process.pid, signal.SIGKILL)
    after = ended(client, made)
    assert after["attempt"] > 1
    for kind in ("loss", "overlap"):
        assert after["results"][kind] == whole["results"][kind]

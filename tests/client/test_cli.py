"""`neftune` against a running api: what is asked, what is written, and the exit status."""

import io
import json
import re
from pathlib import Path

import httpx
import pytest

from neftune_store.db import unit_of_work
from neftune_store.runs import write_metrics
from neftune_store.settling import settle_failed, settle_succeeded
from tests import factories
from tests.api.live_api import MODEL, Service, claim, rows, spec, upload
from tests.client.conftest import Neftune


@pytest.fixture
def mine(service: Service, key: str) -> httpx.Client:
    """A plain client of the project that the commands work in."""
    with service.client(key) as opened:
        yield opened


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(rows())
    return path


def submitted(neftune: Neftune, *words: object) -> dict:
    said = neftune("submit", *words, "--json")
    assert said.status == 0, said.err
    return said.told


def test_a_file_and_a_few_words_make_a_job(neftune: Neftune, file: Path) -> None:
    said = neftune("submit", file, "--model", MODEL, "--alpha", "7.5", "--name", "mine", "--tag", "a",
                   "--set", "training.epochs=1", "--set", "training.packing=off")  # fmt: skip
    assert said.status == 0
    job = said.out.split()[1]
    assert f"neftune watch {job}" in said.err
    found = neftune("show", job, "--json").told
    assert (found["spec"]["alpha"], found["name"], found["tags"]) == (7.5, "mine", ["a"])
    assert (found["spec"]["training"]["epochs"], found["spec"]["training"]["packing"]) == (1.0, "off")


def test_rows_of_a_job_that_is_refused_are_deleted_again(
    neftune: Neftune, file: Path, mine: httpx.Client
) -> None:
    kept = upload(mine)["id"]
    said = neftune("submit", file, "--model", "no/such", "--alpha", "5")
    assert said.status == 1
    assert "deleted again" in said.err
    assert neftune("submit", kept, "--model", "no/such").status == 1  # what was there before stays
    assert [one["id"] for one in mine.get("/datasets").json()["items"]] == [kept]


def test_a_cancelled_jobs_download_says_that_there_will_be_none(neftune: Neftune, mine: httpx.Client) -> None:
    job = submitted(neftune, upload(mine)["id"])["id"]
    assert "has no model yet" in neftune("download", job).err
    neftune("cancel", job)
    said = neftune("download", job)
    assert said.status == 2
    assert f"{job} was cancelled and made no model" in said.err


def test_the_only_model_at_hand_is_taken_and_told(neftune: Neftune, file: Path) -> None:
    said = neftune("submit", file)
    assert said.status == 0
    assert f"model    {MODEL}, the only one at hand" in said.err


def test_a_spec_file_is_joined_with_the_options(neftune: Neftune, file: Path, tmp_path: Path) -> None:
    given = tmp_path / "job.yaml"
    given.write_text(
        f"model: {MODEL}\nalpha: 3\ntraining:\n  learning_rate: 2e-4\n  packing: off\ntags: [one]\n"
    )
    job = submitted(neftune, file, "--spec", given, "--alpha", "10", "-t", "two")
    assert (job["spec"]["alpha"], job["tags"]) == (10.0, ["one", "two"])
    assert job["spec"]["training"]["learning_rate"] == 2e-4
    assert job["spec"]["training"]["packing"] == "off"


def test_the_same_key_gives_the_same_job(neftune: Neftune, mine: httpx.Client) -> None:
    dataset = upload(mine)["id"]
    first, again = (submitted(neftune, dataset, "-m", MODEL, "--key", "mine-1") for _ in range(2))
    assert first["id"] == again["id"]


def test_a_dry_run_leaves_nothing(neftune: Neftune, file: Path, mine: httpx.Client) -> None:
    said = neftune("submit", file, "--dry-run")
    assert said.status == 0, said.err
    assert re.search(r"^steps +3, 1 an epoch$", said.out, re.MULTILINE)
    assert mine.get("/datasets").json()["items"] == mine.get("/jobs").json()["items"] == []


def test_a_refused_spec_shows_field_code_and_hint_and_leaves_nothing(
    neftune: Neftune, file: Path, mine: httpx.Client
) -> None:
    said = neftune("submit", file, "--set", "trainign.epochs=1", "--alpha", "101")
    assert said.status == 1
    assert re.search(r"^  alpha: .*100.* \(", said.err, re.MULTILINE)
    assert re.search(r"^  trainign: .*training.* \(unknown_field\)$", said.err, re.MULTILINE)
    assert "docs/jobspec.md" in said.err
    assert "deleted again" in said.err
    assert mine.get("/datasets").json()["items"] == []


def test_faults_of_rows_come_by_line(neftune: Neftune, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_bytes(rows(2) + b'{"instruction": 5}\n')
    said = neftune("submit", bad)
    assert said.status == 1
    assert "dataset_invalid" in said.err
    assert re.search(r"^  line 3: ", said.err, re.MULTILINE)
    assert re.search(r"in all: 1 \w+", said.err)
    told = json.loads(neftune("submit", bad, "--json").err.splitlines()[-1])
    assert (told["code"], told["errors"][0]["line"]) == ("dataset_invalid", 3)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["submit", "missing.jsonl"], "There is no file missing.jsonl."),
        (["submit"], "Name the rows: a file"),
        (["submit", "ds_x", "--set", "alpha"], "--set takes field=value"),
        (["submit", "ds_x", "--spec", "missing.json"], "missing.json can't be read"),
        (["show", "last"], "There is no job yet."),
        (["verdict"], "There is no series yet."),
    ],
)
def test_what_can_not_be_understood_is_status_2(neftune: Neftune, words: list[str], sentence: str) -> None:
    said = neftune(*words)
    assert (said.status, said.out) == (2, "")
    assert sentence in said.err


def test_an_unknown_option_is_status_2(neftune: Neftune) -> None:
    said = neftune("jobs", "--statsu", "queued")
    assert said.status == 2
    assert "--status" in said.err


def test_an_unknown_job_and_a_wrong_key_say_what_to_do(
    neftune: Neftune, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = neftune("show", "job_nothing")
    assert said.status == 1
    assert "not_found" in said.err
    assert "neftune jobs" in said.err
    monkeypatch.setenv("NEFTUNE_API_KEY", "nft_wrong_wrong_wrong")
    said = neftune("jobs")
    assert said.status == 1
    assert "unauthorized" in said.err
    assert "neftune login" in said.err
    assert "nft_wrong" not in said.out + said.err


def test_nobody_there_is_status_5(neftune: Neftune, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neftune_client.wire.FIRST_S", 0.0)
    monkeypatch.setenv("NEFTUNE_URL", "http://127.0.0.1:1")
    said = neftune("submit", "--json", "ds_x", "-m", MODEL)
    assert said.status == 5


def test_jobs_are_listed_by_what_fits_one_a_line(neftune: Neftune, mine: httpx.Client) -> None:
    dataset = upload(mine)["id"]
    low, high = (submitted(neftune, dataset, "-a", alpha, "-t", "x")["id"] for alpha in (1, 10))
    assert [line.split("\t")[:3] for line in neftune("jobs").out.splitlines()] == [
        [high, "queued", "10"],
        [low, "queued", "1"],
    ]
    assert [job["id"] for job in neftune("jobs", "--alpha-max", "5", "--json").told] == [low]
    assert neftune("jobs", "--tag", "y", "--json").told == []
    assert len(neftune("jobs", "--limit", "1").out.splitlines()) == 1


def test_a_job_is_paused_resumed_cancelled_and_tried_again(neftune: Neftune, mine: httpx.Client) -> None:
    job = submitted(neftune, upload(mine)["id"])["id"]
    for verb, status in (("pause", "paused"), ("resume", "queued"), ("cancel", "cancelled")):
        said = neftune(verb, "last")
        assert (said.status, said.out.split()) == (0, [job, status])
    again = neftune("retry", job, "--json").told
    assert again["retry_of"] == job
    other = neftune("clone", job, "--set", "alpha=2", "--json").told
    assert (other["clone_of"], other["spec"]["alpha"]) == (job, 2.0)
    assert neftune("pause", job).status == 1


@pytest.fixture
def running(service: Service, mine: httpx.Client):
    """A job that runs, with some steps."""
    answer = mine.post("/jobs", json=spec(upload(mine)["id"], resources={"priority": 100}))
    claimed = claim(service, answer.json())
    with unit_of_work(service.engine) as session:
        values = {"train_loss": 1.5, "eval_loss": 2.0, "noise_effective_alpha": 5.0}
        write_metrics(session, claimed, [(1, values), (2, {**values, "eval_loss": 1.25})])
    return claimed


def test_an_ended_job_is_watched_to_the_status_of_its_outcome(
    neftune: Neftune, service: Service, running
) -> None:
    with unit_of_work(service.engine) as session:
        settle_succeeded(session, running, {}, [factories.make_artifact()])
    said = neftune("watch", running.job_id)
    assert said.status == 0
    assert "held-out loss 1.2500" in said.out
    lines = neftune("watch", running.job_id, "--json").lines
    assert [line["data"]["step"] for line in lines if line["event"] == "metric"] == [1, 2]
    assert lines[-1]["data"]["status"] == "succeeded"
    shown = neftune("show", running.job_id).out
    assert re.search(r"^held-out loss +1\.2500$", shown, re.MULTILINE)
    assert re.search(r"^alpha measured +5\.0000$", shown, re.MULTILINE)


def test_a_failed_job_is_status_3_with_its_reason(neftune: Neftune, service: Service, running) -> None:
    with unit_of_work(service.engine) as session:
        settle_failed(session, running, "nan_loss", "The loss was NaN.", retryable=False)
    said = neftune("watch", running.job_id)
    assert said.status == 3
    assert "nan_loss: The loss was NaN." in said.err
    assert f"neftune retry {running.job_id}" in said.err
    assert neftune("watch", running.job_id, "--json").status == 3


def test_a_cancelled_job_is_status_4(neftune: Neftune, mine: httpx.Client) -> None:
    job = submitted(neftune, upload(mine)["id"])["id"]
    neftune("cancel", job)
    assert neftune("watch", job).status == 4


def test_datasets_are_sent_listed_shown_and_deleted(neftune: Neftune, file: Path) -> None:
    said = neftune("datasets", "upload", file, "--name", "mine")
    assert said.status == 0
    dataset = said.out.strip()
    assert [line.split("\t")[:3] for line in neftune("datasets").out.splitlines()] == [
        [dataset, "12", "alpaca"]
    ]
    assert neftune("datasets", "--json").told[0]["name"] == "mine"
    assert neftune("datasets", "delete", dataset).status == 0
    assert neftune("datasets").out == ""


def test_models_are_listed(neftune: Neftune) -> None:
    assert neftune("models").out == f"{MODEL}\n"


def test_a_login_is_tried_and_kept_and_can_be_forgotten(
    neftune: Neftune, service: Service, key: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("NEFTUNE_URL")
    monkeypatch.delenv("NEFTUNE_API_KEY")
    monkeypatch.setenv("NEFTUNE_HOME", str(tmp_path / "home"))
    assert neftune("models").status == 2, "nothing is known yet"
    monkeypatch.setattr("sys.stdin", io.StringIO("nft_wrong_wrong_wrong\n"))
    assert neftune("login", "--url", service.url).status == 1
    assert neftune("models").status == 2, "a wrong key is not kept"
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{key}\n"))
    said = neftune("login", "--url", service.url)
    assert said.status == 0, said.err
    assert "may admin, read, write" in said.err
    assert neftune("models").out == f"{MODEL}\n"
    assert neftune("logout").status == 0
    assert neftune("models").status == 2


def test_up_starts_the_service_beside_it_or_says_that_it_is_not_there(
    neftune: Neftune, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr("os.execv", lambda _program, words: started.append(words[1:]))
    assert neftune("up", "--port", "8123").status == 0
    assert started == [["-m", "standalone", "up", "--port", "8123"]]
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    said = neftune("up")
    assert said.status == 2
    assert "make up" in said.err

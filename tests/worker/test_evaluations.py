"""Jobs that evaluate: what is laid out, what goes on after a death, and the judge that follows with a key."""

import base64
import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from neftune_store.db import unit_of_work
from neftune_store.evaluations import results_of
from neftune_store.job import Job
from neftune_store.sealing import Sealer
from neftune_store.secrets import SecretLedger
from tests.worker_house import QUICK, ROWS, House, kill, until
from worker.evaluating import Surroundings, tell_missing
from worker.workdir import PREFIX

KEY = "jk_canary_of_the_tests"
SECRET_KEY = base64.b64encode(bytes(32)).decode()
JUDGE = {"endpoint": "https://judge.example/v1", "model": "judge"}


def results(house: House, job: Job) -> dict[str, Any]:
    with unit_of_work(house.engine) as session:
        found = results_of(session, job.id)
    assert found is not None
    return found


def measured(house: House, job: Job, **asked: object) -> dict[str, Any]:
    """What an evaluation of the job finds."""
    done = house.wait(house.evaluate(job, **asked), "succeeded", "failed")
    assert done.status == "succeeded", house.log_tail(done)
    return results(house, done)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_an_evaluation_reads_the_weights_and_rows_it_names(busy_house: House) -> None:
    house = busy_house
    trained = house.wait(house.submit("steps=6 ckpt=3"), "succeeded")
    other = house.dataset(ROWS[: ROWS.index(b"\n") + 1])
    told = measured(house, trained, loss={"datasets": [other.id]})
    adapter = house.artifacts(trained)["adapter/adapter_model.safetensors"]
    assert told["weights"]["adapter_model.safetensors"] == adapter.sha256
    assert set(told["weights"]) == {"adapter_config.json", "adapter_model.safetensors"}
    assert told["step"] == "6"
    assert told["rows"] == {"rows": sha256(ROWS), other.id: other.sha256}
    # Of a checkpoint its weights alone, and rows only where they are read
    told = measured(house, trained, kinds=["benchmarks"], checkpoint=3)
    assert (list(told["weights"]), told["step"], told["rows"]) == (["weights.safetensors"], "3", {})
    told = measured(house, trained, checkpoint="base")
    assert told["weights"] == {}
    # and nothing that only training leaves
    evaluation = house.evaluate(trained)
    house.wait(evaluation, "succeeded")
    assert set(house.artifacts(evaluation)) == {"evaluation", "evaluation/results.json", "record", "log"}


def test_progress_is_shown_and_keeps_no_rows(busy_house: House) -> None:
    house = busy_house
    trained = house.wait(house.submit("steps=2 evaluating=1"), "succeeded")
    evaluation = house.evaluate(trained)
    shown = until(lambda: now if (now := house.job(evaluation).progress or {}).get("step") == 1 else None, 20)
    assert (shown["step"], shown["total_steps"]) == (1, 3)
    house.wait(evaluation, "succeeded")
    assert not {"evaluation.part", "evaluation.progress"} & set(house.events(evaluation))


def test_a_worker_killed_in_the_middle_costs_the_part_under_way(house: House) -> None:
    house.start("worker.reconcile")
    worker = house.start("worker", **QUICK)
    trained = house.wait(house.submit("steps=2 evaluating=0.7"), "succeeded")
    evaluation = house.evaluate(trained)
    until(lambda: "checkpoint.committed" in house.events(evaluation))
    # When its worker dies and another one starts
    kill(worker)
    house.start("worker", **QUICK)
    # Then it ends once, and what was kept was not done again
    done = house.wait(evaluation, "succeeded", "failed")
    assert (done.status, done.attempt) == ("succeeded", 2)
    first, *_, last = results(house, evaluation)["pids"]
    assert first != last
    assert house.events(evaluation).count("job.succeeded") == 1


def test_an_evaluation_can_be_paused_resumed_and_cancelled(busy_house: House) -> None:
    house = busy_house
    trained = house.wait(house.submit("steps=2 evaluating=1"), "succeeded")
    evaluation = house.evaluate(trained)
    until(lambda: "checkpoint.committed" in house.events(evaluation))
    house.pause(evaluation)
    house.wait(evaluation, "paused")
    house.resume(evaluation)
    house.wait(evaluation, "succeeded")
    first, *_, last = results(house, evaluation)["pids"]
    assert first != last
    other = house.evaluate(trained)
    house.wait(other, "running")
    house.cancel(other)
    house.wait(other, "cancelled")
    assert "evaluation" not in house.artifacts(other)


def test_weights_that_storage_has_lost_are_told(busy_house: House) -> None:
    house = busy_house
    trained = house.wait(house.submit("steps=3 weights_mb=0"), "succeeded")
    stored = house.root / "blobs" / house.artifacts(trained)["adapter/adapter_config.json"].blob_key
    whole = stored.read_bytes()
    stored.write_bytes(whole[::-1])
    try:
        evaluation = house.wait(house.evaluate(trained), "succeeded", "failed")
        assert (evaluation.status, evaluation.error_code) == ("failed", "adapter_corrupt")
    finally:
        stored.write_bytes(whole)


# The judge


@pytest.fixture(scope="module")
def court(busy_house: House) -> House:
    """The house with a worker that opens secrets, and a judge's key among them."""
    for process in busy_house.processes:
        process.terminate()
        process.wait(30)
    settings = {"NEFTUNE_SECRET_KEY": SECRET_KEY, "JUDGE_ALLOW": "127.0.0.1,*.example"}
    busy_house.start("worker", **QUICK, **settings)
    busy_house.start("worker.reconcile")
    with unit_of_work(busy_house.engine) as session:
        SecretLedger(session, Sealer.of(SECRET_KEY)).put(busy_house.project(), "judge", KEY)
    return busy_house


def judged(house: House, toy: str = "", **judge: object) -> Job:
    trained = house.wait(house.submit(f"steps=1 {toy}"), "succeeded")
    return house.evaluate(trained, kinds=["judge"], judge={**JUDGE, **judge})


def ended(house: House, job: Job) -> dict[str, Any]:
    done = house.wait(job, "succeeded", "failed", "cancelled")
    assert done.status == "succeeded", house.log_tail(done)
    return results(house, done)


def test_the_judge_gets_the_key_on_a_pipe_and_nobody_else_sees_it(court: House) -> None:
    house = court
    evaluation = judged(house, "environ=1", key={"secret": "judge"})
    told = ended(house, evaluation)
    assert told["judge"]["allow"] == ["127.0.0.1", "*.example"]
    facts = {fact.name: fact.data for fact in house.facts(evaluation)}
    assert facts["judge.heard"] == {"key": sha256(KEY.encode()), "seen": False}
    # Neither the runner's environment nor its arguments, nor anything that is kept, holds it
    assert KEY not in json.dumps(facts)
    files = [house.content(artifact) for artifact in house.artifacts(evaluation).values()]
    assert not any(KEY.encode() in file for file in files)
    assert KEY not in house.logs()


def test_what_a_judge_has_said_is_known_the_next_time(court: House) -> None:
    house = court
    first = ended(house, one := judged(house))
    assert "evaluation/judge_answers.jsonl" in house.artifacts(one)
    second = ended(house, judged(house))
    assert len(second["judge"]["known"]) > len(first["judge"]["known"])


@pytest.mark.parametrize(
    ("toy", "judge", "why"),
    [
        ("judging=dieagain", {}, "The process that asks was killed by SIGKILL."),
        ("judging=fail", {}, "The key is no word."),
        ("", {"key": {"secret": "gone"}}, "no secret of this name"),
    ],
)
def test_a_judge_that_fails_is_missing_and_fails_nothing(
    court: House, toy: str, judge: dict[str, object], why: str
) -> None:
    house = court
    if judge:  # it was there when it was named
        with unit_of_work(house.engine) as session:
            SecretLedger(session, Sealer.of(SECRET_KEY)).put(house.project(), "gone", KEY)
        evaluation = judged(house, "evaluating=0.5", **judge)
        with unit_of_work(house.engine) as session:
            SecretLedger(session, Sealer.of(SECRET_KEY)).delete(house.project(), "gone")
    else:
        evaluation = judged(house, toy)
    told = ended(house, evaluation)
    (missing,) = told["missing"]
    assert missing["what"] == "judge"
    assert why in missing["why"]
    assert "batch_size" not in missing["why"]
    assert len(told["pids"]) == 3


def test_a_judge_without_figures_is_missing_once_whatever_it_had_told(tmp_path: Path) -> None:
    results = tmp_path / "out" / "evaluation" / "results.json"
    results.parent.mkdir(parents=True)
    before = [{"what": what, "why": "Before."} for what in ("loss/held_out", "judge", "judge/checkpoint")]
    results.write_text(json.dumps({"missing": before}))
    tell_missing(cast(Surroundings, SimpleNamespace(out=tmp_path / "out")), "It is gone.")
    told = json.loads(results.read_text())["missing"]
    assert told == [before[0], {"what": "judge", "why": "It is gone."}]


def test_a_judge_that_dies_leaves_the_figures_of_what_it_has_heard(court: House) -> None:
    house = court
    evaluation = judged(house, "judging=die", key={"secret": "judge"})
    told = ended(house, evaluation)
    assert (told["judge"]["asked"], told["missing"]) == (False, [])
    # Who gives them asks nobody, and has no key to do so
    heard = [fact.data["key"] for fact in house.facts(evaluation) if fact.name == "judge.heard"]
    assert heard == [sha256(KEY.encode()), sha256(b"")]


def test_a_cancel_while_the_judge_is_asked_ends_it(court: House) -> None:
    house = court
    evaluation = judged(house, "judging_s=60", key={"secret": "judge"})
    until(lambda: "judge.heard" in house.events(evaluation), 20)
    house.cancel(evaluation)
    house.wait(evaluation, "cancelled")
    # Then neither who asked nor the key is left anywhere
    until(lambda: not any("judge-folder" in line for line in house.left_behind()))
    until(lambda: not any(house.work_dir.glob(f"{PREFIX}*")))
    assert set(house.artifacts(evaluation)) == {"log"}
    files = [path for path in house.root.rglob("*") if path.is_file()]
    assert not any(KEY.encode() in path.read_bytes() for path in files)


def test_a_pause_while_the_judge_is_asked_measures_nothing_again(court: House) -> None:
    house = court
    evaluation = judged(house, "judging_s=2")
    until(lambda: "judge.heard" in house.events(evaluation), 20)
    house.pause(evaluation)
    house.wait(evaluation, "paused")
    house.resume(evaluation)
    told = ended(house, evaluation)
    assert len(set(told["pids"])) == 1
    # and what the judge had said is known
    assert "paid-for" in told["judge"]["known"]

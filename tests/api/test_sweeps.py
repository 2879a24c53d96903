"""Series over HTTP: one call, its jobs, and what they come to."""

from typing import Any

import httpx
import pytest

from neftune_core.eval_losses import NAME
from neftune_store.db import unit_of_work
from neftune_store.settling import settle_succeeded
from tests.api.judged import succeed
from tests.api.live_api import MODEL, Service, claim, store_artifact, upload
from tests.core.report import made
from tests.core.report.shown import Shown


def body(client: httpx.Client, **given: Any) -> dict[str, Any]:
    job = {"model": MODEL, "dataset": upload(client)["id"], "name": "how much"}
    return {"job": job, "alpha": [5, 10], "seed": [1, 2, 3], **given}


def submitted(client: httpx.Client, **given: Any) -> dict[str, Any]:
    answer = client.post("/sweeps", json=body(client, **given))
    assert answer.status_code == 201, answer.text
    told: dict[str, Any] = answer.json()
    return told


def shown(client: httpx.Client, sweep: dict[str, Any]) -> dict[str, Any]:
    answer = client.get(f"/sweeps/{sweep['id']}")
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def all_succeed(
    service: Service, client: httpx.Client, sweep: dict[str, Any], losses: dict[float, float]
) -> None:
    for job in shown(client, sweep)["results"]:
        succeed(
            service,
            job,
            losses[job["alpha"]] + job["seed"] * 0.3 + (job["seed"] * 7 + job["alpha"]) % 3 / 100,
        )


def test_one_call_makes_all_jobs_and_they_are_ordinary_ones(client: httpx.Client) -> None:
    answer = client.post("/sweeps", json=body(client))
    sweep = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (201, f"/sweeps/{sweep['id']}")
    assert (sweep["status"], sweep["strategy"], sweep["name"]) == ("queued", "grid", "how much")
    assert (sweep["alpha"], sweep["seed"], sweep["jobs"]) == ([0, 5, 10], [1, 2, 3], {"queued": 9})
    assert sweep["cost"] == {"runs": 0, "grid_runs": 9, "saved_runs": None, "seconds": 0}
    assert "alpha" not in sweep["job"]
    jobs = client.get("/jobs", params={"sweep": sweep["id"]}).json()["items"]
    assert len(jobs) == 9
    assert {job["sweep"] for job in jobs} == {sweep["id"]}
    assert sorted((job["spec"]["alpha"], job["spec"]["training"]["seed"]) for job in jobs) == sorted(
        (alpha, seed) for alpha in (0, 5, 10) for seed in (1, 2, 3)
    )
    assert [one["id"] for one in client.get("/sweeps").json()["items"]] == [sweep["id"]]


def test_a_repeated_call_gives_the_same_series(client: httpx.Client) -> None:
    asked, key = body(client), {"Idempotency-Key": "series-1"}
    first, again = (client.post("/sweeps", json=asked, headers=key) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"]
    other = client.post("/sweeps", json={**asked, "seed": [9]}, headers=key)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")
    assert client.get("/jobs").json()["items"][0]["sweep"] == first.json()["id"]
    assert len(client.get("/jobs").json()["items"]) == 9


@pytest.mark.parametrize(
    ("given", "loc", "code"),
    [
        ({"alpha": [0]}, ["alpha"], "only_control"),
        ({"alphas": [5]}, ["alphas"], "unknown_field"),
        ({"strategy": "best"}, ["strategy"], "literal_error"),
        ({"job": {"model": MODEL, "dataset": "ds_x", "alpha": 5}}, [], "varied"),
        ({"job": {"model": MODEL, "dataset": "ds_x", "aplha": 5}}, ["job", "aplha"], "unknown_field"),
        ({"job": {"model": MODEL}}, ["job", "dataset"], "missing_field"),
    ],
)
def test_what_is_wrong_is_told_with_its_place_and_makes_nothing(
    client: httpx.Client, given: dict[str, Any], loc: list[str], code: str
) -> None:
    answer = client.post("/sweeps", json=body(client, **given))
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_spec")
    assert [(fault["loc"], fault["code"]) for fault in answer.json()["errors"]] == [(loc, code)]
    assert client.get("/jobs").json()["items"] == client.get("/sweeps").json()["items"] == []


@pytest.mark.parametrize(
    ("given", "loc", "code"),
    [
        ({"model": "org/unknown"}, ["job", "model"], "model_not_available"),
        ({"hub_token": {"secret": "none"}}, ["job", "hub_token", "secret"], "secret_unknown"),
        ({"dataset": "ds_gone"}, ["job", "dataset"], "not_found"),
        ({"validation": {"dataset": "ds_gone"}}, ["job", "validation", "dataset"], "not_found"),
    ],
)
@pytest.mark.parametrize("dry_run", [False, True])
def test_what_the_job_of_a_series_names_and_is_not_there_is_told_in_its_place(
    client: httpx.Client, given: dict[str, Any], loc: list[str], code: str, *, dry_run: bool
) -> None:
    asked = body(client)
    answer = client.post(
        "/sweeps", json={**asked, "job": {**asked["job"], **given}}, params={"dry_run": dry_run}
    )
    assert (answer.status_code, answer.json()["code"]) == (404 if code == "not_found" else 422, code)
    assert [(fault["loc"], fault["code"]) for fault in answer.json()["errors"]] == [(loc, code)]
    assert client.get("/jobs").json()["items"] == client.get("/sweeps").json()["items"] == []


def test_a_series_is_rehearsed_as_a_whole_and_nothing_is_made(client: httpx.Client) -> None:
    asked, how = body(client), {"dry_run": True, "estimates": False}
    answer = client.post("/sweeps", json=asked, params=how)
    told = answer.json()
    assert (answer.status_code, told["dry_run"]) == (200, True)
    assert (told["alpha"], told["seed"], told["runs"]) == ([0, 5, 10], [1, 2, 3], 9)
    noisiest = {**asked["job"], "alpha": 10, "training": {"seed": 1}}
    assert told["each"] == client.post("/jobs", json=noisiest, params=how).json()
    refused = client.post("/sweeps", json={**asked, "seed": [1, 1]}, params=how)
    assert [(fault["loc"], fault["code"]) for fault in refused.json()["errors"]] == [
        (["seed"], "given_twice")
    ]
    assert client.get("/jobs").json()["items"] == client.get("/sweeps").json()["items"] == []


def test_a_series_keeps_its_rows_as_long_as_one_of_its_jobs_goes_on(
    service: Service, client: httpx.Client
) -> None:
    sweep = submitted(client, alpha=[5], seed=[1])
    first, other = shown(client, sweep)["results"]
    rows = f"/datasets/{sweep['job']['dataset']}"
    claim(service, {"id": first["job"]})
    refused = client.delete(rows)
    assert (refused.status_code, refused.json()["code"]) == (409, "dataset_in_use")
    # nor when all are told to end, and one has not yet
    assert client.post(f"/sweeps/{sweep['id']}/cancel").status_code == 202
    assert client.get(f"/jobs/{other['job']}").json()["status"] == "cancelled"
    assert client.delete(rows).status_code == 409
    assert client.get(rows).status_code == 200


def test_rows_of_a_series_that_has_ended_can_be_deleted_and_its_table_stays(
    service: Service, client: httpx.Client
) -> None:
    sweep = submitted(client, alpha=[5])
    all_succeed(service, client, sweep, {0: 4.5, 5: 4.1})
    before = shown(client, sweep)
    assert client.delete(f"/datasets/{sweep['job']['dataset']}").status_code == 204
    assert shown(client, sweep) == before
    assert before["verdict"]["recommended_alpha"] == 5


def test_a_foreign_dataset_makes_no_series(client: httpx.Client, stranger: httpx.Client) -> None:
    answer = stranger.post("/sweeps", json=body(client))
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert stranger.get("/sweeps").json()["items"] == []


def test_a_finished_series_has_its_table_and_recommends_an_alpha(
    service: Service, client: httpx.Client
) -> None:
    sweep = submitted(client)
    assert shown(client, sweep)["verdict"]["reasons"] == ["unfinished"]
    all_succeed(service, client, sweep, {0: 4.5, 5: 4.4, 10: 4.1})
    told = shown(client, sweep)
    assert told["status"] == "succeeded"
    verdict = told["verdict"]
    assert (verdict["outcome"], verdict["recommended_alpha"], verdict["reasons"]) == ("recommended", 10, [])
    assert verdict["interval"][0] < -0.4 < verdict["interval"][1] < 0
    of_ten = next(line for line in verdict["alphas"] if line["alpha"] == 10)
    assert of_ten["to_last"]["interval"] == verdict["interval"]
    assert (of_ten["to_last"]["pairs"], of_ten["to_last"]["better"]) == (3, 3)
    line = told["results"][0]
    assert (line["alpha"], line["seed"], line["best_step"]) == (0, 1, 9)
    assert (line["clean_train_loss"], line["best_clean_train_loss"]) == (1.5, 1.75)
    assert line["eval_loss"] == pytest.approx(4.8, abs=0.03)
    # And the list tells no less of where it is
    assert client.get("/sweeps").json()["items"][0]["status"] == "succeeded"


def test_each_line_has_what_was_evaluated_of_its_run_and_where_that_is(
    service: Service, client: httpx.Client
) -> None:
    sweep = submitted(client)
    all_succeed(service, client, sweep, {0: 4.5, 5: 4.4, 10: 4.1})
    job = shown(client, sweep)["results"][4]["job"]
    # Given one that is done, and one that waits
    asked = {"kinds": ["loss"], "checkpoint": "base", "name": "once"}
    done, waiting = (client.post(f"/jobs/{job}/evaluations", json=asked).json() for _ in range(2))
    whole = made.whole_evaluation().results.model_dump(mode="json")
    with unit_of_work(service.engine) as session:
        file = store_artifact(service, "evaluation/results.json", b"{}", "application/json")
        settle_succeeded(session, claim(service, done), whole, [file])
    # When the series is looked at
    lines = {line["job"]: line for line in shown(client, sweep)["results"]}
    # Then the run's line has both, and no other has any
    first, second = lines[job]["evaluations"]
    assert (first["id"], first["status"], first["figures"]) == (waiting["id"], "queued", None)
    assert (second["id"], second["status"], second["missing"]) == (done["id"], "succeeded", 0)
    assert second["checkpoint"] == {"of": "base", "step": 0}
    assert {(one["measure"], one["of"]): one["value"] for one in second["figures"]} == {
        ("loss", "held_out"): 3.25,
        ("rouge_l", "train"): 0.4375,
        ("bleu", "train"): 21.75,
        ("characters", "prompts"): 396.25,
        ("words", "prompts"): 64.5,
        ("repetition_2", "prompts"): 0.0625,
        ("log_diversity", "50 words"): 2.71,
        ("log_diversity_published", "50 words"): 6.82,
        ("win_rate", "base"): 61.25,
        ("win_rate_length_controlled", "base"): 58.5,
        ("acc", "arc_challenge"): 0.4125,
    }
    assert second["figures"][-1] == {
        "kind": "benchmarks",
        "measure": "acc",
        "of": "arc_challenge",
        "value": 0.4125,
        "standard_error": 0.0144,
        "base": 0.375,
        "difference": 0.0375,
        "difference_standard_error": 0.0085,
    }
    assert client.get(f"/evaluations/{done['id']}").json()["figures"] == second["figures"]
    assert client.get(f"/evaluations/{waiting['id']}").json()["figures"] is None
    assert [line["evaluations_total"] for line in lines.values()] == [0, 0, 0, 0, 2, 0, 0, 0, 0]
    # And so has the report, on the page too
    report = client.get(f"/sweeps/{sweep['id']}/report", params={"format": "json"}).json()
    state, figures = next(one["blocks"] for one in report["sections"] if one["id"] == "evaluated")
    assert [row["status"] for row in state["rows"]] == ["queued", "succeeded"]
    assert {row["evaluation"] for row in figures["rows"]} == {done["id"]}
    assert [row["value"] for row in figures["rows"]] == [one["value"] for one in second["figures"]]
    assert done["id"] in Shown(client.get(f"/sweeps/{sweep['id']}/report").text).texts


def test_stopping_early_can_be_as_good(service: Service, client: httpx.Client) -> None:
    sweep = submitted(client, alpha=[5])
    for job in shown(client, sweep)["results"]:
        noise = (job["seed"] * 7 + job["alpha"]) % 3 / 100
        succeed(service, job, (4.1 if job["alpha"] else 4.5) + noise, best=4.1 + noise)
    verdict = shown(client, sweep)["verdict"]
    assert (verdict["outcome"], verdict["recommended_alpha"]) == ("inconclusive", None)
    assert verdict["reasons"] == ["early_stopping_is_as_good"]


def test_two_seeds_tell_points_and_no_more(service: Service, client: httpx.Client) -> None:
    sweep = submitted(client, seed=[1, 2])
    all_succeed(service, client, sweep, {0: 4.5, 5: 1.0, 10: 1.0})
    verdict = shown(client, sweep)["verdict"]
    assert (verdict["outcome"], verdict["reasons"]) == ("inconclusive", ["too_few_seeds"])
    assert verdict["alphas"][0]["to_last"]["mean"] == pytest.approx(-3.5, abs=0.05)
    assert verdict["alphas"][0]["to_last"]["interval"] is None


def test_runs_that_were_deleted_still_count_as_asked_for(service: Service, client: httpx.Client) -> None:
    sweep = submitted(client, alpha=[5, 10, 15, 20])
    all_succeed(service, client, sweep, {0: 4.5, 5: 4.4, 10: 4.48, 15: 4.49, 20: 4.5})
    before = shown(client, sweep)
    for line in before["results"]:
        if line["alpha"] > 5:
            assert client.delete(f"/jobs/{line['job']}").status_code == 204
    told = shown(client, sweep)
    assert len(told["results"]) == 6
    assert (told["cost"]["grid_runs"], before["cost"]["grid_runs"]) == (15, 15)
    five, *others = told["verdict"]["alphas"]
    assert [(line["alpha"], line["to_last"]) for line in others] == [(10, None), (15, None), (20, None)]
    # Four questions were asked of the runs, whichever are still shown
    assert five["p_adjusted"] == pytest.approx(4 * max(five["to_last"]["p"], five["to_best"]["p"]))


def test_a_series_without_a_control_is_told_that(service: Service, client: httpx.Client) -> None:
    # Given a control that was cancelled, and two that have been deleted
    sweep = submitted(client, alpha=[5])
    cancelled, *deleted = [one for one in shown(client, sweep)["results"] if one["alpha"] == 0]
    assert client.post(f"/jobs/{cancelled['job']}/cancel").json()["status"] == "cancelled"
    for job in shown(client, sweep)["results"]:
        if job["status"] == "queued":
            succeed(service, job, 4.1)
    assert {client.delete(f"/jobs/{one['job']}").status_code for one in deleted} == {204}
    verdict = shown(client, sweep)["verdict"]
    assert (verdict["outcome"], verdict["reasons"]) == ("inconclusive", ["no_control"])
    assert "control" in verdict["why"]


def test_a_file_that_is_no_such_file_counts_for_nothing(service: Service, client: httpx.Client) -> None:
    sweep = submitted(client, alpha=[5], seed=[1])
    for job in shown(client, sweep)["results"]:
        row = store_artifact(service, NAME, b"[" * 1000, "application/json")
        with unit_of_work(service.engine) as session:
            settle_succeeded(session, claim(service, {"id": job["job"]}), {"final": {}}, [row])
    told = shown(client, sweep)
    assert (told["status"], told["verdict"]["outcome"]) == ("succeeded", "inconclusive")


def test_a_series_is_told_what_to_do_as_a_whole(client: httpx.Client) -> None:
    sweep = submitted(client)
    for word, status, intent in (
        ("pause", "paused", "pause"),
        ("pause", "paused", "pause"),
        ("resume", "queued", "run"),
        ("cancel", "cancelled", "cancel"),
        ("cancel", "cancelled", "cancel"),
    ):
        answer = client.post(f"/sweeps/{sweep['id']}/{word}")
        assert (answer.status_code, answer.json()["status"], answer.json()["intent"]) == (202, status, intent)
    refused = client.post(f"/sweeps/{sweep['id']}/resume")
    assert (refused.status_code, refused.json()["code"]) == (409, "already_finished")
    assert refused.headers["x-should-retry"] == "false"
    assert shown(client, sweep)["cost"]["saved_runs"] == 9

"""Series through the official SDK: a job that lists its children, and whose model is the winner's."""

from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob

from tests.api.judged import succeed
from tests.api.live_api import MODEL, Service, upload
from tests.api.openai_sdk import create, key_of, put, sdk
from tests.api.test_openai_jobs import extra

GAINS = {0: 4.5, 5: 4.4, 10: 4.1}


@pytest.fixture
def ai(service: Service, client: httpx.Client) -> Iterator[OpenAI]:
    """The SDK with the key of the native client, so both see the same project."""
    with sdk(service.url, key_of(client)) as given:
        yield given


def series(ai: OpenAI, file: str | None = None, **more: Any) -> FineTuningJob:
    asked = {"alpha": [5, 10], "seed": [3, 1, 2], **more.pop("sweep", {})}
    body = {"sweep": asked, **more.pop("extra_body", {})}
    return create(ai, file, extra_body=body, **more)


def children(job: FineTuningJob) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = extra(job)["sweep"]["children"]
    return told


def all_succeed(service: Service, job: FineTuningJob, losses: dict[float, float]) -> None:
    for child in children(job):
        alpha, seed = child["neftune_alpha"], child["seed"]
        told = {"job": child["id"].replace("ftjob-", "job_"), "alpha": alpha, "seed": seed}
        succeed(service, told, losses[alpha] + seed * 0.3 + (seed * 7 + alpha) % 3 / 100)


def test_a_series_is_a_job_whose_children_are_ordinary_ones(ai: OpenAI, client: httpx.Client) -> None:
    job = series(ai, suffix="how much", metadata={"team": "a"}, sweep={"strategy": "halving"})
    told = extra(job)["sweep"]
    assert (job.status, job.fine_tuned_model, job.metadata) == ("queued", None, {"team": "a"})
    assert (told["strategy"], told["alpha"], told["seed"]) == ("halving", [0, 5, 10], [3, 1, 2])
    assert (told["outcome"], told["winner"], len(told["children"])) == (None, None, 9)
    # It is the native one
    native = client.get(f"/sweeps/{extra(job)['native_id']}").json()
    assert (native["name"], native["strategy"], native["seed"]) == ("how much", "halving", [3, 1, 2])
    assert [line["job"].partition("_")[2] for line in native["results"]] == [
        child["id"].partition("-")[2] for child in told["children"]
    ]
    # Its children name it, and are found by that
    child = ai.fine_tuning.jobs.retrieve(told["children"][-1]["id"])
    assert child.metadata == {"team": "a", "parent": job.id}
    assert (child.hyperparameters.neftune_alpha, child.seed) == (10, 2)  # type: ignore[attr-defined]  # ours
    assert extra(child)["sweep"] is None
    found = {one.id for one in ai.fine_tuning.jobs.list(metadata={"parent": job.id})}
    assert found == {one["id"] for one in told["children"]}
    both = {"parent": job.id, "team": "a"}
    assert len(list(ai.fine_tuning.jobs.list(limit=4, metadata=both))) == 9
    assert list(ai.fine_tuning.jobs.list(metadata={"parent": job.id, "team": "b"})) == []


def test_a_series_of_the_native_surface_is_shown_here_too(ai: OpenAI, client: httpx.Client) -> None:
    asked = {"job": {"model": MODEL, "dataset": upload(client)["id"]}, "alpha": [5], "seed": [1]}
    native = client.post("/sweeps", json=asked).json()
    job = ai.fine_tuning.jobs.retrieve(native["id"].replace("swp_", "ftjob-"))
    assert (extra(job)["native_id"], len(children(job))) == (native["id"], 2)


@pytest.mark.parametrize(("losses", "wins"), [(GAINS, True), ({0: 4.1, 5: 4.4, 10: 4.5}, False)])
def test_its_model_is_that_of_the_recommended_alpha_at_the_first_seed(
    service: Service, ai: OpenAI, losses: dict[float, float], wins: bool
) -> None:
    asked = series(ai)
    all_succeed(service, asked, losses)
    job = ai.fine_tuning.jobs.retrieve(asked.id)
    told = extra(job)["sweep"]
    assert (job.status, job.finished_at is not None) == ("succeeded", True)
    if not wins:
        assert (told["outcome"], told["winner"], job.fine_tuned_model) == ("not_recommended", None, None)
        return
    winner = next(one for one in told["children"] if (one["neftune_alpha"], one["seed"]) == (10, 3))
    assert (told["outcome"], told["recommended_alpha"], told["winner"]) == ("recommended", 10, winner["id"])
    assert job.fine_tuned_model == winner["fine_tuned_model"]
    assert job.fine_tuned_model == ai.fine_tuning.jobs.retrieve(winner["id"]).fine_tuned_model
    assert (job.hyperparameters.neftune_alpha, job.seed) == (10, 3)  # type: ignore[attr-defined]  # ours
    assert ai.models.retrieve(job.fine_tuned_model or "").id == job.fine_tuned_model
    (listed,) = (one for one in ai.fine_tuning.jobs.list() if one.id == job.id)
    assert listed == job


def test_told_as_a_whole_all_children_hear_it(ai: OpenAI) -> None:
    jobs = ai.fine_tuning.jobs
    job = series(ai)
    for tell, status in ((jobs.pause, "paused"), (jobs.resume, "queued"), (jobs.cancel, "cancelled")):
        told = tell(job.id)
        assert (told.id, told.status) == (job.id, status)
        assert {child["status"] for child in children(told)} == {status}
    assert jobs.cancel(job.id).status == "cancelled"
    with pytest.raises(openai.ConflictError) as late:
        jobs.resume(job.id)
    assert late.value.code == "already_finished"


def test_jobs_and_series_are_paged_in_one_list(ai: OpenAI) -> None:
    file = put(ai).id
    one = {"alpha": [5], "seed": [1]}
    made: list[str] = []
    for number in range(3):
        made.append(create(ai, file, metadata={"n": "1"}).id)
        job = series(ai, file, sweep=one, metadata={"n": "1"} if number else {})
        made += [job.id, *(child["id"] for child in children(job))]
    for limit in (1, 2, 5, 200):
        assert [found.id for found in ai.fine_tuning.jobs.list(limit=limit)] == made[::-1]
    assert [found.id for found in ai.fine_tuning.jobs.list(metadata={"n": "1"})] == [*made[:3:-1], made[0]]
    assert [found.id for found in ai.fine_tuning.jobs.list(extra_query={"metadata": "null"})] == [made[1]]


def test_a_repeated_attempt_gives_the_same_series(ai: OpenAI, client: httpx.Client) -> None:
    file = put(ai).id
    first = series(ai, file)
    again = series(ai, file, extra_headers={"x-stainless-retry-count": "1"})
    assert again.id == first.id
    assert len(client.get("/sweeps").json()["items"]) == 1
    assert series(ai, file).id != first.id


@pytest.mark.parametrize(
    ("more", "param", "code"),
    [
        ({"sweep": {"alpha": [0]}}, "sweep.alpha", "invalid_spec"),
        ({"sweep": {"alpha": ["5"]}}, "sweep.alpha.0", "invalid_spec"),
        ({"sweep": {"strategy": "best"}}, "sweep.strategy", "invalid_spec"),
        ({"sweep": {"alphas": [5]}}, "sweep.alphas", "invalid_request"),
        ({"extra_body": {"sweep": 5}}, "sweep", "invalid_request"),
        ({"seed": 7}, "seed", "conflicting_fields"),
        ({"metadata": {"neftune_alpha": "5"}}, "metadata.neftune_alpha", "conflicting_fields"),
        ({"metadata": {"parent": "me"}}, "metadata.parent", "invalid_request"),
        ({"extra_body": {"native": {"alpha": 5}}}, "sweep", "invalid_spec"),
        ({"extra_body": {"native": {"lora": {"r": 0}}}}, "native.lora.r", "invalid_spec"),
        ({"suffix": ""}, "suffix", "invalid_request"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(
    ai: OpenAI, client: httpx.Client, more: dict[str, Any], param: str, code: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        series(ai, **more)
    assert (refused.value.code, refused.value.param) == (code, param)
    assert client.get("/jobs").json()["items"] == client.get("/sweeps").json()["items"] == []


def test_a_series_has_no_events_and_a_stranger_none_of_it(service: Service, ai: OpenAI) -> None:
    job = series(ai).id
    assert list(ai.fine_tuning.jobs.list_events(job)) == []
    assert list(ai.fine_tuning.jobs.checkpoints.list(job)) == []
    with sdk(service.url, service.key()) as stranger:
        jobs = stranger.fine_tuning.jobs
        asks = (jobs.retrieve, jobs.cancel, jobs.pause, jobs.resume, jobs.list_events, jobs.checkpoints.list)
        for ask in asks:
            told = []
            for one in (job, "ftjob-01k0000000000000000000000a"):
                with pytest.raises(openai.NotFoundError) as unknown:
                    ask(one)
                told.append(unknown.value.body)
            assert told[0] == told[1]
        with pytest.raises(openai.NotFoundError):
            jobs.list(after=job)
        assert list(jobs.list(metadata={"parent": job})) == []

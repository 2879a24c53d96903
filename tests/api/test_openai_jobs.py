"""Fine-tuning jobs through the official SDK: asked for, listed, watched and told to stop."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob

from neftune_store.db import unit_of_work
from neftune_store.runs import commit_checkpoint, write_metrics
from neftune_store.settling import settle_failed, settle_succeeded
from tests.api.live_api import MODEL, Service, claim, make_settings, running, store_artifact
from tests.api.openai_sdk import create, key_of, native_id, put, sdk


@pytest.fixture
def ai(service: Service, client: httpx.Client) -> Iterator[OpenAI]:
    """The SDK, with the key that `client` has."""
    with sdk(service.url, key_of(client)) as found:
        yield found


def extra(job: FineTuningJob) -> dict[str, Any]:
    """What the SDK keeps without having a name for it."""
    return dict(job.model_extra or {})


def spec(client: httpx.Client, job: FineTuningJob) -> dict[str, Any]:
    """The spec of a job as the native surface shows it."""
    return dict(client.get(f"/jobs/{native_id(job)['id']}").json()["spec"])


def supervised(**hyperparameters: Any) -> Any:
    return {"type": "supervised", "supervised": {"hyperparameters": hyperparameters}}


def tuned(service: Service, ai: OpenAI, **more: Any) -> FineTuningJob:
    """A job that has run: three steps, two checkpoints, results."""
    job = create(ai, **more)
    claimed = claim(service, native_id(job))
    numbers = {"token_accuracy": 0.5, "clean_train_loss": 1.5, "tokens": 640.0, "step": 99.0}
    rows = [(step, {"train_loss": 2.0 / step, **numbers}) for step in (1, 2, 3)]
    rows[1][1]["eval_loss"] = 1.25
    results = store_artifact(service, "results.csv", b"step,train_loss\n1,2.0\n", "text/csv")
    with unit_of_work(service.engine) as session:
        write_metrics(session, claimed, rows, progress={"step": 3, "eta_s": 60})
        for step in (2, 3):
            commit_checkpoint(session, claimed, step)
        settle_succeeded(session, claimed, {}, [results])
    return ai.fine_tuning.jobs.retrieve(job.id)


def test_a_job_has_every_field_that_clients_rely_on(ai: OpenAI, client: httpx.Client) -> None:
    file = put(ai)
    job = create(ai, file.id, suffix="Support Bot!", seed=7, metadata={"team": "a"})

    assert job.id.startswith("ftjob-")
    assert (job.object, job.model, job.status) == ("fine_tuning.job", MODEL, "queued")
    assert (job.training_file, job.validation_file, job.result_files) == (file.id, None, [])
    assert (job.seed, job.metadata, job.integrations) == (7, {"team": "a"}, None)
    assert (job.fine_tuned_model, job.finished_at, job.trained_tokens, job.error) == (None,) * 4
    assert job.organization_id.startswith("org-")
    numbers = job.hyperparameters
    assert (numbers.n_epochs, numbers.batch_size, numbers.learning_rate_multiplier) == (3, 16, 1.0)
    assert job.method is not None
    assert job.method.type == "supervised"
    assert extra(job)["native_id"] == native_id(job)["id"]
    assert ai.fine_tuning.jobs.retrieve(job.id) == job
    assert client.get(f"/jobs/{native_id(job)['id']}").json()["name"] == "Support Bot!"


def test_names_of_this_surface_become_fields_of_the_spec(ai: OpenAI, client: httpx.Client) -> None:
    file, held_out = put(ai).id, put(ai).id
    job = create(
        ai,
        file,
        validation_file=held_out,
        suffix="bot",
        seed=3,
        metadata={"k": "v"},
        method=supervised(n_epochs=2, batch_size=8, learning_rate_multiplier=1.5, neftune_alpha=10),
        extra_body={"native": {"lora": {"r": 8}, "training": {"scheduler": "linear"}, "tags": ["x"]}},
    )
    made = spec(client, job)
    assert made["dataset"] == file.replace("file-", "ds_")
    assert made["validation"]["dataset"] == held_out.replace("file-", "ds_")
    assert (made["name"], made["metadata"], made["alpha"], made["tags"]) == ("bot", {"k": "v"}, 10.0, ["x"])
    assert made["lora"]["r"] == 8
    training = made["training"]
    assert (training["epochs"], training["batch_size"], training["seed"]) == (2.0, 8, 3)
    assert (training["scheduler"], training["learning_rate"]) == ("linear", pytest.approx(3e-4, rel=1e-12))
    assert job.hyperparameters.learning_rate_multiplier == 1.5
    assert (job.hyperparameters.model_extra or {})["neftune_alpha"] == 10
    assert job.validation_file == held_out


def test_alpha_comes_from_wherever_a_client_can_put_it(ai: OpenAI, client: httpx.Client) -> None:
    file = put(ai).id
    for more in (
        {"method": supervised(neftune_alpha=7.5)},
        {"hyperparameters": {"neftune_alpha": 7.5}},
        {"metadata": {"neftune_alpha": "7.5"}},
        {"extra_body": {"native": {"alpha": 7.5}}},
        {"extra_body": {"hyperparameters": {"neftune_alpha": 7.5}}, "metadata": {"neftune_alpha": "7.50"}},
    ):
        assert spec(client, create(ai, file, **more))["alpha"] == 7.5, more
    assert spec(client, create(ai, file))["alpha"] == 5.0


def test_a_multiplier_multiplies_what_the_preset_would_have_used(ai: OpenAI, client: httpx.Client) -> None:
    native = {"preset": "paper-alpaca"}
    file = put(ai).id
    usual = spec(client, create(ai, file, extra_body={"native": native}))["training"]["learning_rate"]
    job = create(ai, file, method=supervised(learning_rate_multiplier=2), extra_body={"native": native})
    assert spec(client, job)["training"]["learning_rate"] == 2 * usual
    assert job.hyperparameters.learning_rate_multiplier == 2.0


@pytest.mark.parametrize(
    ("more", "param", "code"),
    [
        ({"suffix": ""}, "suffix", "invalid_request"),
        ({"suffix": "x" * 65}, "suffix", "invalid_request"),
        ({"suffix": "a\u202eb"}, "suffix", "invalid_request"),
        ({"seed": -1}, "seed", "invalid_request"),
        ({"seed": 2**31}, "seed", "invalid_request"),
        ({"seed": True}, "seed", "invalid_request"),
        ({"metadata": {"k": "x" * 513}}, "metadata", "invalid_spec"),
        ({"metadata": {str(n): "x" for n in range(17)}}, "metadata", "invalid_spec"),
        ({"metadata": {"k": 5}}, "metadata", "invalid_spec"),
        ({"metadata": {"neftune_alpha": "strong"}}, "metadata.neftune_alpha", "invalid_request"),
        ({"metadata": {"neftune_alpha": "NaN"}}, "metadata.neftune_alpha", "invalid_request"),
        ({"metadata": {"neftune_alpha": "101"}}, "metadata.neftune_alpha", "invalid_spec"),
        ({"method": supervised(n_epochs=0)}, "method.supervised.hyperparameters.n_epochs", "invalid_request"),
        (
            {"method": supervised(n_epochs="many")},
            "method.supervised.hyperparameters.n_epochs",
            "invalid_request",
        ),
        (
            {"method": supervised(batch_size=257)},
            "method.supervised.hyperparameters.batch_size",
            "invalid_request",
        ),
        (
            {"method": supervised(neftune_alpha=-1)},
            "method.supervised.hyperparameters.neftune_alpha",
            "invalid_request",
        ),
        (
            {"method": supervised(neftune_alpha="5")},
            "method.supervised.hyperparameters.neftune_alpha",
            "invalid_request",
        ),
        (
            {"method": supervised(learning_rate_multiplier=0)},
            "method.supervised.hyperparameters.learning_rate_multiplier",
            "invalid_request",
        ),
        (
            {"method": supervised(learning_rate_multiplier=1e9)},
            "method.supervised.hyperparameters.learning_rate_multiplier",
            "invalid_spec",
        ),
        ({"hyperparameters": {"batch_size": "big"}}, "hyperparameters.batch_size", "invalid_request"),
        ({"extra_body": {"native": {"lora": {"r": 0}}}}, "native.lora.r", "invalid_spec"),
        ({"extra_body": {"native": {"training": 5}, "seed": 1}}, "native.training", "invalid_request"),
        ({"extra_body": {"native": {"method": "unheard"}}}, "native.method", "invalid_spec"),
        ({"extra_body": {"native": {"init_from": "job_x"}}}, "native.init_from", "not_supported"),
        ({"extra_body": {"alpha": 5}}, "alpha", "invalid_request"),
        ({"extra_body": {"model": "../../etc"}}, "model", "invalid_spec"),
        ({"extra_body": {"model": "other/model"}}, "model", "model_not_available"),
        ({"method": {"type": "dpo"}}, "method.dpo", "unsupported_method"),
        ({"method": {"type": "reinforcement"}}, "method.reinforcement", "unsupported_method"),
        (
            {"integrations": [{"type": "wandb", "wandb": {"project": "p"}}]},
            "integrations",
            "unsupported_method",
        ),
        # Two places of one body that ask for different things.
        (
            {"method": supervised(neftune_alpha=5), "metadata": {"neftune_alpha": "6"}},
            "method.supervised.hyperparameters.neftune_alpha",
            "conflicting_fields",
        ),
        ({"seed": 1, "extra_body": {"native": {"training": {"seed": 2}}}}, "seed", "conflicting_fields"),
        ({"extra_body": {"native": {"model": "org/other"}}}, "model", "conflicting_fields"),
        (
            {"method": supervised(n_epochs=1), "hyperparameters": {"n_epochs": 2}},
            "hyperparameters.n_epochs",
            "conflicting_fields",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(
    ai: OpenAI, client: httpx.Client, more: dict[str, Any], param: str, code: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        create(ai, **more)
    error = refused.value
    assert (error.code, error.param, error.type) == (code, param, "invalid_request_error")
    assert error.message
    assert "strong" not in error.response.text
    assert client.get("/jobs").json()["items"] == []


def test_a_file_that_is_not_there_and_a_foreign_one_read_the_same(service: Service, ai: OpenAI) -> None:
    with sdk(service.url, service.key()) as stranger:
        theirs = put(stranger).id
    mine = put(ai).id
    ai.files.delete(mine)
    told = []
    for file in (theirs, mine, "file-01k0000000000000000000000a", "file-x", "ds_x"):
        for place in ("training_file", "validation_file"):
            files = {"training_file": put(ai).id, place: file}
            with pytest.raises(openai.NotFoundError) as unknown:
                ai.fine_tuning.jobs.create(model=MODEL, **files)  # type: ignore[arg-type]  # two of its names
            assert (unknown.value.code, unknown.value.param) == ("file_not_found", place)
            told.append((place, unknown.value.message))
    assert len(set(told)) == 2


def test_a_table_of_results_is_nothing_to_train_on(service: Service, ai: OpenAI) -> None:
    (results,) = tuned(service, ai).result_files
    with pytest.raises(openai.BadRequestError) as refused:
        create(ai, results)
    assert refused.value.param == "training_file"


def test_jobs_are_paged_newest_first(ai: OpenAI, client: httpx.Client) -> None:
    file = put(ai).id
    ids = [create(ai, file).id for _ in range(5)]
    assert [job.id for job in ai.fine_tuning.jobs.list(limit=2)] == ids[::-1]
    # also when the last one of a page has been deleted since
    ai.fine_tuning.jobs.cancel(ids[2])
    assert client.delete(f"/jobs/{ids[2].replace('ftjob-', 'job_')}").status_code == 204
    assert [job.id for job in ai.fine_tuning.jobs.list(after=ids[2])] == [ids[1], ids[0]]


def test_jobs_are_found_by_their_metadata(ai: OpenAI) -> None:
    file = put(ai).id
    both = create(ai, file, metadata={"team": "a", "empty": ""}).id
    team = create(ai, file, metadata={"team": "a", "stage": "50% \u00e9"}).id
    odd = create(ai, file, metadata={"a]b": "c", "x[0]": "1"}).id
    none = create(ai, file).id

    def found(query: dict[str, str]) -> list[str]:
        return [job.id for job in ai.fine_tuning.jobs.list(limit=1, extra_query=query)]

    assert found({"metadata[team]": "a"}) == [team, both]
    assert found({"metadata[team]": "a", "metadata[empty]": ""}) == [both]
    assert found({"metadata[stage]": "50% \u00e9"}) == [team]
    assert found({"metadata[team]": "b"}) == []
    assert found({"metadata": "null"}) == [none]
    for key, value in {"a]b": "c", "x[0]": "1"}.items():  # a filter passed over would list all jobs
        assert [job.id for job in ai.fine_tuning.jobs.list(metadata={key: value})] == [odd]
        assert [job.id for job in ai.fine_tuning.jobs.list(metadata={key: "other"})] == []
    assert [job.id for job in ai.fine_tuning.jobs.list(metadata={"team": "a"})] == [team, both]


@pytest.mark.parametrize(
    "query",
    [
        {"metadata": "some"},
        {"metadata[k]": "x" * 513},
        {"metadata[" + "k" * 65 + "]": "x"},
        {"metadata[k]": "\x00"},
        {"metadata": "null", "metadata[k]": "v"},
        {"metadata[k": "v"},
        {f"metadata[{number}]": "v" for number in range(17)},
        {"limit": "0"},
        {"limit": "201"},
        {"limit": "many"},
    ],
)
def test_filters_that_do_not_fit_are_refused(ai: OpenAI, query: dict[str, str]) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        ai.fine_tuning.jobs.list(extra_query=query)
    assert refused.value.param == ("limit" if "limit" in query else "metadata")
    assert refused.value.code == "invalid_request"


def test_a_job_is_paused_resumed_and_cancelled(ai: OpenAI) -> None:
    jobs = ai.fine_tuning.jobs
    job = create(ai)
    assert jobs.pause(job.id).status == "paused"  # type: ignore[comparison-overlap]  # not in the SDK's list
    assert extra(jobs.retrieve(job.id))["native_status"] == "paused"
    assert jobs.resume(job.id).status == "queued"
    ended = jobs.cancel(job.id)
    assert (ended.status, ended.finished_at is not None) == ("cancelled", True)
    assert jobs.cancel(job.id) == ended
    with pytest.raises(openai.ConflictError) as late:
        jobs.pause(job.id)
    assert late.value.code == "already_finished"
    assert late.value.response.headers["x-should-retry"] == "false"


def test_strict_clients_are_told_queued_of_a_paused_job(api_database: str, tmp_path: Path) -> None:
    strict = make_settings(api_database, tmp_path, openai_strict_status=True)
    with running(strict) as service, sdk(service.url, service.key()) as ai:
        paused = ai.fine_tuning.jobs.pause(create(ai).id)
        assert (paused.status, extra(paused)["neftune_status"]) == ("queued", "paused")
        assert [job.status for job in ai.fine_tuning.jobs.list()] == ["queued"]


def test_what_a_job_has_made_is_shown_when_it_has_succeeded(service: Service, ai: OpenAI) -> None:
    job = tuned(service, ai, suffix="My Bot")
    assert (job.status, job.trained_tokens) == ("succeeded", 640)
    assert job.finished_at is not None
    assert job.fine_tuned_model is not None
    _, base, owner, suffix, tail = job.fine_tuned_model.split(":")
    assert (base, suffix, tail) == (MODEL, "my-bot", job.id[-8:])
    assert job.organization_id.endswith(owner.removeprefix("org-"))
    (results,) = job.result_files
    assert ai.files.retrieve(results).purpose == "fine-tune-results"
    assert ai.files.content(results).text == "step,train_loss\n1,2.0\n"
    assert next(iter(ai.fine_tuning.jobs.list())).result_files == [results]


def test_a_running_job_tells_when_it_may_end(service: Service, ai: OpenAI) -> None:
    job = create(ai)
    claimed = claim(service, native_id(job))
    with unit_of_work(service.engine) as session:
        write_metrics(session, claimed, [(1, {"train_loss": 1.0})], progress={"eta_s": 600})
    seen = ai.fine_tuning.jobs.retrieve(job.id)
    assert seen.status == "running"
    assert seen.estimated_finish is not None
    assert 0 < seen.estimated_finish - seen.created_at < 1200
    with unit_of_work(service.engine) as session:
        settle_failed(session, claimed, "nan_loss", "The loss was not finite.")
    failed = ai.fine_tuning.jobs.retrieve(job.id)
    assert failed.error is not None
    assert (failed.status, failed.error.code) == ("failed", "nan_loss")
    assert (failed.error.message, failed.error.param) == ("The loss was not finite.", None)
    assert (failed.fine_tuned_model, failed.estimated_finish) == (None, None)
    last = ai.fine_tuning.jobs.list_events(job.id).data[0]
    assert (last.level, last.type) == ("error", "message")


def test_events_tell_facts_and_metrics_newest_first(service: Service, ai: OpenAI) -> None:
    job = tuned(service, ai)
    events = list(ai.fine_tuning.jobs.list_events(job.id, limit=2))
    assert len({event.id for event in events}) == len(events)
    assert [event.data["event"] for event in events if event.type == "message"] == [  # type: ignore[index]  # ours is a dict
        *("job.succeeded", "checkpoint.committed", "checkpoint.committed", "run.started", "job.queued")
    ]
    metrics = [event for event in events if event.type == "metrics"]
    assert [event.data["step"] for event in metrics] == [3, 2, 1]  # type: ignore[index]  # as above
    assert metrics[1].data == {
        "step": 2,
        "train_loss": 1.0,
        "train_mean_token_accuracy": 0.5,
        "valid_loss": 1.25,
        "clean_train_loss": 1.5,
        "tokens": 640.0,
    }
    assert "train_loss 1" in metrics[1].message
    assert ai.fine_tuning.jobs.list_events(job.id, limit=2).has_more
    assert not ai.fine_tuning.jobs.list_events(job.id, limit=200).has_more
    for after in ("ftevent-x-1", "ftevent--1", "", f"ftevent-{job.id[6:]}-x"):
        with pytest.raises(openai.NotFoundError):
            ai.fine_tuning.jobs.list_events(job.id, after=after)


def test_checkpoints_tell_their_step_and_its_numbers(service: Service, ai: OpenAI) -> None:
    job = tuned(service, ai)
    found = list(ai.fine_tuning.jobs.checkpoints.list(job.id, limit=1))
    assert [one.step_number for one in found] == [3, 2]
    last = found[1]
    assert last.id.startswith("ftckpt_")
    assert last.fine_tuning_job_id == job.id
    assert last.fine_tuned_model_checkpoint == f"{job.fine_tuned_model}:ckpt-step-2"
    numbers = last.metrics
    assert (numbers.step, numbers.train_loss, numbers.valid_loss) == (2, 1.0, 1.25)
    assert numbers.train_mean_token_accuracy == 0.5
    assert (numbers.model_extra or {})["clean_train_loss"] == 1.5
    assert found[0].metrics.valid_loss is None
    with pytest.raises(openai.NotFoundError):
        ai.fine_tuning.jobs.checkpoints.list(job.id, after="ftckpt_x")


def test_a_foreign_job_reads_like_an_unknown_one(service: Service, ai: OpenAI) -> None:
    job = create(ai).id
    with sdk(service.url, service.key()) as stranger:
        jobs = stranger.fine_tuning.jobs
        asks = (jobs.retrieve, jobs.cancel, jobs.pause, jobs.resume, jobs.list_events, jobs.checkpoints.list)
        for ask in asks:
            told = []
            for one in (job, "ftjob-01k0000000000000000000000a", "ftjob-", job.replace("ftjob-", "job_")):
                with pytest.raises(openai.NotFoundError) as unknown:
                    ask(one)
                told.append(unknown.value.body)
            assert all(one == told[0] for one in told)
        with pytest.raises(openai.NotFoundError):
            jobs.list(after=job)

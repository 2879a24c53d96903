"""Models through the official SDK: bases, tuned models under names with colons, and their checkpoints."""

from collections.abc import Iterator

import httpx
import openai
import pytest
from openai import OpenAI

from neftune_store.db import unit_of_work
from neftune_store.runs import commit_checkpoint, write_metrics
from neftune_store.settling import settle_succeeded
from tests.api.live_api import MODEL, Service, claim, store_artifact
from tests.api.openai_sdk import create, key_of, native_id, sdk


@pytest.fixture
def ai(service: Service, client: httpx.Client) -> Iterator[OpenAI]:
    """The SDK, with the key that `client` has."""
    with sdk(service.url, key_of(client)) as found:
        yield found


def tuned(service: Service, ai: OpenAI, suffix: str | None = "bot") -> str:
    """The name of a model that a job has made, with a checkpoint at step 5."""
    job = create(ai, suffix=suffix)
    claimed = claim(service, native_id(job))
    adapter = store_artifact(service, "adapter", b"adapter", "application/x-tar")
    with unit_of_work(service.engine) as session:
        write_metrics(session, claimed, [(step, {"train_loss": 1.0}) for step in range(1, 6)])
        commit_checkpoint(session, claimed, 5)
        settle_succeeded(session, claimed, {}, [adapter])
    return str(ai.fine_tuning.jobs.retrieve(job.id).fine_tuned_model)


def unknown(ai: OpenAI, name: str) -> object:
    """What is said of a model that is not there; the same when it shall be deleted."""
    told = []
    for ask in (ai.models.retrieve, ai.models.delete):
        with pytest.raises(openai.NotFoundError) as refused:
            ask(name)
        told.append(refused.value.body)
    assert told[0] == told[1]
    return told[0]


def test_bases_and_tuned_models_are_listed(service: Service, ai: OpenAI) -> None:
    first, second = tuned(service, ai), tuned(service, ai, "other bot")
    assert [model.id for model in ai.models.list()] == [MODEL, second, first]
    base = ai.models.retrieve(MODEL)
    assert (base.id, base.object, base.owned_by) == (MODEL, "model", "operator")
    assert base.created > 1_000_000_000
    made = ai.models.retrieve(first)
    assert (made.id, made.object, made.owned_by[:4]) == (first, "model", "org-")


@pytest.mark.parametrize("suffix", [None, "bot", "Ünïcode & more", "x" * 64, "::", "-"])
def test_whatever_the_suffix_a_name_finds_its_model(service: Service, ai: OpenAI, suffix: str | None) -> None:
    name = tuned(service, ai, suffix)
    assert name.count(":") == 4
    assert ai.models.retrieve(name).id == name


def test_a_checkpoint_that_is_kept_is_a_model_too(service: Service, ai: OpenAI) -> None:
    name = tuned(service, ai)
    assert ai.models.retrieve(f"{name}:ckpt-step-5").id == f"{name}:ckpt-step-5"
    for step in ("6", "05", "0", "x", ""):
        with pytest.raises(openai.NotFoundError):
            ai.models.retrieve(f"{name}:ckpt-step-{step}")
    with pytest.raises(openai.BadRequestError) as refused:
        ai.models.delete(f"{name}:ckpt-step-5")
    assert refused.value.code == "not_supported"


def test_a_deleted_model_is_gone_and_its_job_with_it(
    service: Service, ai: OpenAI, client: httpx.Client
) -> None:
    name = tuned(service, ai)
    gone = ai.models.delete(name)
    assert (gone.id, gone.object, gone.deleted) == (name, "model", True)
    unknown(ai, name)
    assert [model.id for model in ai.models.list()] == [MODEL]
    assert client.get("/jobs").json()["items"] == []


def test_a_base_model_is_the_operators(ai: OpenAI) -> None:
    with pytest.raises(openai.PermissionDeniedError) as refused:
        ai.models.delete(MODEL)
    assert (refused.value.code, refused.value.type) == ("base_model_kept", "permission_error")
    assert ai.models.retrieve(MODEL).id == MODEL


def test_a_job_that_has_not_succeeded_has_made_no_model(service: Service, ai: OpenAI) -> None:
    name = tuned(service, ai)
    waiting = create(ai, suffix="bot").id
    unknown(ai, name[:-8] + waiting[-8:])


def test_foreign_unknown_and_misspelt_names_read_the_same(service: Service, ai: OpenAI) -> None:
    name = tuned(service, ai)
    with sdk(service.url, service.key()) as stranger:
        told = [
            unknown(stranger, one)
            for one in (
                name,
                name[:-8] + "0" * 8,
                "org/none",
                "gpt",
                "ft:",
                "a\x00b",
                "../" + MODEL,
                "x" * 2000,
            )
        ]
    assert all(one == told[0] for one in told)
    assert unknown(ai, name.replace(":bot:", ":other:")) == told[0]

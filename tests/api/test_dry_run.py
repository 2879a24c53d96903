"""What a dry run estimates, and how it says so."""

from collections.abc import Iterator

import httpx
import pytest

from neftune_store.db import unit_of_work
from neftune_store.runs import write_metrics
from tests.api.live_api import Service, claim, make_settings, running, upload
from tests.api.test_readouts import BUNDLED, DEMO, lines


@pytest.fixture(scope="module")
def rehearsing(api_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An api with a model that can be read."""
    folder = tmp_path_factory.mktemp("dry")
    settings = make_settings(api_database, folder, models_dirs=(BUNDLED, folder / "models"),
                             allowed_models=("neftune/*", "org/*"))  # fmt: skip
    with running(settings) as found:
        yield found


@pytest.fixture
def asker(rehearsing: Service) -> Iterator[httpx.Client]:
    with rehearsing.client() as found:
        yield found


def rehearse(client: httpx.Client, dataset: str, **changes: object) -> dict[str, dict[str, object]]:
    body = {"model": DEMO, "dataset": dataset, "validation": {"split": 0}, **changes}
    answer = client.post("/jobs", json=body, params={"dry_run": "true"})
    assert answer.status_code == 200, answer.text
    told: dict[str, dict[str, object]] = answer.json()
    return told


def test_tokens_are_counted_and_memory_is_told_with_how(asker: httpx.Client) -> None:
    dataset = upload(asker, lines(50))["id"]
    counted = asker.get(f"/datasets/{dataset}/tokens", params={"model": DEMO}).json()
    told = rehearse(asker, dataset, training={"epochs": 2, "batch_size": 10})

    tokens, memory = told["estimates"]["tokens"], told["estimates"]["memory"]
    assert (told["plan"]["examples"], told["plan"]["total_steps"]) == (50, 10)
    assert tokens["per_epoch"] == counted["tokens_per_epoch"]  # type: ignore[index]  # it was estimated
    assert tokens["total"] == 2 * counted["tokens_per_epoch"]  # type: ignore[index]  # as above
    assert "50 of 50 rows" in tokens["how"]  # type: ignore[index]  # as above
    assert [one["device"] for one in memory["devices"]] == ["cuda", "cpu"]  # type: ignore[index]  # as above
    cpu = memory["devices"][1]  # type: ignore[index]  # as above
    assert cpu["total"] == cpu["weights"] + cpu["trained"] + cpu["activations"] > cpu["weights"] > 1e6
    assert asker.get("/jobs").json()["items"] == []


def test_time_is_that_of_earlier_jobs_with_this_model_and_method(
    rehearsing: Service, asker: httpx.Client
) -> None:
    dataset = upload(asker, lines(50))["id"]
    first = rehearse(asker, dataset)["estimates"]
    assert first["time"] is None
    assert "no job of this project has trained this model" in str(first["unknown"])
    # Given a job that runs at a hundred tokens a second
    job = asker.post("/jobs", json={"model": DEMO, "dataset": dataset}).json()
    claimed = claim(rehearsing, job)
    with unit_of_work(rehearsing.engine) as session:
        write_metrics(session, claimed, [(1, {"tokens_per_s": 100.0})])
    # When it is rehearsed again
    told = rehearse(asker, dataset)["estimates"]
    # Then that is the measure, but not for another method, nor for strangers
    assert told["time"]["seconds"] == pytest.approx(told["tokens"]["total"] / 100)  # type: ignore[index]  # it was estimated
    assert rehearse(asker, dataset, method="full")["estimates"]["time"] is None
    with rehearsing.client() as stranger:
        assert rehearse(stranger, upload(stranger, lines(50))["id"])["estimates"]["time"] is None


def test_what_rows_will_lose_is_warned_of(asker: httpx.Client) -> None:
    dataset = upload(asker, lines(20, 30) + lines(5, 1))["id"]
    told = rehearse(asker, dataset, training={"max_length": 16})
    assert "20 examples of the 25 rows that were read are cut at 16 tokens; 20 lose" in str(told["warnings"])
    # A few rows without a token to train on are left out; with more than a tenth the job fails
    wordy = b'{"prompt": "' + b"word " * 200 + b'", "completion": "x"}\n'
    for rows, fate in (
        (lines(20) + wordy, "on and are dropped"),
        (lines(3) + wordy, "on, so the job will fail"),
    ):
        told = rehearse(asker, upload(asker, rows)["id"], training={"max_length": 100})
        assert fate in str(told["warnings"])
    odd = b'{"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"},'
    odd += b' {"role": "assistant", "content": "c"}]}\n'
    told = rehearse(asker, upload(asker, odd)["id"], training={"template": "alpaca"})
    assert "1 of the 1 rows that were read can't be rendered" in str(told["warnings"])


def test_conversations_that_are_split_are_counted_in_the_plan(asker: httpx.Client) -> None:
    turns = '{"from": "human", "value": "ask"}, {"from": "gpt", "value": "tell tell tell tell"}'
    data = f'{{"conversations": [{", ".join([turns] * 8)}]}}\n'.encode() * 5
    told = rehearse(
        asker, upload(asker, data)["id"], training={"max_length": 96, "batch_size": 1, "epochs": 1}
    )
    assert told["plan"]["examples"] > 5  # type: ignore[operator]  # it is a number
    assert told["plan"]["total_steps"] == told["plan"]["examples"]


def test_a_model_that_can_not_be_read_is_planned_without_estimates(asker: httpx.Client) -> None:
    told = rehearse(asker, upload(asker, lines(20))["id"], model="org/base")
    assert told["plan"]["rows"] == 20
    assert [told["estimates"][name] for name in ("tokens", "memory", "time")] == [None] * 3
    assert "tokenizer.json" in str(told["estimates"]["unknown"])


def test_noise_is_told_as_a_run_would_measure_it(asker: httpx.Client) -> None:
    dataset = upload(asker, lines(50))["id"]
    counted = asker.get(f"/datasets/{dataset}/tokens", params={"model": DEMO}).json()
    ten = counted["noise"]["alphas"][1]
    assert ten["alpha"] == 10
    noise = rehearse(asker, dataset, alpha=20)["estimates"]["noise"]
    assert noise["ratio"] == pytest.approx(2 * ten["ratio"])  # type: ignore[index]  # it was estimated
    assert rehearse(asker, dataset, alpha=0)["estimates"]["noise"] is None


def test_a_dry_run_without_estimates_reads_no_rows(asker: httpx.Client) -> None:
    # Given a model that can't be read, of which a dry run would say so
    dataset = upload(asker, lines(20))["id"]
    body = {"model": "org/base", "dataset": dataset, "preset": "paper-alpaca"}
    asked = {"dry_run": "true", "estimates": "false"}
    told = asker.post("/jobs", json=body, params=asked).json()
    assert told["estimates"]["unknown"] == ["all: not asked for"]
    # Then the spec and the plan are there all the same
    assert told["spec"]["training"]["batch_size"] == 128
    assert told["plan"]["rows"] == 20

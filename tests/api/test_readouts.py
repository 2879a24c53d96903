"""Looks at a dataset before it is trained on."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from api import readout_sample, readouts
from tests.api.live_api import MODEL, Service, make_settings, running, upload

DEMO = "neftune/demo-base"
BUNDLED = Path("standalone/models").absolute()


@pytest.fixture(scope="module")
def looking(api_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An api with a model that can be read."""
    settings = make_settings(
        api_database,
        tmp_path_factory.mktemp("looks"),
        models_dirs=(BUNDLED,),
        allowed_models=("neftune/*", "other/*"),
    )
    with running(settings) as found:
        yield found


@pytest.fixture
def looker(looking: Service) -> Iterator[httpx.Client]:
    with looking.client() as found:
        yield found


def lines(count: int, words: int = 5) -> bytes:
    made = ({"prompt": f"Say {n}.", "completion": " it" * words} for n in range(count))
    return "".join(json.dumps(one) + "\n" for one in made).encode()


def test_a_preview_shows_rows_with_what_is_trained_on(looker: httpx.Client) -> None:
    dataset = upload(looker, lines(30))["id"]
    told = looker.get(f"/datasets/{dataset}/preview", params={"model": DEMO, "rows": 2}).json()

    assert (told["dataset"], told["model"], told["template"]) == (dataset, DEMO, "plain")
    assert [row["row"] for row in told["rows"]] == [1, 2]
    [example] = told["rows"][1]["examples"]
    spans = [(span["text"], span["trained"]) for span in example["spans"]]
    assert spans == [("<|bos|>", False), ("Say 1.", False), (" it it it it it", True), ("<|end|>", True)]


def test_the_only_model_at_hand_need_not_be_named(looker: httpx.Client) -> None:
    dataset = upload(looker)["id"]
    assert looker.get(f"/datasets/{dataset}/preview").json()["model"] == DEMO
    assert len(looker.get(f"/datasets/{dataset}/preview").json()["rows"]) == 12


def test_the_template_that_is_asked_for_is_rendered(looker: httpx.Client) -> None:
    dataset = upload(looker)["id"]
    for template, sign in (("auto", "### Instruction:"), ("vicuna", "ASSISTANT:"), ("chat", "<|assistant|>")):
        told = looker.get(f"/datasets/{dataset}/preview", params={"template": template, "rows": 1}).json()
        assert sign in "".join(span["text"] for span in told["rows"][0]["examples"][0]["spans"])


def test_counts_of_a_small_dataset_are_of_every_row(looker: httpx.Client) -> None:
    dataset = upload(looker, lines(50))["id"]
    told = looker.get(f"/datasets/{dataset}/tokens", params={"max_length": 10}).json()
    assert told["sampled"] == {"rows": 50, "of": 50, "whole": True, "how": "all rows"}
    assert told["tokens_per_epoch"] == 500
    assert told["truncated"] == told["examples"] == 50
    assert 0 < told["trained_share"] < 1
    assert [one["alpha"] for one in told["noise"]["alphas"]] == [5, 10, 15]
    assert told["noise"]["alphas"][0]["bound_at_p50"] == pytest.approx(5 / (10 * 192) ** 0.5)
    assert told["noise"]["alphas"][0]["ratio"] > 0


def test_of_a_large_dataset_places_all_over_it_are_read(
    looker: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a dataset whose later rows are longer, and looks that fetch little
    dataset = upload(looker, lines(2000, 1) + lines(2000, 60))
    exact = looker.get(f"/datasets/{dataset['id']}/tokens").json()
    monkeypatch.setattr(readout_sample, "SAMPLE_BYTES", 64_000)
    told = looker.get(f"/datasets/{dataset['id']}/tokens").json()
    # Then short ones and long ones were met as often as they come, and the figures are said of all
    assert told["sampled"]["how"] == "rows of 16 places, evenly over the file"
    assert not told["sampled"]["whole"]
    assert 100 < told["sampled"]["rows"] < 4000
    assert told["length"]["p50"] < 15
    assert told["length"]["p95"] > 60
    assert told["tokens_per_epoch"] == pytest.approx(exact["tokens_per_epoch"], rel=0.2)


def test_a_preview_of_a_large_dataset_is_of_its_first_rows(
    looker: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readout_sample, "SAMPLE_BYTES", 600_000)
    dataset = upload(looker, lines(20_000))["id"]
    rows = looker.get(f"/datasets/{dataset}/preview").json()["rows"]
    assert [row["examples"][0]["spans"][1]["text"] for row in rows] == [f"Say {n}." for n in range(20)]


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({"model": "../etc"}, 422, "invalid_request"),
        ({"model": "nobody/allowed"}, 422, "model_not_available"),
        ({"model": "other/unknown"}, 422, "model_not_available"),
        ({"rows": "0"}, 422, "invalid_request"),
        ({"rows": "101"}, 422, "invalid_request"),
        ({"max_length": "4"}, 422, "invalid_request"),
        ({"max_length": "4096"}, 422, "invalid_spec"),
        ({"template": "mine"}, 422, "invalid_request"),
    ],
)
def test_what_does_not_fit_is_refused(
    looker: httpx.Client, query: dict[str, str], status: int, code: str
) -> None:
    dataset = upload(looker)["id"]
    answer = looker.get(f"/datasets/{dataset}/preview", params=query)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_model_that_is_no_model_is_refused_in_words(client: httpx.Client) -> None:
    dataset = upload(client)["id"]
    answer = client.get(f"/datasets/{dataset}/tokens", params={"model": MODEL})
    assert (answer.status_code, answer.json()["code"]) == (422, "model_error")
    assert "tokenizer.json" in answer.json()["detail"]


def test_a_table_that_is_too_large_to_fetch_is_not_looked_into(
    looker: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = upload(looker, b"prompt,completion\nask,tell\n")["id"]
    assert looker.get(f"/datasets/{dataset}/tokens").json()["examples"] == 1
    monkeypatch.setattr(readout_sample, "_TABLE_BYTES", 20)
    answer = looker.get(f"/datasets/{dataset}/tokens")
    assert (answer.status_code, answer.json()["code"]) == (422, "not_supported")


def test_looks_leave_nothing_behind_and_keep_nobody_waiting(
    looking: Service, looker: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given one look at once, of which one may wait, and a look that lasts until it is let go
    slots = looking.server.config.app.state.readouts  # type: ignore[union-attr]  # ours is a FastAPI app
    go_on, begun = threading.Event(), threading.Semaphore(0)

    def slow(*_: object) -> dict[str, object]:
        begun.release()
        go_on.wait(20)
        return {"template": "plain", "tokenizer_exact": True, "rows": []}

    monkeypatch.setattr(readouts, "WAITING", 1)
    monkeypatch.setattr(readouts.readout, "preview", slow)
    dataset = upload(looker)["id"]
    answers: list[int] = []

    def look() -> None:
        with looking.client(looker.headers["authorization"].removeprefix("Bearer ")) as client:
            answers.append(client.get(f"/datasets/{dataset}/preview").status_code)

    threads = [threading.Thread(target=look) for _ in range(readouts.AT_ONCE + 1)]
    for thread in threads:
        thread.start()
    for _ in range(readouts.AT_ONCE):
        assert begun.acquire(timeout=10)
    until = time.monotonic() + 10
    while slots._free.statistics().tasks_waiting < 1:
        assert time.monotonic() < until
        time.sleep(0.01)
    # When one more asks
    refused = looker.get(f"/datasets/{dataset}/preview")
    other = looker.get("/datasets")
    go_on.set()
    for thread in threads:
        thread.join(20)
    # Then it is told to come again, other calls pass, and the rest are answered
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_readouts")
    assert int(refused.headers["retry-after"]) > 0
    assert other.status_code == 200
    assert answers == [200] * (readouts.AT_ONCE + 1)
    assert list(looking.settings.spool_dir.iterdir()) == []

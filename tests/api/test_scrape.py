"""What Prometheus reads, read by Prometheus' own parser."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from api.telemetry import Telemetry
from neftune_store.db import unit_of_work
from neftune_store.ids import new_id
from neftune_store.settling import settle_failed
from neftune_store.workers import Presence, WorkerLedger
from tests.api.live_api import MODEL, Service, claim, make_settings, running, submit, succeed, upload

TOKEN = "scrape-me-scrape-me"


@pytest.fixture(scope="module")
def watched(api_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    settings = make_settings(api_database, tmp_path_factory.mktemp("watched"), metrics_token=TOKEN)
    with running(settings) as found:
        yield found


def scrape(service: Service, key: str = TOKEN) -> httpx.Response:
    return httpx.get(f"{service.url}/metrics", headers={"Authorization": f"Bearer {key}"}, trust_env=False)


def read(service: Service) -> dict[tuple[str, ...], float]:
    """Every sample: its name, then its labels' values in the order of their names."""
    page = scrape(service)
    assert page.status_code == 200, page.text
    assert page.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page.text)
        for sample in family.samples
    }


def test_numbers_change_with_what_waits_runs_and_ends(watched: Service) -> None:
    with watched.engine.begin() as connection:  # of runs that other tests have left behind
        later = (
            "UPDATE jobs SET lease_expires_at = clock_timestamp() + interval '1 day' WHERE status = 'running'"
        )
        connection.execute(text(later))
    with watched.client() as client:
        before = read(watched)
        job = submit(client)
        waiting = read(watched)
        held = claim(watched, job)
        running_ = read(watched)
        with unit_of_work(watched.engine) as session:
            settle_failed(session, held, "nan_loss", "The loss was not finite.")
        after = read(watched)

    def change(name: str, *labels: str, since: dict[tuple[str, ...], float], to: dict) -> float:
        return float(to[name, *labels]) - since.get((name, *labels), 0.0)

    assert change("neftune_jobs", "train", "queued", since=before, to=waiting) == 1
    assert change("neftune_jobs", "train", "queued", since=waiting, to=running_) == -1
    assert change("neftune_jobs", "train", "running", since=waiting, to=running_) == 1
    assert 0 < running_["neftune_lease_shortest_seconds",] <= 60
    assert waiting["neftune_queue_oldest_seconds",] > 0
    assert change("neftune_jobs", "train", "running", since=running_, to=after) == -1
    # What ended is counted once, with its length, however often it is looked at
    for _ in range(2):
        after = read(watched)
        assert change("neftune_run_seconds_count", "train", "failed", since=before, to=after) == 1
        assert change("neftune_job_seconds_count", "train", "failed", since=before, to=after) == 1
    assert ("neftune_run_seconds_bucket", "train", "10.0", "failed") in after
    assert after["neftune_up", "postgres"] == after["neftune_up", "storage"] == 1
    assert after["neftune_up", "redis"] == 0  # it is not there, on purpose
    assert after["process_resident_memory_bytes",] > 1e7


def test_answers_are_counted_by_route_and_nobody_makes_a_label(watched: Service) -> None:
    with watched.client() as client:
        before = read(watched)
        for path in ("/jobs", "/jobs/job_x", "/jobs/job_y", "/nowhere/at/all", "/n2"):
            client.get(path)
        client.request("PROPFIND", "/jobs")
        client.post("/jobs", json={"model": MODEL, "dataset": upload(client)["id"]})
        after = read(watched)
    name = "neftune_http_answer_seconds_count"

    def more(*labels: str) -> float:
        return after.get((name, *labels), 0.0) - before.get((name, *labels), 0.0)

    assert more("GET", "/jobs", "2xx") == 1
    assert more("GET", "/jobs/{job_id}", "4xx") == 2
    assert more("GET", "none", "4xx") == 2
    assert more("POST", "/jobs", "2xx") == 1
    assert sum(value for key, value in after.items() if key[0] == name and key[1] == "other") >= 1
    assert not [key for key in after if any("job_" in part and "{" not in part for part in key[1:])]
    grown = after["neftune_http_body_bytes_total", "/datasets"] - before.get(
        ("neftune_http_body_bytes_total", "/datasets"), 0.0
    )
    assert grown > 500


def test_streams_are_counted_while_they_are_open(watched: Service) -> None:
    with watched.client() as client:
        job = submit(client)
        idle = read(watched)["neftune_streams_open",]
        with client.stream("GET", f"/jobs/{job['id']}/stream") as stream:
            lines = stream.iter_lines()  # held: a generator that is let go closes the line
            next(lines)
            assert read(watched)["neftune_streams_open",] == idle + 1
        client.post(f"/jobs/{job['id']}/cancel")


def test_workers_are_counted_while_they_are_heard_and_missed_when_they_are_not(watched: Service) -> None:
    def beat(presence: Presence, age: str = "0") -> None:
        with unit_of_work(watched.engine) as session:
            WorkerLedger(session).beat(presence)
            ago = text(
                "UPDATE workers SET heartbeat_at = clock_timestamp() - CAST(:age AS interval) WHERE id = :id"
            )
            session.execute(ago, {"age": age, "id": presence.id})

    def count(kind: str, state: str) -> float:
        return read(watched)["neftune_workers", kind, state]

    # Given how it is; kinds of which there is none are told, too
    before = read(watched)
    assert {key[1:] for key in before if key[0] == "neftune_workers"} == {
        (kind, state) for kind in ("train", "generate") for state in ("alive", "silent")
    }
    other = Presence(new_id("wkr"), "train", "other-worker", "cpu")
    # When one says that it lives, it is counted; when it falls silent, it is missed, and for how long
    mine = Presence(new_id("wkr"), "train", "test-worker", "cpu")
    beat(mine)
    assert count("train", "alive") == before["neftune_workers", "train", "alive"] + 1
    beat(mine, "30 seconds")
    assert count("train", "alive") == before["neftune_workers", "train", "alive"]
    assert count("train", "silent") == before["neftune_workers", "train", "silent"] + 1
    beat(other)
    assert read(watched)["neftune_heartbeat_oldest_seconds", "train"] > 29
    # Then after an hour nobody speaks of it any more, and who leaves with a word is not missed
    beat(mine, "61 minutes")
    assert count("train", "silent") == before["neftune_workers", "train", "silent"]
    beat(mine, "30 seconds")
    with unit_of_work(watched.engine) as session:
        for one in (mine, other):
            WorkerLedger(session).leave(one.id)
    assert count("train", "silent") == before["neftune_workers", "train", "silent"]


def test_only_the_token_or_an_operators_key_opens_it(watched: Service, service: Service) -> None:
    assert scrape(watched, watched.key("operator")).status_code == 200
    assert scrape(watched, watched.key("admin")).status_code == 403
    assert scrape(watched, "another-token-of-some-length").status_code == 401
    # Where no token is set, none opens it
    assert scrape(service).status_code == 401
    assert scrape(service, service.key("operator")).status_code == 200


def test_it_can_be_switched_off(service: Service) -> None:
    with running(service.settings.model_copy(update={"metrics": False, "port": 0})) as silent:
        assert scrape(silent, silent.key("operator")).status_code == 404


def test_a_database_that_is_away_is_told_and_not_waited_for(tmp_path: Path) -> None:
    settings = make_settings("postgresql://x@127.0.0.1:9/none", tmp_path, metrics_token=TOKEN)
    with running(settings) as lonely:
        found = read(lonely)
        assert found["neftune_up", "postgres"] == 0
        assert found["neftune_up", "storage"] == 1
        assert not [key for key in found if key[0] in {"neftune_jobs", "neftune_workers"}]
        assert found["neftune_queue_oldest_seconds",] != found["neftune_queue_oldest_seconds",]  # NaN
        refused = scrape(lonely, "nft_some_operators_key_that_is_good")
        assert (refused.status_code, refused.json()["code"]) == (503, "database_unavailable")


def test_a_database_that_went_away_leaves_no_old_numbers(service: Service) -> None:
    telemetry = Telemetry(service.engine)
    telemetry.look()
    assert b'neftune_workers{kind="train",state="alive"}' in telemetry.text()
    telemetry.forget()
    samples = [line for line in telemetry.text().splitlines() if line.startswith(b"neftune_")]
    gone = (b"neftune_workers", b"neftune_jobs", b"neftune_heartbeat")
    assert [line for line in samples if line.startswith(gone)] == []
    assert b"neftune_queue_oldest_seconds NaN" in samples


def test_a_success_is_counted_with_its_kind(watched: Service) -> None:
    with watched.client() as client:
        before = read(watched)
        succeed(watched, client, adapter=(b"tar", "application/x-tar"))
        after = read(watched)
    key = ("neftune_run_seconds_count", "train", "succeeded")
    assert after[key] == before.get(key, 0.0) + 1

"""The measure of requests a minute: told on each answer, kept without asking anybody."""

import time
from collections.abc import Iterator

import httpx
import openai
import pytest

from api.rates import Rates
from tests.api.live_api import NO_REDIS, Service, make_settings, running, spec, upload
from tests.api.openai_sdk import sdk


@pytest.fixture(scope="module")
def measured(api_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An api that takes sixty requests a minute of each key, and whose Redis is not there."""
    settings = make_settings(api_database, tmp_path_factory.mktemp("rates"), rate_per_minute=60)
    assert settings.redis_url == NO_REDIS
    with running(settings) as found:
        yield found


def exhaust(client: httpx.Client) -> httpx.Response:
    """Ask until it is too much."""
    for _ in range(200):
        answer = client.get("/session")
        if answer.status_code != 200:
            return answer
    raise AssertionError("nothing was too much")


def test_each_answer_tells_where_the_key_stands(measured: Service) -> None:
    with measured.client() as client:
        answers = [client.get("/jobs"), client.get("/jobs/job_x"), client.post("/jobs", json={})]
    assert [one.headers["ratelimit-limit"] for one in answers] == ["60"] * 3
    left = [int(one.headers["ratelimit-remaining"]) for one in answers]
    assert left == sorted(left, reverse=True)
    assert left[0] == 59
    assert all(0 < int(one.headers["ratelimit-reset"]) <= 3 for one in answers)


def test_too_many_requests_are_told_to_wait(measured: Service) -> None:
    with measured.client() as client, measured.client() as other:
        dataset = upload(client)["id"]
        late = exhaust(client)
        assert (late.status_code, late.json()["code"]) == (429, "rate_limited")
        assert late.headers["ratelimit-remaining"] == "0"
        assert late.headers["retry-after"] == "1"
        refused = client.post("/jobs", json=spec(dataset))
        # Another key is not concerned
        assert other.get("/jobs").json()["items"] == []
    assert refused.status_code in {429, 201}  # a second may have passed


def test_the_sdk_waits_as_it_is_told_and_comes_through(measured: Service) -> None:
    key = measured.key()
    with measured.client(key) as client:
        exhaust(client)
    with sdk(measured.url, key, max_retries=0) as impatient, pytest.raises(openai.RateLimitError) as told:
        [impatient.models.list() for _ in range(50)]
    assert told.value.code == "rate_limited"
    assert told.value.response.headers["retry-after"] == "1"
    began = time.monotonic()
    with sdk(measured.url, key, max_retries=3) as patient:
        patient.models.list()
    assert time.monotonic() - began > 0.5  # it waited; without the header it would for less at first


def test_without_a_key_nothing_is_told_and_nothing_counted(measured: Service) -> None:
    with httpx.Client(base_url=measured.url, trust_env=False) as nobody:
        answers = [nobody.get("/healthz") for _ in range(80)]
    assert {one.status_code for one in answers} == {200}
    assert "ratelimit-limit" not in answers[-1].headers


def test_no_measure_means_none(service: Service, client: httpx.Client) -> None:
    assert "ratelimit-limit" not in client.get("/jobs").headers


class Clock:
    """A clock that the test moves."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_holds_a_minute_and_fills_evenly() -> None:
    clock = Clock()
    rates = Rates(6, clock=clock)

    def take() -> tuple[int, int, int | None]:
        rate = rates.take("key_a")
        assert rate is not None
        return rate.remaining, rate.reset_s, rate.wait_s

    assert [take() for _ in range(7)] == [
        (5, 10, None), (4, 20, None), (3, 30, None), (2, 40, None), (1, 50, None), (0, 60, None), (0, 60, 10)
    ]  # fmt: skip
    clock.now += 4
    assert take() == (0, 56, 6)  # being refused costs nothing
    clock.now += 6
    assert take() == (0, 60, None)
    clock.now += 1000
    assert take() == (5, 10, None)


def test_the_measure_holds_over_any_minute() -> None:
    clock = Clock()
    rates = Rates(60, clock=clock)
    passed = []
    for _ in range(3000):  # five minutes of ten requests a second
        rate = rates.take("key_a")
        passed += [clock.now] if rate is not None and rate.wait_s is None else []
        clock.now += 0.1
    assert 359 <= len(passed) <= 360  # the first bucket, and one each second


def test_a_bounded_number_of_keys_is_remembered() -> None:
    rates = Rates(60, keys=10)
    for number in range(100):
        rates.take(f"key_{number}")
    assert len(rates._full_at) == 10

"""Whoever is to be told is down, broken or slow, or the teller dies: each end is heard, and no job waits."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from neftune_core.address import Refused, is_public, resolved
from neftune_store.db import unit_of_work
from neftune_store.settings import StoreSettings
from neftune_store.webhooks import ENDS, Delivery, Errand, WebhookLedger, rest_after
from tests.worker_house import House, house, quiet_redis, until
from worker import deliver

__all__ = ["house", "quiet_redis"]

ALLOW = {"WEBHOOK_ALLOW": "127.0.0.1"}
PATH = "/hook?token=canary"


class Receiver:
    """A real receiver, which answers as it is told."""

    def __init__(self, port: int = 0) -> None:
        self.heard: list[tuple[dict[str, str], bytes]] = []
        self.answer: int | None = 204  # None: never
        self.drip = False
        self.done = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.heard.append(({name.lower(): told for name, told in self.headers.items()}, body))
                if receiver.answer is None:
                    self._stall()
                    return
                self.send_response(receiver.answer)
                self.send_header("location", f"{receiver.url}-elsewhere")
                self.end_headers()

            def _stall(self) -> None:
                while not receiver.done.wait(0.2):
                    if receiver.drip:
                        self.wfile.write(b"x")

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}{PATH}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.heard]

    def close(self) -> None:
        self.done.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def asked(house: House, url: str) -> tuple[str, str]:
    """Ask to be told of every end; give the webhook and its secret."""
    with unit_of_work(house.engine) as session:
        webhook, secret = WebhookLedger(session).add(house.project(), url, ENDS)
    return webhook.id, secret


def deliveries(house: House, webhook: str) -> list[Delivery]:
    with unit_of_work(house.engine) as session:
        return list(WebhookLedger(session).deliveries(house.project(), webhook).items)


def hurry(house: House) -> None:
    """Let everything that rests be tried now."""
    with house.engine.begin() as connection:
        connection.execute(text("UPDATE deliveries SET due_at = clock_timestamp() WHERE due_at IS NOT NULL"))


def delivered(house: House, webhook: str) -> Delivery:
    """Wait until the one delivery was heard."""

    def look() -> Delivery | None:
        (one,) = deliveries(house, webhook)
        return one if one.delivered_at is not None else None

    return until(look, 30)


def tried(house: House, webhook: str, error: str) -> Delivery:
    """Wait until the one delivery was tried in vain."""

    def look() -> Delivery | None:
        one = deliveries(house, webhook)
        return one[0] if one and one[0].last_error == error else None

    return until(look, 40)


@pytest.mark.fault("F50")
def test_an_end_is_heard_once_and_signed(house: House, receiver: Receiver) -> None:
    webhook, secret = asked(house, receiver.url)
    house.start()
    house.start("worker.reconcile", **ALLOW)
    job = house.wait(house.submit("steps=3"), "succeeded")
    told = delivered(house, webhook)

    ((headers, body),) = receiver.heard
    event = Webhook(secret).verify(body, headers)
    assert event["id"] == headers["webhook-id"] == told.event_id
    assert (event["object"], event["type"]) == ("event", "fine_tuning.job.succeeded")
    assert event["data"] == {"id": job.id.replace("job_", "ftjob-"), "job": job.id}
    assert abs(event["created_at"] - time.time()) < 300
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body.replace(b"succeeded", b"failed"), headers)
    assert (told.attempts, told.last_status) == (1, 204)
    assert "canary" not in house.logs()
    assert secret not in house.logs()


@pytest.mark.fault("F50")
@pytest.mark.parametrize("answer", [500, 302])
def test_a_receiver_that_fails_is_told_again_under_the_same_id(
    house: House, receiver: Receiver, answer: int
) -> None:
    receiver.answer = answer
    webhook, secret = asked(house, receiver.url)
    house.start()
    house.start("worker.reconcile", **ALLOW)
    house.wait(house.submit("steps=3"), "succeeded")
    failed = tried(house, webhook, "status")
    assert (failed.attempts, failed.last_status) == (1, answer)
    receiver.answer = 200
    hurry(house)
    assert delivered(house, webhook).attempts == 2
    assert receiver.ids() == [failed.event_id] * 2
    for headers, body in receiver.heard:
        Webhook(secret).verify(body, headers)


@pytest.mark.fault("F50")
def test_a_receiver_that_is_down_hears_of_it_when_it_is_back(house: House) -> None:
    first = Receiver()
    first.close()
    webhook, _ = asked(house, first.url)
    house.start()
    house.start("worker.reconcile", **ALLOW)
    house.wait(house.submit("steps=3"), "succeeded")
    down = tried(house, webhook, "connection")
    assert down.due_at is not None
    back = Receiver(first.port)
    try:
        hurry(house)
        assert delivered(house, webhook).event_id == down.event_id == back.ids()[0]
    finally:
        back.close()


@pytest.mark.fault("F50")
def test_receivers_that_never_answer_delay_no_job_and_no_other_receiver(
    house: House, receiver: Receiver
) -> None:
    # Given one that takes everything and says nothing, and a healthy one
    silent = Receiver()
    silent.answer = None
    asked(house, silent.url)
    healthy, _ = asked(house, receiver.url)
    house.start()
    house.start("worker.reconcile", **ALLOW)
    # When job after job ends
    jobs = [house.submit("steps=2") for _ in range(3)]
    try:
        for job in jobs:
            house.wait(job, "succeeded")
        # Then the healthy one hears of each while every line to the silent one is still open
        until(lambda: len(receiver.heard) == 3, 30)
        assert len({json.loads(body)["data"]["id"] for _, body in receiver.heard}) == 3
        assert all(one.delivered_at is not None for one in deliveries(house, healthy))
    finally:
        silent.close()


@pytest.mark.fault("F50")
def test_a_sender_that_dies_after_sending_sends_again_under_the_same_id(
    house: House, receiver: Receiver, tmp_path: Path
) -> None:
    once = tmp_path / "once"
    once.mkdir()
    webhook, _ = asked(house, receiver.url)
    house.start()
    dying = house.start(
        "worker.reconcile",
        NEFT_TEST="1",
        FAILPOINTS="delivery.sent:kill",
        FAILPOINTS_ONCE=str(once),
        **ALLOW,
    )
    house.wait(house.submit("steps=2"), "succeeded")
    until(lambda: dying.poll() is not None, 30)
    (lost,) = deliveries(house, webhook)
    assert (len(receiver.heard), lost.delivered_at, lost.attempts) == (1, None, 1)
    assert lost.due_at is not None
    hurry(house)
    house.start("worker.reconcile", **ALLOW)
    assert delivered(house, webhook).attempts == 2
    assert receiver.ids() == [lost.event_id] * 2


@pytest.mark.fault("F50")
def test_two_senders_tell_each_thing_once(house: House, receiver: Receiver) -> None:
    webhook, _ = asked(house, receiver.url)
    with unit_of_work(house.engine) as session:
        for _ in range(20):
            WebhookLedger(session).test(house.project(), webhook)
    for _ in range(2):
        house.start("worker.reconcile", **ALLOW)
    until(lambda: all(one.delivered_at is not None for one in deliveries(house, webhook)), 40)
    assert len(receiver.heard) == len(set(receiver.ids())) == 20


@pytest.mark.parametrize("drip", [False, True], ids=["silent", "dripping"])
def test_sending_ends_in_time(receiver: Receiver, monkeypatch: pytest.MonkeyPatch, drip: bool) -> None:
    receiver.answer, receiver.drip = None, drip
    monkeypatch.setattr(deliver, "TIME_LIMIT", 1.0)
    errand = Errand("dlv_1", "evt_1", 1, {"id": "evt_1"}, receiver.url, "whsec_" + "A" * 32)
    begun = time.monotonic()
    assert deliver.send(errand, ("127.0.0.1",)) == deliver.Outcome(error="timeout")
    assert time.monotonic() - begun < 8


def test_what_was_never_heard_is_given_up_after_three_days(house: House, receiver: Receiver) -> None:
    receiver.answer = 503
    webhook, _ = asked(house, receiver.url)
    with unit_of_work(house.engine) as session:
        WebhookLedger(session).test(house.project(), webhook)
    settings = StoreSettings(**{**house.settings().model_dump(), "webhook_allow": ("127.0.0.1",)})
    for age, over in (("2 days", False), ("3 days 1 hour", True)):
        with house.engine.begin() as connection:
            made = text("UPDATE deliveries SET due_at = now(), created_at = now() - CAST(:age AS interval)")
            connection.execute(made, {"age": age})
        assert deliver.deliver_next(house.engine, settings)
        (one,) = deliveries(house, webhook)
        assert (one.given_up_at is not None, one.due_at is None) == (over, over)
    assert not deliver.deliver_next(house.engine, settings)


def test_rests_double_up_to_an_hour() -> None:
    rests = [rest_after(attempt).total_seconds() for attempt in (1, 2, 3, 10, 11, 5000)]
    assert rests == [5, 10, 20, 2560, 3600, 3600]


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.0.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1"),
        *("::1", "::", "fe80::1%eth0", "fc00::1", "::ffff:127.0.0.1", "ff02::1"),
        *("64:ff9b::7f00:1", "2002:7f00:1::"),
    ],
)
def test_addresses_that_are_not_public_are_known(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700:4700::1111", "64:ff9b::101:101"])
def test_public_addresses_are_known(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "2130706433", "0x7f.1"])
def test_our_own_network_is_not_gone_to_unless_allowed(host: str) -> None:
    with pytest.raises(Refused):
        resolved(host, 80, ())
    with pytest.raises(Refused):
        resolved(host, 80, ("*.example.org",))
    assert resolved("127.0.0.1", 80, ("127.*",)) == "127.0.0.1"


def test_a_receiver_in_our_own_network_hears_nothing(receiver: Receiver) -> None:
    errand = Errand("dlv_1", "evt_1", 1, {"id": "evt_1"}, receiver.url, "whsec_" + "A" * 32)
    assert deliver.send(errand, ()) == deliver.Outcome(error="address_refused")
    assert receiver.heard == []
    assert "canary" not in repr(errand)

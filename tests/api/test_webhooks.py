"""Who is to be told, and what stands in the table for them when a job ends."""

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from neftune_store.db import unit_of_work
from neftune_store.settling import settle_failed
from tests.api.live_api import Service, claim, submit

URL = "https://example.org/hook?token=canary"
ENDS = ["fine_tuning.job.cancelled", "fine_tuning.job.failed", "fine_tuning.job.succeeded"]


def add(client: httpx.Client, **body: object) -> dict[str, object]:
    """Ask to be told."""
    answer = client.post("/webhooks", json={"url": URL, **body})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def told(client: httpx.Client, webhook: dict[str, object]) -> list[dict[str, object]]:
    """List its deliveries."""
    return list(client.get(f"/webhooks/{webhook['id']}/deliveries").json()["items"])


def test_the_secret_is_shown_once(client: httpx.Client) -> None:
    made = add(client)
    assert str(made.pop("secret")).startswith("whsec_")
    assert made["events"] == ENDS
    assert client.get("/webhooks").json()["items"] == [made]


@pytest.mark.parametrize(
    "body",
    [
        {"url": "ftp://example.org/"},
        {"url": "https:///nowhere"},
        {"url": "https://user:word@example.org/"},
        {"url": "https://example.org:99999/"},
        {"url": "https://example.org:0/"},
        {"url": "https://example.org/#part"},
        {"url": "https://example.org/a b"},
        {"url": "https://ex\u00e4mple.org/"},
        {"url": "https://[::1/"},
        {"url": "https://example.org/\r\nX: y"},
        {"url": "https://example.org/" + "x" * 2048},
        {"url": 5},
        {},
        [],
        {"url": URL, "events": []},
        {"url": URL, "events": ["job.succeeded"]},
        {"url": URL, "secret": "mine"},
    ],
)
def test_what_cannot_be_told_is_refused(client: httpx.Client, body: object) -> None:
    answer = client.post("/webhooks", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request"), answer.text
    assert client.get("/webhooks").json()["items"] == []


def test_a_strangers_webhook_is_unknown(client: httpx.Client, stranger: httpx.Client) -> None:
    id_ = add(client)["id"]
    asks = [("DELETE", ""), ("GET", "/deliveries"), ("POST", "/test")]
    answers = [
        stranger.request(verb, f"/webhooks/{one}{what}") for verb, what in asks for one in (id_, "wh_x")
    ]
    assert {answer.status_code for answer in answers} == {404}
    assert stranger.get("/webhooks").json()["items"] == []


def test_a_project_has_so_many_and_no_more(client: httpx.Client) -> None:
    for _ in range(20):
        add(client)
    answer = client.post("/webhooks", json={"url": URL})
    assert (answer.status_code, answer.json()["code"]) == (409, "too_many_webhooks")


def test_an_end_is_due_to_those_who_asked_for_it(
    service: Service, client: httpx.Client, stranger: httpx.Client
) -> None:
    # Given webhooks for all ends, for pauses only, and of another project
    ends, pauses, foreign = add(client), add(client, events=["fine_tuning.job.paused"]), add(stranger)
    # When a job fails and another is paused, resumed and cancelled
    failed = submit(client)
    with unit_of_work(service.engine) as session:
        settle_failed(session, claim(service, failed), "host_oom", "Too much.")
    moved = submit(client)
    for verb in ("pause", "resume", "cancel"):
        client.post(f"/jobs/{moved['id']}/{verb}")
    # Then each is told what it asked for, once
    assert [(one["type"], one["job_id"], one["status"]) for one in reversed(told(client, ends))] == [
        ("fine_tuning.job.failed", failed["id"], "due"),
        ("fine_tuning.job.cancelled", moved["id"], "due"),
    ]
    assert [one["type"] for one in told(client, pauses)] == ["fine_tuning.job.paused"]
    assert told(stranger, foreign) == []


def test_who_is_deleted_is_told_nothing_more(service: Service, client: httpx.Client) -> None:
    webhook = add(client)
    client.post(f"/webhooks/{webhook['id']}/test")
    assert client.delete(f"/webhooks/{webhook['id']}").status_code == 204
    assert client.get(f"/webhooks/{webhook['id']}/deliveries").status_code == 404
    client.post(f"/jobs/{submit(client)['id']}/cancel")
    with service.engine.connect() as connection:
        left = text("SELECT due_at, last_error FROM deliveries WHERE webhook_id = :id")
        assert [tuple(row) for row in connection.execute(left, {"id": webhook["id"]})] == [(None, "deleted")]


def test_deliveries_are_paged(client: httpx.Client) -> None:
    webhook = add(client)
    sent = [client.post(f"/webhooks/{webhook['id']}/test").json()["id"] for _ in range(3)]
    first = client.get(f"/webhooks/{webhook['id']}/deliveries", params={"limit": 2}).json()
    rest = client.get(f"/webhooks/{webhook['id']}/deliveries", params={"cursor": first["next"]}).json()
    assert [one["id"] for one in (*first["items"], *rest["items"])] == sent[::-1]
    assert rest["next"] is None


@pytest.mark.parametrize("change", ["UPDATE events SET name = 'other'", "DELETE FROM events"])
def test_what_was_told_of_a_job_stays(service: Service, client: httpx.Client, change: str) -> None:
    job = submit(client)
    with pytest.raises(DBAPIError) as refused, service.engine.begin() as connection:
        connection.execute(text(f"{change} WHERE job_id = :job"), {"job": job["id"]})
    assert refused.value.orig.sqlstate == "JB015"  # type: ignore[union-attr]
    client.post(f"/jobs/{job['id']}/cancel")

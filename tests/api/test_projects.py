"""Projects: made and bounded by the operator; what they use, and who changed what."""

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from neftune_store.db import unit_of_work
from neftune_store.ids import new_id
from neftune_store.runs import set_resolved, write_metrics
from neftune_store.settling import settle_succeeded
from tests.api.live_api import Service, claim, rows, spec, store_artifact, submit, upload
from tests.api.openai_sdk import key_of, put, sdk


def refused(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


@pytest.fixture
def operator(service: Service) -> Iterator[httpx.Client]:
    """A client that opens every project."""
    with service.client(service.key("operator")) as found:
        yield found


@pytest.fixture
def project(client: httpx.Client) -> str:
    """The client's own project."""
    return str(client.get("/session").json()["project"]["id"])


def bound(operator: httpx.Client, project: str, **quotas: Any) -> dict[str, Any]:
    answer = operator.patch(f"/projects/{project}", json={"quotas": quotas})
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def test_an_operator_makes_a_project_and_its_first_key(service: Service, operator: httpx.Client) -> None:
    name = f"team {new_id('x')}"
    made = operator.post("/projects", json={"name": name, "quotas": {"queued_jobs": 3}})
    assert (made.status_code, made.json()["name"]) == (201, name)
    assert made.json()["quotas"] == {"queued_jobs": 3, "running_jobs": None, "stored_bytes": None}
    assert refused(operator.post("/projects", json={"name": name})) == (409, "project_exists")
    inside = {"Neftune-Project": made.json()["id"]}
    key = operator.post("/keys", json={"name": "first", "scopes": ["admin"]}, headers=inside).json()["key"]
    with service.client(key) as admin:
        assert [one["id"] for one in admin.get("/projects").json()["items"]] == [made.json()["id"]]
        assert admin.get(f"/projects/{made.json()['id']}").json() == made.json()
        assert refused(admin.patch(made.headers["location"], json={"quotas": {}})) == (403, "forbidden")
        actions = [one["action"] for one in admin.get("/audit").json()["items"]]
    assert actions == ["key.created", "operator.entered", "project.created"]


@pytest.mark.parametrize(
    "wrong",
    [{"name": " x"}, {"name": "a\nb"}, {"name": ""}, {"name": None}, {"quotas": {"queued_jobs": -1}},
     {"quotas": {"queued_jobs": True}}, {"quotas": {"running_jobs": 1.5}},
     {"quotas": {"stored_bytes": 2**63}}, {"quotas": {"gpus": 1}}, {"id": "x"}, {"name": "prj_" + 26 * "0"}],
    ids=str,
)  # fmt: skip
def test_what_is_no_project_is_refused(operator: httpx.Client, project: str, wrong: dict[str, Any]) -> None:
    before = operator.get(f"/projects/{project}").json()
    made = operator.post("/projects", json={"name": f"team {new_id('x')}", **wrong})
    changed = operator.patch(f"/projects/{project}", json=wrong)
    assert refused(made) == refused(changed) == (422, "invalid_request")
    assert operator.get(f"/projects/{project}").json() == before


def test_projects_are_listed_in_pages(operator: httpx.Client, project: str) -> None:
    seen: list[str] = []
    cursor = None
    while True:
        asked = {"limit": "200", **({"cursor": cursor} if cursor else {})}
        page = operator.get("/projects", params=asked).json()
        seen += [one["id"] for one in page["items"]]
        if (cursor := page["next"]) is None:
            break
    assert len(seen) == len(set(seen))
    assert project in seen


def test_uploads_over_the_quota_are_refused_and_nothing_is_kept(
    service: Service, client: httpx.Client, operator: httpx.Client, project: str
) -> None:
    first = upload(client)
    upload(client, rows(10))
    bound(operator, project, stored_bytes=client.get("/usage").json()["items"][0]["stored_bytes"])
    data = rows(11)  # less than what the first one holds
    kept = service.kept()

    def chunks() -> Iterator[bytes]:
        yield data

    # By its length, and without one; raw, as a form and from another surface
    for given in ({"content": data}, {"content": chunks()}, {"files": {"file": ("rows.jsonl", data)}}):
        assert refused(client.post("/datasets", **given)) == (413, "quota_exceeded")  # type: ignore[arg-type]  # each is a body
    with sdk(service.url, key_of(client)) as ai:
        answer = httpx.post(
            f"{service.url}/v1/files", headers={"authorization": client.headers["authorization"]},
            data={"purpose": "fine-tune"}, files={"file": ("rows.jsonl", data)}, trust_env=False,
        )  # fmt: skip
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "quota_exceeded")
        assert service.kept() == kept
        client.delete(f"/datasets/{first['id']}")
        assert put(ai, data).status == "processed"
    bound(operator, project, stored_bytes=0)
    promised = {"bytes": 10, "filename": "x", "mime_type": "", "purpose": "fine-tune"}
    late = client.post("/v1/uploads", json=promised)
    assert (late.status_code, late.json()["error"]["code"]) == (413, "quota_exceeded")


def test_uploads_at_one_instant_share_the_room_that_is_left(
    service: Service, client: httpx.Client, operator: httpx.Client, project: str
) -> None:
    size = len(rows(12))
    bound(operator, project, stored_bytes=3 * size + 1)
    barrier = threading.Barrier(8)

    def put_one(number: int) -> int:
        data = rows(12).replace(b"Say", b"S%02d" % number)  # no two alike
        with service.client(key_of(client)) as one:
            barrier.wait()
            return one.post("/datasets", content=data).status_code

    with ThreadPoolExecutor(8) as threads:
        answers = Counter(threads.map(put_one, range(8)))
    assert answers == {201: 3, 413: 5}
    assert client.get("/usage").json()["items"][0]["stored_bytes"] == 3 * size


def test_a_quota_of_queued_jobs_is_told(client: httpx.Client, operator: httpx.Client, project: str) -> None:
    bound(operator, project, queued_jobs=1)
    job = submit(client)
    again = client.post("/jobs", json=spec(job["spec"]["dataset"]))
    assert refused(again) == (429, "queue_full")
    assert again.headers["retry-after"]
    bound(operator, project, queued_jobs=None)
    assert client.post("/jobs", json=spec(job["spec"]["dataset"])).status_code == 201


def test_a_job_that_waits_for_its_project_says_so(
    client: httpx.Client, operator: httpx.Client, project: str
) -> None:
    job = submit(client)
    assert job["queue"]["reason"] == "waiting for a free worker"
    bound(operator, project, running_jobs=0)
    told = "the project runs as many jobs as it may (0)"
    assert client.get(f"/jobs/{job['id']}").json()["queue"]["reason"] == told
    assert [one["reason"] for one in client.get("/queue").json()["items"]] == [told]


def test_usage_adds_up_what_was_done(service: Service, client: httpx.Client, stranger: httpx.Client) -> None:
    # Given a job that ran for some time on a GPU, one that waits, and one of another project
    job = submit(client)
    claimed = claim(service, job)
    with unit_of_work(service.engine) as session:
        set_resolved(session, claimed, {"device": "cuda"})
        write_metrics(session, claimed, [(1, {"tokens": 1234.0})])
    with service.engine.begin() as connection:
        began = "UPDATE runs SET started_at = started_at - interval '1 hour' WHERE id = :id"
        connection.execute(text(began), {"id": claimed.run_id})
    result = store_artifact(service, "adapter", b"bytes", "application/x-tar")
    with unit_of_work(service.engine) as session:
        settle_succeeded(session, claimed, {"seed": 42}, [result])
    waits = submit(client)
    submit(stranger)
    # Then all of it is counted once, in days of UTC
    today = datetime.now(UTC).date()
    told = client.get("/usage", params={"since": str(today - timedelta(days=1)), "until": str(today)}).json()
    (used,) = told["items"]
    assert used["jobs"] == {"succeeded": 1, "queued": 1}
    assert 3600 <= used["run_seconds"] < 3700
    assert used["gpu_seconds"] == used["run_seconds"]
    assert used["tokens"] == 1234
    both = [client.get(f"/datasets/{one['spec']['dataset']}").json()["bytes"] for one in (job, waits)]
    assert used["stored_bytes"] == sum(both) + len(b"bytes")
    # A job on the CPU would cost no GPU, and days before it nothing
    before = {"since": str(today - timedelta(days=9)), "until": str(today - timedelta(days=3))}
    (earlier,) = client.get("/usage", params=before).json()["items"]
    assert (earlier["jobs"], earlier["run_seconds"], earlier["tokens"]) == ({}, 0, 0)
    assert {"since": str(today - timedelta(days=29)), "until": str(today)}.items() <= client.get(
        "/usage"
    ).json().items()


def test_a_run_that_was_on_the_cpu_used_no_gpu(service: Service, client: httpx.Client) -> None:
    claimed = claim(service, submit(client))
    result = store_artifact(service, "adapter", b"bytes", "application/x-tar")
    with unit_of_work(service.engine) as session:
        set_resolved(session, claimed, {"device": "cpu"})
        settle_succeeded(session, claimed, {"seed": 42}, [result])
    (used,) = client.get("/usage").json()["items"]
    assert used["run_seconds"] > 0
    assert used["gpu_seconds"] == 0


def test_an_operator_sees_what_all_have_used(
    operator: httpx.Client, client: httpx.Client, project: str
) -> None:
    submit(client)
    everybody = {one["project"]: one for one in operator.get("/usage").json()["items"]}
    assert everybody[project] == client.get("/usage").json()["items"][0]
    assert len(everybody) > 1
    (one,) = operator.get("/usage", headers={"Neftune-Project": project}).json()["items"]
    assert one["project"] == project


@pytest.mark.parametrize(
    "days",
    [{"since": "2026-02-30"}, {"since": "1"}, {"since": "2026-02-02", "until": "2026-02-01"},
     {"since": "2020-01-01", "until": "2026-01-01"}, {"until": "9999-12-31"}, {"until": "\x00"},
     {"until": "0"}],
    ids=str,
)  # fmt: skip
def test_days_that_make_no_span_are_refused(client: httpx.Client, days: dict[str, str]) -> None:
    assert client.get("/usage", params=days).status_code == 422


@pytest.mark.parametrize("until", ["0001-01-01", "0001-01-15"])
def test_the_first_days_there_are_can_be_asked_for(client: httpx.Client, until: str) -> None:
    assert client.get("/usage", params={"until": until}).status_code == 200


def test_what_was_done_is_written_down_with_who_and_whence(
    client: httpx.Client, operator: httpx.Client, stranger: httpx.Client, project: str
) -> None:
    secret_url = "https://hooks.example.org/T0KEN/secret-path"
    hook = client.post("/webhooks", json={"url": secret_url}, headers={"x-request-id": "my-request-1"}).json()
    client.delete(f"/webhooks/{hook['id']}")
    client.delete(f"/webhooks/{hook['id']}")  # not there any more, so not written down
    bound(operator, project, running_jobs=4)
    told = client.get("/audit").json()["items"]
    assert [(one["action"], one["target"]) for one in told] == [
        ("project.changed", project), ("webhook.deleted", hook["id"]), ("webhook.created", hook["id"])
    ]  # fmt: skip
    assert told[0]["data"] == {"quotas": {"running_jobs": 4}}
    assert (told[2]["request_id"], told[2]["address"]) == ("my-request-1", "127.0.0.1")
    assert told[2]["key"] == client.get("/session").json()["key"]["id"]
    assert told[2]["data"]["host"] == "hooks.example.org"
    assert "secret-path" not in client.get("/audit").text
    assert hook["secret"] not in client.get("/audit").text
    # Each project sees its own, and an operator everybody's
    assert stranger.get("/audit").json()["items"] == []
    first = operator.get("/audit", params={"limit": 1}).json()
    assert first["items"][0]["id"] == told[0]["id"]
    then = operator.get("/audit", params={"limit": 1, "cursor": first["next"]}).json()
    assert then["items"][0]["id"] == told[1]["id"]


def test_a_change_that_fails_is_not_written_down(client: httpx.Client) -> None:
    key = client.get("/session").json()["key"]["id"]
    assert client.delete(f"/keys/{key}").status_code == 409
    assert client.get("/audit").json()["items"] == []


@pytest.mark.parametrize("change", ["UPDATE audit_events SET action = 'x'", "DELETE FROM audit_events"])
def test_nobody_changes_what_was_written_down(service: Service, client: httpx.Client, change: str) -> None:
    client.post("/webhooks", json={"url": "https://example.org/hook"})
    with pytest.raises(DBAPIError, match="stays written down"), service.engine.begin() as connection:
        connection.execute(text(change))

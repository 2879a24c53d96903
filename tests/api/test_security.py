"""Keys, scopes, and other people's rows."""

import re
from pathlib import Path

import httpx
import pytest
from fastapi.routing import APIRoute
from sqlalchemy import event

from api.main import _ROUTERS
from api.security import WrongKeys
from neftune_store.db import unit_of_work
from neftune_store.ids import new_id
from neftune_store.projects import ProjectLedger
from tests.api.live_api import MODEL, Service, make_settings, running, spec, submit, succeed, upload

OPEN = {"/healthz", "/readyz", "/openapi.json", "/docs"}


def all_routes() -> list[tuple[str, str]]:
    """Every route of the app, as method and path."""
    return [
        (method, route.path)
        for router in _ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in sorted(route.methods)
    ]


ROUTES = all_routes()
CLOSED = [(method, path) for method, path in ROUTES if path not in OPEN]
# Those that answer 501 whatever is asked know no ids; the names of secrets are each project's own; and quotas
# are for operators alone, who know all.
KNOW_NO_IDS = ("/permissions", "/secrets/")
OF_ONE = [
    (method, path)
    for method, path in CLOSED
    if "{" in path
    and not any(one in path for one in KNOW_NO_IDS)
    and (method, path) != ("PATCH", "/projects/{project_id}")
]

KINDS = ("job", "ds", "wh", "key", "prj", "swp")
# What is looked at before the id.
BODIES: dict[str, object] = {
    "/v1/uploads/{upload}/complete": {"part_ids": ["part_x"]},
    "/jobs/{job_id}/export": {"kind": "merged"},
    "/jobs/{job_id}/evaluations": {"kinds": ["benchmarks"]},
}


def with_ids(  # noqa: PLR0917 - one id of each kind
    path: str,
    job_id: str,
    dataset_id: str,
    webhook_id: str,
    key_id: str = "key_x",
    project_id: str = "prj_x",
    sweep_id: str = "swp_x",
) -> str:
    """Fill in the places of a path; one that is not known here would be an id that never was."""
    path = path.replace("{key_id}", key_id).replace("{project_id}", project_id)
    path = path.replace("{sweep_id}", sweep_id)
    filled = (
        path.replace("{evaluation_id}", job_id)
        .replace("{job_id}", job_id)
        .replace("{dataset_id}", dataset_id)
    )
    filled = filled.replace("{ftjob}", job_id.replace("job_", "ftjob-", 1))
    filled = filled.replace("{file}", dataset_id.replace("ds_", "file-", 1))
    filled = filled.replace("{upload}", dataset_id.replace("ds_", "upload_", 1))
    filled = filled.replace("{model:path}", f"ft:{MODEL}:org-0:bot:{job_id[-8:]}").replace(
        "{permission}", "cp_x"
    )
    filled = filled.replace("{webhook_id}", webhook_id).replace("{name:path}", "adapter")
    filled = filled.replace("/secrets/{name}", "/secrets/hub")
    assert "{" not in filled
    return filled


def webhook(client: httpx.Client) -> str:
    """Add an address to be told; gives its id."""
    return str(client.post("/webhooks", json={"url": "https://example.org/hook"}).json()["id"])


def sweep(client: httpx.Client) -> str:
    """Submit a series; gives its id."""
    job = {"model": MODEL, "dataset": upload(client)["id"]}
    return str(client.post("/sweeps", json={"job": job, "alpha": [5], "seed": [1]}).json()["id"])


def key_and_project(client: httpx.Client) -> list[str]:
    """The ids of the client's own key and project."""
    told = client.get("/session").json()
    return [told["key"]["id"], told["project"]["id"]]


def test_there_are_routes_to_test() -> None:
    assert len(OF_ONE) >= 23
    assert len([path for _, path in OF_ONE if path.startswith("/v1/")]) >= 10


@pytest.mark.parametrize(("method", "path"), CLOSED)
@pytest.mark.parametrize("header", [None, "Bearer wrong-key-wrong-key", "Basic abc", "Bearer", "Bearer a b"])
def test_without_a_good_key_every_route_is_closed(
    service: Service, method: str, path: str, header: str | None
) -> None:
    headers = {"Authorization": header} if header else {}
    asked = with_ids(path, new_id("job"), new_id("ds"), new_id("wh"))

    answer = httpx.request(method, service.url + asked, headers=headers, content=b"{}", trust_env=False)

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    if method != "HEAD":  # which has no body
        told = answer.json()
        assert told.get("error", told)["code"] == "unauthorized"


def test_a_key_in_the_query_opens_nothing(service: Service) -> None:
    answer = httpx.get(
        f"{service.url}/jobs", params={"key": service.key(), "api_key": service.key()}, trust_env=False
    )
    assert answer.status_code == 401


def test_a_revoked_key_opens_nothing(service: Service) -> None:
    key = service.key()
    with service.client(key) as client:
        assert client.get("/jobs").status_code == 200
        with unit_of_work(service.engine) as session:
            ledger = ProjectLedger(session)
            who = ledger.authenticate(key)
            assert who is not None
            ledger.revoke_key(who.project_id, who.key_id)
        assert client.get("/jobs").status_code == 401


def test_a_key_that_may_only_read_changes_nothing(service: Service, client: httpx.Client) -> None:
    with service.client(service.key("read")) as reader:
        assert reader.get("/jobs").status_code == 200
        for answer in (reader.post("/datasets", content=b""), reader.post("/jobs", json={}),
                       reader.post(f"/jobs/{new_id('job')}/cancel"),
                       reader.delete(f"/datasets/{new_id('ds')}")):  # fmt: skip
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


def without_request_id(answer: httpx.Response) -> tuple[int, dict[str, str], str]:
    headers = {name: value for name, value in answer.headers.items() if name not in {"x-request-id", "date"}}
    return answer.status_code, headers, answer.text.replace(answer.headers["x-request-id"], "")


@pytest.mark.parametrize(("method", "path"), OF_ONE)
def test_a_foreign_id_and_an_unknown_one_read_the_same(
    service: Service, client: httpx.Client, stranger: httpx.Client, method: str, path: str
) -> None:
    # Given what a project has
    job = succeed(service, client, adapter=(b"bytes", "application/x-tar"))
    theirs = [job["id"], job["spec"]["dataset"], webhook(client), *key_and_project(client), sweep(client)]

    def ask(*ids: str) -> tuple[int, dict[str, str], str]:
        return without_request_id(stranger.request(method, with_ids(path, *ids), json=BODIES.get(path)))

    # When another project asks for it, for ids that never were, and for what is no id at all
    foreign, unknown = ask(*theirs), ask(*map(new_id, KINDS))
    odd = ask("job_%00", "..%2f..", "wh_%00", "key_%00", "prj_%00", "swp_%00")

    # Then the answers can't be told apart
    assert foreign[0] == 404
    assert foreign == unknown == odd
    assert client.get(f"/jobs/{job['id']}").status_code == 200


def test_a_foreign_dataset_in_a_spec_reads_like_an_unknown_one(
    client: httpx.Client, stranger: httpx.Client
) -> None:
    theirs = upload(client)["id"]
    deleted = upload(stranger)["id"]
    stranger.delete(f"/datasets/{deleted}")

    answers = [
        without_request_id(stranger.post("/jobs", json=spec(dataset)))
        for dataset in (theirs, deleted, new_id("ds"), "ds_nonsense", "\x00"[:0] + "x")
    ]
    assert answers[0][0] == 404
    assert all(answer == answers[0] for answer in answers)
    mine = upload(stranger)["id"]
    foreign, unknown = (
        without_request_id(stranger.post("/jobs", json=spec(mine, validation={"dataset": dataset})))
        for dataset in (theirs, deleted)
    )
    assert foreign[0] == 404
    assert foreign == unknown


def test_lists_show_ones_own(client: httpx.Client, stranger: httpx.Client) -> None:
    submit(client)
    cursor = client.get("/jobs", params={"limit": 1}).json()["next"]
    assert stranger.get("/jobs").json()["items"] == []
    assert stranger.get("/datasets").json()["items"] == []
    assert cursor is None


def test_who_guesses_keys_is_told_to_wait_and_others_pass(
    service: Service, api_database: str, tmp_path: Path
) -> None:
    with running(make_settings(api_database, tmp_path, wrong_keys_per_minute=3)) as strict:
        wrong = {"Authorization": "Bearer wrong-key-wrong-key"}
        # One over the measure, and as many again: the minute may turn in between.
        guesses = [httpx.get(f"{strict.url}/jobs", headers=wrong, trust_env=False) for _ in range(8)]
        with strict.client() as client:
            good = client.get("/jobs").status_code

    statuses = [guess.status_code for guess in guesses]
    assert statuses[:3] == [401] * 3
    assert set(statuses) == {401, 429}
    late = guesses[statuses.index(429)]
    assert (late.json()["code"], late.headers["retry-after"]) == ("rate_limited", "60")
    assert good == 200


def test_wrong_keys_are_counted_for_a_bounded_number_of_addresses() -> None:
    wrong = WrongKeys(1, addresses=10)
    for number in range(100):
        wrong.add(f"10.0.0.{number}")
    assert len(wrong._seen) == 10


@pytest.mark.parametrize(("method", "path"), OF_ONE)
def test_a_foreign_id_costs_what_an_unknown_one_costs(
    service: Service, client: httpx.Client, stranger: httpx.Client, method: str, path: str
) -> None:
    """Clocks lie on a shared machine; the questions asked of the database do not."""
    theirs = [
        (job := submit(client))["id"],
        job["spec"]["dataset"],
        webhook(client),
        *key_and_project(client),
        sweep(client),
    ]
    asked: list[tuple[str, str]] = []

    def listen(_line: object, _cursor: object, statement: str, given: object, *_rest: object) -> None:
        asked.append((statement, repr(given)))

    def questions(ids: list[str]) -> list[str]:
        asked.clear()
        stranger.request(method, with_ids(path, *ids), json=BODIES.get(path))
        # Of a service that others use too, only what was asked about these ids, however they are spelt.
        # When a key was last used is noted beside the requests, some seconds later.
        marks = [ids[0][-8:], *(one.partition("_")[2] for one in ids)]
        own = [one for one in asked if not one[0].startswith("UPDATE api_keys SET last_used_at")]
        return [statement for statement, given in own if any(one in given for one in marks)]

    engine = service.server.config.app.state.engine  # type: ignore[union-attr]  # ours is a FastAPI app
    event.listen(engine, "before_cursor_execute", listen)
    try:
        foreign = questions(theirs)
        unknown = questions([new_id(kind) for kind in KINDS])
    finally:
        event.remove(engine, "before_cursor_execute", listen)

    assert len(foreign) >= 1
    assert foreign == unknown


def test_no_route_is_named_without_a_leading_slash() -> None:
    assert all(re.fullmatch(r"/[a-z0-9/{}:_]+", path) for _, path in ROUTES)

"""Secrets over HTTP: names come out, values never do."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from neftune_store.sealing import Sealer
from tests.api.live_api import MODEL, Service, make_settings, running, submit, upload

KEY, NEXT = (base64.b64encode(bytes([fill]) * 32).decode() for fill in (1, 2))
CANARY = "hf_canaryOfTheTestsOfSecrets0123456789"
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def keeping(own_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An api that has a key to seal with; what others have sealed with theirs can't be sealed anew by it."""
    settings = make_settings(own_database, tmp_path_factory.mktemp("keeping"), neftune_secret_key=KEY)
    with running(settings) as found:
        yield found


@pytest.fixture
def owner(keeping: Service) -> Iterator[httpx.Client]:
    with keeping.client() as found:
        yield found


def put(client: httpx.Client, name: str = "hub", value: str = CANARY) -> httpx.Response:
    return client.put(f"/secrets/{name}", json={"value": value})


def names(client: httpx.Client) -> list[str]:
    return [one["name"] for one in client.get("/secrets").json()["items"]]


def dump(service: Service) -> str:
    """Every row of every table as text; bytes as hex and as they are."""
    with service.engine.connect() as line:
        tables = line.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).all()
        rows = [line.execute(text(f'SELECT t::text FROM "{name}" AS t')).scalars().all() for name in tables]
        sealed = line.scalars(text("SELECT sealed FROM secrets")).all()
    return json.dumps(rows) + "".join(bytes(one).decode("latin-1") for one in sealed)


def test_a_secret_is_kept_and_replaced_and_never_told(keeping: Service, owner: httpx.Client) -> None:
    made, replaced = put(owner), put(owner, value=CANARY + "x")
    assert (made.status_code, replaced.status_code) == (201, 200)
    assert made.json()["created_at"] == replaced.json()["created_at"] < replaced.json()["updated_at"]
    listed = owner.get("/secrets")
    assert [set(one) for one in listed.json()["items"]] == [{"name", "created_at", "updated_at"}]
    assert CANARY not in made.text + replaced.text + listed.text
    kept = dump(keeping)
    assert '"hub' in kept or "hub," in kept
    assert CANARY not in kept
    assert CANARY.encode().hex() not in kept
    assert base64.b64encode(CANARY.encode()).decode()[:-4] not in kept
    assert owner.delete("/secrets/hub").status_code == 204
    assert owner.delete("/secrets/hub").status_code == 404
    assert names(owner) == []


def test_a_name_is_its_own_in_each_project(keeping: Service, owner: httpx.Client) -> None:
    put(owner)
    with keeping.client() as stranger:
        assert names(stranger) == []
        foreign, unknown = stranger.delete("/secrets/hub"), stranger.delete("/secrets/other")
        assert foreign.status_code == unknown.status_code == 404
        told = [one.text.replace(one.headers["x-request-id"], "") for one in (foreign, unknown)]
        assert told[0] == told[1]
    with keeping.client(keeping.key("read")) as reader:
        assert put(reader).status_code == 403
    assert names(owner) == ["hub"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"value": ""},
        {"value": 5},
        {"value": None},
        {"value": "a\nb"},
        {"value": "x" * 8193},
        {"value": "x", "name": "y"},
        [],
    ],
)
def test_a_value_that_fits_nowhere_is_refused_without_being_told(owner: httpx.Client, body: object) -> None:
    answer = owner.put("/secrets/hub", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert "a\\nb" not in answer.text
    assert "xxxx" not in answer.text
    assert names(owner) == []


@pytest.mark.parametrize("name", ["1st", "a b", "x" * 65, "_x", "a%00", "%F0%9F%8D%AA"])
def test_a_name_that_does_not_fit_is_refused(owner: httpx.Client, name: str) -> None:
    assert put(owner, name).status_code == 422
    assert owner.delete(f"/secrets/{name}").status_code == 404


def test_a_project_keeps_a_hundred(keeping: Service, owner: httpx.Client) -> None:
    for number in range(100):
        assert put(owner, f"s{number}", "v").status_code == 201
    refused = put(owner)
    assert (refused.status_code, refused.json()["code"]) == (409, "too_many_secrets")
    assert put(owner, "s99", "w").status_code == 200


def test_without_a_key_it_says_what_to_set(client: httpx.Client) -> None:
    refused = put(client)
    assert (refused.status_code, refused.json()["code"]) == (409, "secrets_off")
    assert refused.headers["x-should-retry"] == "false"
    assert "NEFTUNE_SECRET_KEY" in refused.json()["detail"]
    assert names(client) == []


def test_a_spec_names_a_secret_of_its_project(keeping: Service, owner: httpx.Client) -> None:
    spec = {"model": MODEL, "dataset": upload(owner)["id"], "hub_token": {"secret": "hub"}}
    for query in ({}, {"dry_run": "true"}):
        refused = owner.post("/jobs", json=spec, params=query)
        assert (refused.status_code, refused.json()["code"]) == (422, "secret_unknown")
        assert refused.json()["errors"][0]["loc"] == ["hub_token", "secret"]
    with keeping.client() as stranger:
        put(stranger)  # another project's does not count
    assert owner.post("/jobs", json=spec).status_code == 422
    put(owner)
    job = owner.post("/jobs", json=spec)
    assert job.status_code == 201
    assert job.json()["spec"]["hub_token"] == {"secret": "hub"}
    owner.post(f"/jobs/{job.json()['id']}/cancel")


@pytest.mark.parametrize("token", [CANARY, {"value": "v"}, {"secret": "a b"}, {"secret": CANARY}])
def test_a_value_has_no_place_in_a_spec(owner: httpx.Client, token: object) -> None:
    answer = owner.post("/jobs", json={"model": MODEL, "dataset": "ds_x", "hub_token": token})
    assert answer.status_code == 422
    assert CANARY not in answer.text


def reseal(service: Service, keys: str) -> subprocess.CompletedProcess[str]:
    environ = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": service.settings.database_url,
        "STORAGE_URL": service.settings.storage_url,
        "NEFTUNE_SECRET_KEY": keys,
    }
    return subprocess.run(
        [sys.executable, "-m", "worker.reseal"],
        env=environ, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def test_keys_are_changed_without_losing_a_secret(keeping: Service, owner: httpx.Client) -> None:
    put(owner)
    marks = "SELECT DISTINCT substr(sealed, 2, 4) FROM secrets"
    with keeping.engine.connect() as line:
        before = line.scalars(text(marks)).all()
    # A wrong key opens nothing, and changes nothing
    wrong = reseal(keeping, NEXT)
    assert wrong.returncode == 1
    assert "NEFTUNE_SECRET_KEY" in wrong.stderr
    # The new key before the old one: all is sealed anew, after which the old one opens nothing any more
    assert reseal(keeping, f"{NEXT},{KEY}").returncode == 0
    with keeping.engine.connect() as line:
        after = line.scalars(text(marks)).all()
    assert len(before) == len(after) == 1
    assert before != after
    assert reseal(keeping, KEY).returncode == 1
    assert reseal(keeping, f"{KEY},{NEXT}").returncode == 0
    for told in (wrong.stdout, wrong.stderr):
        assert CANARY not in told
        assert NEXT not in told


def test_a_webhooks_secret_is_sealed_and_signs_on(keeping: Service, owner: httpx.Client) -> None:
    made = owner.post("/webhooks", json={"url": "https://example.org/hook"}).json()
    with keeping.engine.connect() as line:
        (kept,) = line.scalars(text("SELECT secret FROM webhooks WHERE id = :id"), {"id": made["id"]})
    assert kept.startswith("sealed:")
    assert reseal(keeping, f"{NEXT},{KEY}").returncode == 0
    with keeping.engine.connect() as line:
        (anew,) = line.scalars(text("SELECT secret FROM webhooks WHERE id = :id"), {"id": made["id"]})
    assert kept != anew
    assert Sealer.of(NEXT).open_text(anew, "webhooks", made["id"], "secret") == made["secret"]
    assert reseal(keeping, f"{KEY},{NEXT}").returncode == 0


@pytest.mark.parametrize("keys", ["short", f"{KEY},oops", "x" * 44])
def test_a_key_that_is_none_ends_the_start_and_is_not_told(keeping: Service, keys: str) -> None:
    refused = reseal(keeping, keys)
    assert refused.returncode == 1
    assert "NEFTUNE_SECRET_KEY" in refused.stderr
    assert keys not in refused.stderr


def test_submitting_without_a_secret_is_as_ever(client: httpx.Client) -> None:
    job = submit(client)
    assert job["spec"]["hub_token"] is None
    client.post(f"/jobs/{job['id']}/cancel")


def test_what_becomes_of_a_secret_is_written_down_without_it(owner: httpx.Client) -> None:
    for value in ("first-canary", "second-canary"):
        owner.put("/secrets/audited", json={"value": value})
    for _ in range(2):  # the second time there is none
        owner.delete("/secrets/audited")
    told = [one for one in owner.get("/audit").json()["items"] if one["target"] == "audited"]
    assert [one["action"] for one in told] == ["secret.deleted", "secret.replaced", "secret.created"]
    assert "canary" not in owner.get("/audit").text

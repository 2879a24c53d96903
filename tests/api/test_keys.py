"""Keys as a project's admin has them: made, seen, used, ended."""

import asyncio
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from api import make_key
from api.database import Database
from api.keeper import Keeper
from api.listener import Wakeups
from api.stream import Slot, StreamSlots
from neftune_store.db import make_engine, unit_of_work
from neftune_store.errors import DatabaseUnavailable
from neftune_store.ids import new_id
from neftune_store.keys import MOST, USE_NOTED, KeyLedger
from tests.api.live_api import Service, submit


def make(client: httpx.Client, *scopes: str, **more: Any) -> dict[str, Any]:
    answer = client.post("/keys", json={"name": "ci", "scopes": list(scopes), **more})
    assert answer.status_code == 201, answer.text
    told: dict[str, Any] = answer.json()
    return told


def own(client: httpx.Client) -> str:
    return str(client.get("/session").json()["key"]["id"])


def refused(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def soon(**ahead: float) -> str:
    return (datetime.now(UTC) + timedelta(**ahead)).isoformat()


def test_a_key_is_shown_once_and_opens_its_project(service: Service, client: httpx.Client) -> None:
    made = make(client, "write", "read", "write")
    assert made["scopes"] == ["read", "write"]
    assert made["prefix"] == made["key"][:8]
    job = submit(client)
    with service.client(made["key"]) as fresh:
        assert fresh.get(f"/jobs/{job['id']}").status_code == 200
    listed = client.get("/keys").json()["items"]
    assert [one["id"] for one in listed] == [made["id"], own(client)]
    assert made["key"] not in json.dumps(listed)
    assert made["key"] not in client.get("/audit").text
    assert {k: v for k, v in client.get(f"/keys/{made['id']}").json().items() if k != "last_used_at"} == {
        k: v for k, v in made.items() if k not in {"key", "last_used_at"}
    }


def test_keys_are_listed_in_pages(client: httpx.Client) -> None:
    made = [make(client, "read")["id"] for _ in range(3)]
    first = client.get("/keys", params={"limit": 2}).json()
    rest = client.get("/keys", params={"limit": 2, "cursor": first["next"]}).json()
    assert [one["id"] for one in first["items"] + rest["items"]] == [*reversed(made), own(client)]
    assert rest["next"] is None


@pytest.mark.parametrize(
    "wrong",
    [{"scopes": []}, {"scopes": ["root"]}, {"name": ""}, {"name": "a\x00b"}, {"name": "x" * 121},
     {"expires_at": "soon"}, {"expires_at": 1893456000}, {"expires_at": "2030-01-01T00:00:00"},
     {"expires_at": "2020-01-01T00:00:00Z"}, {"project_id": "prj_x"}, {"key": "nft_mine"}],
)  # fmt: skip
def test_what_is_no_key_is_refused(client: httpx.Client, wrong: dict[str, Any]) -> None:
    answer = client.post("/keys", json={"name": "ci", "scopes": ["read"], **wrong})
    assert answer.status_code == 422
    assert answer.json()["errors"]
    assert len(client.get("/keys").json()["items"]) == 1


def test_a_key_gives_no_more_than_it_has(service: Service, client: httpx.Client) -> None:
    assert refused(client.post("/keys", json={"name": "op", "scopes": ["operator"]})) == (403, "forbidden")
    project = client.get("/session").json()["project"]["id"]
    with service.client(service.key("operator")) as operator:
        inside = {"Neftune-Project": project}
        made = operator.post("/keys", json={"name": "op", "scopes": ["operator", "read"]}, headers=inside)
    assert made.status_code == 201
    with service.client(made.json()["key"]) as fresh:
        assert fresh.get("/session").json()["project"]["id"] == project


def test_a_key_that_ends_makes_none_that_outlives_it(service: Service, client: httpx.Client) -> None:
    ending = make(client, "admin", expires_at=soon(hours=1))
    with service.client(ending["key"]) as brief:
        for longer in ({}, {"expires_at": soon(hours=2)}):
            answer = brief.post("/keys", json={"name": "ci", "scopes": ["read"], **longer})
            assert refused(answer) == (403, "forbidden")
        make(brief, "read", expires_at=soon(minutes=30))


def test_a_revoked_key_opens_nothing_from_then_on(service: Service, client: httpx.Client) -> None:
    made = make(client, "read")
    with service.client(made["key"]) as doomed:
        assert doomed.get("/jobs").status_code == 200
        for _ in range(2):  # a second time changes nothing
            assert client.delete(f"/keys/{made['id']}").status_code == 204
        assert refused(doomed.get("/jobs")) == (401, "unauthorized")
    assert client.get(f"/keys/{made['id']}").json()["revoked_at"] is not None
    revoked = [one for one in client.get("/audit").json()["items"] if one["action"] == "key.revoked"]
    assert [one["target"] for one in revoked] == [made["id"]]


def expire(service: Service, key_id: str) -> None:
    past = text("UPDATE api_keys SET expires_at = clock_timestamp() - interval '1 s' WHERE id = :id")
    with service.engine.begin() as connection:
        connection.execute(past, {"id": key_id})


def test_a_key_that_is_over_opens_nothing(service: Service, client: httpx.Client) -> None:
    made = make(client, "read", expires_at=soon(hours=1))
    with service.client(made["key"]) as brief:
        assert brief.get("/jobs").status_code == 200
        expire(service, made["id"])
        assert refused(brief.get("/jobs")) == (401, "unauthorized")


@pytest.mark.parametrize("end", ["revoked", "over"])
@pytest.mark.parametrize("route", ["/jobs/{}/stream", "/stream?jobs={}"])
def test_a_live_stream_ends_with_its_key(
    service: Service, client: httpx.Client, end: str, route: str
) -> None:
    job = submit(client)
    made = make(client, "read")
    with service.client(made["key"]) as follower, follower.stream("GET", route.format(job["id"])) as lines:
        told = lines.iter_lines()
        assert next(told).startswith("event:")
        if end == "revoked":
            client.delete(f"/keys/{made['id']}")
        else:
            expire(service, made["id"])
        for _ in told:  # would go on for ten minutes
            pass
    assert client.get(f"/jobs/{job['id']}").json()["status"] == "queued"


def test_the_last_admin_key_stays_unless_that_is_meant(service: Service, client: httpx.Client) -> None:
    make(client, "write")
    ending = make(client, "admin", expires_at=soon(hours=1))
    expire(service, ending["id"])
    answer = client.delete(f"/keys/{own(client)}")
    assert refused(answer) == (409, "last_admin_key")
    assert answer.headers["x-should-retry"] == "false"
    second = make(client, "admin")
    assert client.delete(f"/keys/{second['id']}").status_code == 204
    assert client.delete(f"/keys/{own(client)}", params={"even_last_admin": "true"}).status_code == 204
    assert client.get("/session").status_code == 401


def test_two_admins_that_revoke_each_other_do_not_leave_nobody(service: Service) -> None:
    for _ in range(5):
        with service.client() as one, service.client(make(one, "admin")["key"]) as other:
            keys, barrier = [own(one), own(other)], threading.Barrier(2)

            def revoke(who: int, keys: Any = keys, barrier: Any = barrier, both: Any = (one, other)) -> int:
                barrier.wait()
                return int(both[who].delete(f"/keys/{keys[1 - who]}").status_code)

            with ThreadPoolExecutor(2) as threads:
                done = sorted(threads.map(revoke, range(2)))
            # The slower one is refused, or its own key is gone before it asks
            assert done[0] == 204
            assert done[1] in {401, 409}


def test_a_project_has_a_bounded_number_of_keys(service: Service, client: httpx.Client) -> None:
    project = client.get("/session").json()["project"]["id"]
    more = text(
        "INSERT INTO api_keys (id, project_id, name, prefix, sha256, scopes)"
        " SELECT 'key_many_' || :project || n, :project, 'x', '',"
        " encode(sha256((:project || n)::bytea), 'hex'), '{read}' FROM generate_series(2, :most) n"
    )
    with service.engine.begin() as connection:
        connection.execute(more, {"project": project, "most": MOST})
    answer = client.post("/keys", json={"name": "ci", "scopes": ["read"]})
    assert refused(answer) == (409, "too_many_keys")


def last_used(service: Service, key_id: str) -> datetime | None:
    with unit_of_work(service.engine) as session:
        return KeyLedger(session).by_id(key_id).last_used_at


def test_a_use_is_written_down_once_a_minute(service: Service) -> None:
    # Given a key whose use was just written down
    plaintext = service.key()
    with unit_of_work(service.engine) as session:
        who = KeyLedger(session).holder(plaintext)
        assert who is not None
        assert who.use_unnoted
        KeyLedger(session).note_use([who.key_id])
    first = last_used(service, who.key_id)
    assert first is not None
    # When it is used again within the minute
    with service.client(plaintext) as client:
        assert client.get("/jobs").status_code == 200
    keeper: Keeper = service.server.config.app.state.keeper  # type: ignore[union-attr]  # ours is a FastAPI app
    # Then nothing is to be written, and nothing is
    assert who.key_id not in keeper._used
    with unit_of_work(service.engine) as session:
        KeyLedger(session).note_use([who.key_id])
    assert last_used(service, who.key_id) == first
    # A minute later it is
    with service.engine.begin() as connection:
        old = text("UPDATE api_keys SET last_used_at = last_used_at - :by WHERE id = :id")
        connection.execute(old, {"by": USE_NOTED, "id": who.key_id})
    with unit_of_work(service.engine) as session:
        KeyLedger(session).note_use([who.key_id])
    assert last_used(service, who.key_id) > first  # type: ignore[operator]  # it is there, as just seen


def test_a_use_is_seen_a_moment_later(service: Service, client: httpx.Client) -> None:
    made = make(client, "read")
    with service.client(made["key"]) as fresh:
        fresh.get("/jobs")
    until = time.monotonic() + 20
    while client.get(f"/keys/{made['id']}").json()["last_used_at"] is None:
        assert time.monotonic() < until, "the use was not written down"
        time.sleep(0.1)


def test_a_key_in_somebodys_hands_is_not_waited_for(service: Service, client: httpx.Client) -> None:
    key_id = own(client)
    with service.engine.begin() as held:
        held.execute(text("SELECT 1 FROM api_keys WHERE id = :id FOR UPDATE"), {"id": key_id})
        with unit_of_work(service.engine) as session:
            session.execute(text("SET LOCAL lock_timeout = '200ms'"))
            KeyLedger(session).note_use([key_id])


def test_without_a_database_uses_are_kept_and_streams_left_alone() -> None:
    async def look() -> tuple[set[str], bool]:
        away = Database(make_engine("postgresql://nobody@127.0.0.1:1/none"), 1)
        slots = StreamSlots(5)
        slot = Slot()
        slots.take("key_a", slot)
        keeper = Keeper(away, [slots], Wakeups())
        keeper.note("key_a")
        with pytest.raises(DatabaseUnavailable):
            await keeper.look()
        return keeper._used, slot.closed

    assert asyncio.run(look()) == ({"key_a"}, False)


def test_an_operator_without_a_key_makes_one_at_the_database(
    service: Service, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", service.settings.database_url)
    name = f"project-{new_id('x')}"
    make_key.main(["--project", name, "--scope", "read"])
    make_key.main(["--project", name])
    reader, whole = capsys.readouterr().out.split()
    with service.client(reader) as client, service.client(whole) as operator:
        assert client.get("/session").json()["scopes"] == ["read"]
        assert operator.get("/session").json()["scopes"] == ["admin", "operator", "read", "write"]
        assert len(operator.get("/keys").json()["items"]) == 2
        own = {"Neftune-Project": name}
        made = [one for one in operator.get("/audit", headers=own).json()["items"] if one["key"] == "command"]
    assert [one["action"] for one in made] == ["key.created"] * 2

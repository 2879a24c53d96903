"""`neftune keys` against a running api: keys are made, shown once, used and closed."""

import re
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from tests.api.live_api import Service
from tests.client.conftest import Neftune


def opens(service: Service, key: str, method: str = "GET") -> int:
    with service.client(key) as client:
        return client.request(method, "/jobs", json={} if method == "POST" else None).status_code


def test_a_key_is_made_shown_once_used_and_revoked(neftune: Neftune, service: Service) -> None:
    # Given a key that may read
    said = neftune("keys", "create", "dashboard", "--scope", "read")
    assert said.status == 0
    made = said.out.strip()
    assert re.fullmatch(r"nft_\S+", made)
    assert made not in said.err
    key_id = re.search(r"key_\w+", said.err)
    assert key_id
    # Then it opens what it may, and the list shows everything but the key
    assert (opens(service, made), opens(service, made, "POST")) == (200, 403)
    listed = neftune("keys").out
    row = next(line.split("\t") for line in listed.splitlines() if line.startswith(key_id[0]))
    assert (row[1], row[2], row[3], row[4]) == (made[:8], "read", "dashboard", "good")
    assert made not in listed + neftune("keys", "--json").out
    # And revoked it opens nothing
    assert neftune("keys", "revoke", key_id[0]).status == 0
    assert opens(service, made) == 401
    states = {line.split("\t")[0]: line.split("\t")[4] for line in neftune("keys").out.splitlines()}
    assert states[key_id[0]] == "revoked"


@pytest.mark.parametrize(
    ("told", "length"),
    [("12h", timedelta(hours=12)), ("30d", timedelta(days=30)), ("8w", timedelta(weeks=8))],
)
def test_a_key_ends_after_a_while(neftune: Neftune, told: str, length: timedelta) -> None:
    before = datetime.now(UTC)
    made = neftune("keys", "create", "nightly", "-s", "write", "-e", told, "--json").told
    after = datetime.now(UTC)
    assert before + length <= datetime.fromisoformat(made["expires_at"]) <= after + length
    assert neftune("keys", "--json").told[0]["expires_at"] == made["expires_at"]
    assert f"until {made['expires_at']}" in neftune("keys").out


def test_a_key_that_says_nothing_else_may_write(neftune: Neftune) -> None:
    assert neftune("keys", "create", "mine", "--json").told["scopes"] == ["write"]


def test_odd_ends_and_scopes_are_refused(neftune: Neftune) -> None:
    for end in ("soon", "0d", "2020-01-01T00:00:00Z", "5m"):
        said = neftune("keys", "create", "mine", "-e", end)
        assert (said.status, said.out) == (1, "")
        assert "expires_at: " in said.err
    assert neftune("keys", "create", "mine", "-s", "everything").status == 2


def test_a_key_makes_none_that_may_more(
    neftune: Neftune, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "forbidden" in neftune("keys", "create", "mine", "-s", "operator").err
    monkeypatch.setenv("NEFTUNE_API_KEY", service.key("write"))
    said = neftune("keys")
    assert said.status == 1
    assert "forbidden" in said.err


def test_the_last_admin_is_kept_unless_it_is_meant(neftune: Neftune, service: Service, key: str) -> None:
    (own,) = neftune("keys", "--json").told
    said = neftune("keys", "revoke", own["id"])
    assert said.status == 1
    assert opens(service, key) == 200
    assert neftune("keys", "revoke", own["id"], "--even-last-admin").status == 0
    assert opens(service, key) == 401


def test_the_key_itself_goes_into_no_address(neftune: Neftune, key: str, service: Service) -> None:
    said = neftune("keys", "revoke", key)
    assert said.status == 2
    assert "key_" in said.err
    assert opens(service, key) == 200


def test_an_unknown_key_is_not_found(neftune: Neftune, client: httpx.Client) -> None:
    theirs = client.get("/keys").json()["items"][0]["id"]
    for key_id in (theirs, "key_nothing"):
        assert "not_found" in neftune("keys", "revoke", key_id).err
    assert client.get("/keys").status_code == 200

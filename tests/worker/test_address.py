"""The address that was looked at is the one connected to, and none of a name's is in our own network."""

import socket
import ssl
from typing import Any

import pytest

from neftune_core.address import Refused, is_public, resolved
from neftune_core.posting import connected
from neftune_store.webhooks import Errand
from worker import deliver

PUBLIC, OURS = "93.184.215.14", "10.0.0.1"
NAME = "hooks.example.org"


def names(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> None:
    """Let the name have these addresses: at the first question, the second, and so on."""
    left = list(answers)

    def getaddrinfo(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        found = [host] if host != NAME else left.pop(0)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.mark.parametrize("found", [[OURS], [PUBLIC, OURS], [OURS, PUBLIC]])
def test_a_name_with_an_address_of_ours_is_refused(monkeypatch: pytest.MonkeyPatch, found: list[str]) -> None:
    names(monkeypatch, found)
    with pytest.raises(Refused):
        resolved(NAME, 443, ())


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_name_is_asked_for_once_and_that_very_address_connected_to(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    # Given a name that is public when it is looked at, and ours when it is asked for again
    names(monkeypatch, [PUBLIC], [OURS], [OURS])
    gone_to: list[tuple[str, int]] = []

    def create_connection(address: tuple[str, int], **_: Any) -> socket.socket:
        gone_to.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", create_connection)
    errand = Errand("dlv_1", "evt_1", 1, {}, f"{scheme}://{NAME}/", "whsec_" + "A" * 32)
    assert deliver.send(errand, ()) == deliver.Outcome(error="connection")
    assert gone_to == [(PUBLIC, 443 if scheme == "https" else 80)]


def test_whoever_answers_at_that_address_has_to_prove_its_name() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        line = connected("127.0.0.1", server.getsockname()[1], NAME, seconds=5)
        with line:
            assert isinstance(line, ssl.SSLSocket)
            assert line.server_hostname == NAME
            assert (line.context.check_hostname, line.context.verify_mode) == (True, ssl.CERT_REQUIRED)


@pytest.mark.parametrize(
    "address",
    [
        *("fec0::1", "64:ff9b:1::808:808"),  # networks of one's own
        *("::127.0.0.1", "::7f00:1", "::ffff:0:127.0.0.1"),  # IPv4 in other clothes
        *("64:ff9b::e000:1", "2002:e000:1::", "::ffff:224.0.0.1"),  # and to many at once
        *("2001:0:7f00:1::", "198.18.0.1", "240.0.0.1", "255.255.255.255", "fd00:ec2::254"),
    ],
)
def test_an_address_inside_another_is_seen(address: str) -> None:
    assert not is_public(address)

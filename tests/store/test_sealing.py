"""Sealed values open under their key and at their place only."""

import base64

import pytest

from neftune_store.errors import SecretsOff, SecretUnreadable
from neftune_store.sealing import Sealer, keys_in

ONE, OTHER = (base64.urlsafe_b64encode(bytes([fill]) * 32).decode().rstrip("=") for fill in (7, 251))


def test_a_value_opens_at_its_place_and_nowhere_else() -> None:
    sealer = Sealer.of(ONE)
    sealed = sealer.seal("välue", "prj_a", "name")
    assert sealer.open(sealed, "prj_a", "name") == "välue"
    assert sealer.seal("välue", "prj_a", "name") != sealed  # never the same twice
    for place in (("prj_b", "name"), ("prj_a", "other"), ("prj_a\0name", ""), ("prj_a",)):
        with pytest.raises(SecretUnreadable):
            sealer.open(sealed, *place)


@pytest.mark.parametrize("place", range(0, 60, 5))
def test_a_byte_that_changed_opens_nothing(place: int) -> None:
    sealer = Sealer.of(ONE)
    sealed = bytearray(sealer.seal("v" * 40, "prj", "name"))
    sealed[place] ^= 1
    with pytest.raises(SecretUnreadable):
        sealer.open(bytes(sealed), "prj", "name")


@pytest.mark.parametrize("sealed", [b"", b"\x01", b"\x01abcd", b"\x02" + bytes(60)])
def test_what_was_never_sealed_opens_nothing(sealed: bytes) -> None:
    with pytest.raises(SecretUnreadable):
        Sealer.of(ONE).open(sealed, "prj", "name")


def test_the_first_key_seals_and_any_opens() -> None:
    old, both = Sealer.of(ONE), Sealer.of(f"{OTHER}, {ONE}")
    before, after = old.seal("v", "p", "n"), both.seal("v", "p", "n")
    assert both.open(before, "p", "n") == both.open(after, "p", "n") == "v"
    assert (both.is_current(before), both.is_current(after)) == (False, True)
    with pytest.raises(SecretUnreadable):
        old.open(after, "p", "n")


def test_without_a_key_nothing_is_sealed_or_opened() -> None:
    nothing = Sealer.of(None)
    assert not nothing.on
    with pytest.raises(SecretsOff):
        nothing.seal("v", "p", "n")
    with pytest.raises(SecretsOff):
        nothing.open(Sealer.of(ONE).seal("v", "p", "n"), "p", "n")


@pytest.mark.parametrize("told", ["x", ONE[:-2], ONE + "AAAA", "é" * 43, "=" * 44])
def test_a_key_of_another_size_is_refused(told: str) -> None:
    with pytest.raises(ValueError, match="32 random bytes"):
        keys_in(told)

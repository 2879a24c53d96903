"""Sealing: values under a key that is not in the database.

AES-256-GCM with a random nonce. Where a value belongs (project and name) is authenticated with it, so a row
that is copied elsewhere opens nothing. Of several keys the first seals and any opens: put a new one before
the old one, have everything sealed anew, then drop the old one.
"""

import base64
import binascii
import hashlib
import os
from collections.abc import Sequence

from neftune_store.errors import SecretsOff, SecretUnreadable

_VERSION = b"\x01"
_MARK, _NONCE = 4, 12  # bytes: which key, and a number used once
_KEY = 32
_SEALED = "sealed:"


class Sealer:
    """Seals and opens with the keys of this installation; without any it does neither."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = {_mark(key): key for key in reversed(keys)}
        self._first = keys[0] if keys else None

    @classmethod
    def of(cls, told: str | None) -> "Sealer":
        """Read NEFTUNE_SECRET_KEY, whose form the settings have checked."""
        return cls(keys_in(told or ""))

    @property
    def on(self) -> bool:
        """Tell whether there is a key."""
        return self._first is not None

    def seal(self, value: str, *place: str) -> bytes:
        """Seal a value for its place."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - few requests need it

        if self._first is None:
            raise SecretsOff
        nonce = os.urandom(_NONCE)
        sealed = AESGCM(self._first).encrypt(nonce, value.encode(), _bound_to(place))
        return _VERSION + _mark(self._first) + nonce + sealed

    def open(self, sealed: bytes, *place: str) -> str:
        """Open what was sealed for this place."""
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - as above
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - as above

        if self._first is None:
            raise SecretsOff
        key = self._keys.get(sealed[1 : 1 + _MARK])
        if key is None or sealed[:1] != _VERSION:
            raise SecretUnreadable
        rest = sealed[1 + _MARK :]
        try:
            return AESGCM(key).decrypt(rest[:_NONCE], rest[_NONCE:], _bound_to(place)).decode()
        except InvalidTag:
            raise SecretUnreadable from None

    def seal_text(self, value: str, *place: str) -> str:
        """Seal a value for a column of text; without a key it stays what it is."""
        return _SEALED + base64.b64encode(self.seal(value, *place)).decode() if self.on else value

    def open_text(self, kept: str, *place: str) -> str:
        """Open such a value; one that was kept while there was no key is told as it is."""
        if not kept.startswith(_SEALED):
            return kept
        return self.open(base64.b64decode(kept.removeprefix(_SEALED)), *place)

    def is_current_text(self, kept: str) -> bool:
        """Tell whether the first key has sealed what stands in a column of text."""
        return kept.startswith(_SEALED) and self.is_current(base64.b64decode(kept.removeprefix(_SEALED)))

    def is_current(self, sealed: bytes) -> bool:
        """Tell whether the first key has sealed it."""
        return self._first is not None and sealed[1 : 1 + _MARK] == _mark(self._first)


UNSEALED = Sealer(())  # keeps text as it is


def keys_in(told: str) -> list[bytes]:
    """Read comma-separated keys: each 32 bytes in base64, as ``openssl rand -base64 32`` prints them."""
    return [_key(one.strip()) for one in told.split(",") if one.strip()]


def _key(told: str) -> bytes:
    plain = told.rstrip("=").translate(str.maketrans("-_", "+/"))
    try:
        key = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != _KEY:
        raise ValueError(
            "each key must be 32 random bytes in base64, as `openssl rand -base64 32` prints them"
        )
    return key


def _mark(key: bytes) -> bytes:
    return hashlib.sha256(b"neftune-key-mark\0" + key).digest()[:_MARK]


def _bound_to(place: Sequence[str]) -> bytes:
    return b"\0".join([b"neftune-secret", *(part.encode() for part in place)])

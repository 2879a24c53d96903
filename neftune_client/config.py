"""Where the service is and with which key: told, remembered, or found on this machine.

    NEFTUNE_URL, NEFTUNE_API_KEY       what the environment says
    ~/.config/neftune/client.json      what `neftune login` wrote, mode 0600
    NEFTUNE_HOME/lock                  what a service that runs on this machine says of itself

A key goes to no other address than the one it was kept for: one that is remembered is never sent to a
``NEFTUNE_URL`` that names somebody else.
"""

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neftune_client.errors import NotConfigured

_HOW = (
    "Start a service on this machine with `neftune up`, sign in to one with `neftune login`, "
    "or set NEFTUNE_URL and NEFTUNE_API_KEY."
)


@dataclass(frozen=True, slots=True)
class Access:
    """An address, the key for it, and who told of them."""

    url: str
    key: str
    found_in: str

    def __repr__(self) -> str:
        return f"Access(url={self.url!r}, found_in={self.found_in!r})"  # a key has no place in a log


def find(environ: Mapping[str, str] = os.environ) -> Access:
    """Find the service, or say how to."""
    url, key = environ.get("NEFTUNE_URL", "").rstrip("/"), environ.get("NEFTUNE_API_KEY", "")
    if url and key:
        return Access(url, key, "the environment")
    for known in (remembered(environ), announced(environ)):
        if known is not None and (not url or url == known.url):
            return Access(known.url, key or known.key, known.found_in)
    if url:
        raise NotConfigured(
            f"There is no key for {url}. Set NEFTUNE_API_KEY, or `neftune login --url {url}`."
        )
    raise NotConfigured(f"No service is known here. {_HOW}")


def remembered(environ: Mapping[str, str] = os.environ) -> Access | None:
    """Read what a login has written."""
    path = file_of(environ)
    told = _read(path)
    if told is None:
        return None
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise NotConfigured(f"{path} holds a key and others may read it. Close it: chmod 600 {path}")
    if not (_text(told.get("url")) and _text(told.get("key"))):
        raise NotConfigured(f"{path} can't be read as an address and a key; `neftune login` writes it anew.")
    return Access(told["url"], told["key"], str(path))


def announced(environ: Mapping[str, str] = os.environ) -> Access | None:
    """Ask the home of this user whether a service runs in it."""
    home = _home(environ)
    told = _read(home / "lock") if home else None
    if home is None or told is None or not _lives(told.get("pid")) or not _text(told.get("url")):
        return None
    try:
        key = (home / "secrets" / "api-key").read_text("utf-8").strip()
    except (OSError, ValueError):
        return None
    return Access(told["url"], key, str(home))


def remember(url: str, key: str, environ: Mapping[str, str] = os.environ) -> Path:
    """Write a login down, whole or not at all, for this user's eyes."""
    path = file_of(environ)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump({"url": url.rstrip("/"), "key": key}, file)
    draft.replace(path)
    return path


def file_of(environ: Mapping[str, str] = os.environ) -> Path:
    """Give the place of the remembered login."""
    folder = environ.get("XDG_CONFIG_HOME")
    return (Path(folder) if folder else Path.home() / ".config") / "neftune" / "client.json"


def _home(environ: Mapping[str, str]) -> Path | None:
    """Find the standalone service's home, where it keeps it unless told otherwise."""
    if home := environ.get("NEFTUNE_HOME"):
        return Path(home).expanduser()
    if os.geteuid() == 0:
        return Path("/var/lib/neftune")
    if data := environ.get("XDG_DATA_HOME"):
        return Path(data) / "neftune"
    try:
        return Path.home() / ".local" / "share" / "neftune"
    except RuntimeError:  # a user without a home folder
        return None


def _read(path: Path) -> dict[str, Any] | None:
    try:
        told = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) else None


def _lives(pid: object) -> bool:
    if not isinstance(pid, int) or pid < 1:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True


def _text(value: object) -> bool:
    return isinstance(value, str) and bool(value)

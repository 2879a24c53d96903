"""The folder in which everything lies, held by one instance at a time.

    lock                 held while an instance runs, and who it is
    secrets/             the API key, the database's password and the key of users' secrets, mode 0600
    postgres/ redis/     data, sockets
    blobs/ models/ work/ datasets and artifacts; base models as <org>/<name>; running jobs
    logs/                one file for each process

Folders are made with mode 0700, secrets with 0600; nothing outside the folder is touched.
"""

import errno
import fcntl
import json
import os
import stat
from pathlib import Path
from secrets import token_urlsafe
from typing import Self

from neftune_store.projects import new_key
from standalone.errors import HomeBusy, HomeUnusable

_FOLDERS = ("secrets", "logs", "blobs", "models", "work")
_ROTATE_AT = 16 * 1024**2  # bytes


class Home:
    """An open home. Use as a context manager: the lock goes with it, or with the process."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self._lock: int | None = None

    def __enter__(self) -> Self:
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path = self.path.resolve()
            self._refuse_strangers()
            self._take_lock()
            for name in _FOLDERS:
                self.folder(name)
        except (PermissionError, NotADirectoryError, FileExistsError) as error:
            raise HomeUnusable(f"{error.strerror}: {error.filename}. {_WAY_OUT}") from error
        except OSError as error:
            if error.errno in (errno.EROFS, errno.ENOSPC):
                raise HomeUnusable(f"{error.strerror}: {error.filename}. {_WAY_OUT}") from error
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def folder(self, name: str) -> Path:
        """A folder in the home, made when it is missing."""
        folder = self.path / name
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def log(self, name: str) -> Path:
        """The log of a process; what grew large is put aside first."""
        path = self.folder("logs") / f"{name}.log"
        if path.exists() and path.stat().st_size > _ROTATE_AT:
            path.replace(path.with_suffix(".log.1"))
        return path

    def api_key(self, preset: str | None) -> str:
        """The key to start with: the preset, else the one from last time, else a new one."""
        path = self.folder("secrets") / "api-key"
        if preset:
            if not path.exists():
                write_secret(path, preset)
            return preset
        if not path.exists():
            write_secret(path, new_key())
        return path.read_text().strip()

    def secret_key(self) -> str:
        """The key that users' secrets are sealed with: made once. Who loses it has to put them anew."""
        path = self.folder("secrets") / "secret-key"
        if not path.exists():
            write_secret(path, token_urlsafe(32))
        return path.read_text().strip()

    def announce(self, url: str) -> None:
        """Leave word in the lock for whoever finds it taken."""
        if self._lock is not None:
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, json.dumps({"pid": os.getpid(), "url": url}).encode(), 0)

    def _refuse_strangers(self) -> None:
        found = self.path.stat()
        if found.st_uid != os.geteuid():
            raise HomeUnusable(f"{self.path} belongs to another user (uid {found.st_uid}). {_WAY_OUT}")
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):  # others could put files in our place
            self.path.chmod(stat.S_IMODE(found.st_mode) & ~(stat.S_IWGRP | stat.S_IWOTH))

    def _take_lock(self) -> None:
        lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            word = os.pread(lock, 4096, 0)
            os.close(lock)
            raise HomeBusy(self._busy(word)) from None
        os.ftruncate(lock, 0)
        self._lock = lock

    def _busy(self, word: bytes) -> str:
        try:
            told = json.loads(word)
            who = f" (process {told['pid']}, {told['url']})"
        except (ValueError, KeyError, TypeError):
            who = ""
        return (
            f"Another instance{who} runs on {self.path}. Use that one, stop it first, "
            "or set NEFTUNE_HOME to another folder."
        )


_WAY_OUT = "Set NEFTUNE_HOME to a folder of yours, or start as the user it belongs to."


def write_secret(path: Path, text: str) -> None:
    """Write it whole or not at all, readable by this user only."""
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)

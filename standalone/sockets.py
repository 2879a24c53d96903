"""A private folder for a Unix socket whose path stays short enough for the kernel."""

import os
import shutil
import tempfile
from pathlib import Path

from standalone.errors import HomeUnusable
from standalone.leash import Account
from standalone.postgres_account import give

_LONGEST = 100  # bytes; the kernel's own limit is 107, and clients add a little


class SocketFolder:
    """The folder asked for if its path is short, else a fresh private one among the temporary files."""

    def __init__(self, wanted: Path, longest_name: str) -> None:
        self._wanted = wanted
        self._longest_name = longest_name
        self._note = wanted.with_name(f"{wanted.name}-elsewhere")
        self._elsewhere: Path | None = None

    def open(self, account: Account | None = None) -> Path:
        """Make the folder, empty and open for the account only; the same one each time until ``close``."""
        if self._elsewhere is not None:
            for left in self._elsewhere.iterdir():
                left.unlink()
            return self._elsewhere
        self._forget_predecessor(account)
        folder = self._wanted
        if self._fits(folder):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o700)
        else:
            folder = self._elsewhere = self._make_elsewhere()
            self._note.write_text(str(folder))
        give(folder, account)
        return folder

    def in_use(self) -> Path:
        """Tell where another process of ours has opened it."""
        try:
            return Path(self._note.read_text())
        except FileNotFoundError:
            return self._wanted

    def close(self) -> None:
        """Take a folder outside the home away again."""
        if self._elsewhere is not None:
            shutil.rmtree(self._elsewhere, ignore_errors=True)
            self._note.unlink(missing_ok=True)
            self._elsewhere = None

    def _fits(self, folder: Path) -> bool:
        return len(os.fsencode(folder / self._longest_name)) < _LONGEST

    def _make_elsewhere(self) -> Path:
        for parent in (tempfile.gettempdir(), "/tmp", "/var/tmp"):  # noqa: S108 - mkdtemp makes it private
            if self._fits(Path(parent, "neftune-xxxxxxxx")) and os.access(parent, os.W_OK):
                return Path(tempfile.mkdtemp(prefix="neftune-", dir=parent))
        raise HomeUnusable(
            f"No place for a socket: {self._wanted} is too long and no temporary folder is writable."
        )

    def _forget_predecessor(self, account: Account | None) -> None:
        """A folder that ``kill -9`` left behind; only one that is a private folder of ours is touched."""
        try:
            left = Path(self._note.read_text())
        except FileNotFoundError:
            return
        owner = account.uid if account else os.geteuid()
        if left.is_dir() and not left.is_symlink() and left.stat().st_uid == owner:
            shutil.rmtree(left, ignore_errors=True)
        self._note.unlink()

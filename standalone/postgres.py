"""PostgreSQL from a wheel, in a folder of ours.

Knows the server's binaries, ``initdb`` and one socket. Knows no table: migrations are the store's.

Who can reach the data: the server listens on a Unix socket in a folder of mode 0700, and its only role
needs a password (SCRAM) kept in a file of mode 0600. As root the server runs as ``nobody`` under a group
number that nobody else has, on copies of the binaries (a virtual environment may be unreadable for
others), so that another process of ``nobody`` can neither enter the folder nor attach to the server.
"""

import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

import psycopg

from standalone import leash
from standalone.errors import HomeUnusable, ServiceFailed
from standalone.home import write_secret
from standalone.leash import Account, Program
from standalone.postgres_account import account_for, give
from standalone.postgres_binaries import MAJOR, binaries
from standalone.sockets import SocketFolder

PORT = 5432  # part of the socket's name only: nothing listens on TCP
ROLE = DATABASE = "neftune"
_SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "cluster_name": "neftune",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %a ",
}


class EmbeddedPostgres:
    """A PostgreSQL of our own: ``start`` makes what is missing and answers the URL of the database."""

    name: ClassVar[str] = "postgres"

    def __init__(self, home: Path, settings: Mapping[str, str] | None = None) -> None:
        self._home = home.resolve()
        self._root = self._home / "postgres"
        self._data = self._root / "data"
        self._password_file = self._home / "secrets" / "postgres-password"
        self._settings = {**_SETTINGS, **(settings or {})}
        self._account: Account | None = None
        self._bin = Path()
        self._sockets = SocketFolder(self._root / "run", f".s.PGSQL.{PORT}.lock")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, timeout_s: float = 120) -> str:
        """Start the server, recovering from a crash if need be, and wait until it answers."""
        self._end()  # a dead process of an earlier start
        self._prepare_folders()
        self._bin = binaries(self._root, self._account)
        if self._data.exists():
            self._check_version()
        password = self._password()
        if not self._data.exists():
            self._create(password)
        self._end_predecessor()
        folder = self._sockets.open(self._account)
        options = {**self._settings, "unix_socket_directories": str(folder)}
        command: list[str | Path] = [self._bin / "postgres", "-D", self._data]
        command += [f"--{name}={value}" for name, value in options.items()]
        log = self._log_path()
        with log.open("ab") as sink:
            # SIGINT is the "fast" shutdown: clean, without waiting for clients.
            program = Program(command, _ENV, self._root, signal.SIGINT, self._account)
            self.process = leash.start(program, sink)
        url = self._url(folder, password)
        self._wait(url.replace("+psycopg", ""), timeout_s)
        return url

    def exists(self) -> bool:
        """Tell whether there is a database in this home."""
        return self._data.exists()

    def url_of_running(self) -> str:
        """Give the URL of the server that another process has started in this home."""
        return self._url(self._sockets.in_use(), self._password_file.read_text())

    def stop(self, hurry: Callable[[], bool] = leash.never) -> None:
        """Shut down cleanly: first politely, then firmly."""
        self._end(hurry)
        self._sockets.close()

    def _end(self, hurry: Callable[[], bool] = leash.never) -> None:
        process, self.process = self.process, None
        if process is not None:
            for sent in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
                process.send_signal(sent)
                if leash.wait(process, 30, hurry):
                    break
            process.wait()

    def _prepare_folders(self) -> None:
        self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self._password_file.parent, self._home / "logs", self._root):
            folder.mkdir(mode=0o700, exist_ok=True)
        self._account = account_for(self._home, self._root)

    def _password(self) -> str:
        """The role's password; a new one is also set in an existing database."""
        with suppress(FileNotFoundError):
            return self._password_file.read_text()
        password = secrets.token_urlsafe(24)
        if self._data.exists():
            self._end_predecessor()
            self._single_user(self._data, f"ALTER ROLE {ROLE} PASSWORD '{password}';\n")
        write_secret(self._password_file, password)
        return password

    def _create(self, password: str) -> None:
        """Make the cluster beside its place and move it there when it is complete."""
        draft = self._root / "data.new"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        give(draft, self._account)
        self._run("initdb", "-D", draft, "-U", "postgres", "-E", "UTF8", "--auth=reject", *_LOCALE)
        with (draft / "pg_hba.conf").open("w") as hba:
            hba.write(f"# Written by neftune: one role, by password.\nlocal all {ROLE} scram-sha-256\n")
            hba.flush()
            os.fsync(hba.fileno())
        # The superuser can't log in at all; single-user mode is the way in for the owner of the files.
        self._single_user(
            draft,
            f"CREATE ROLE {ROLE} LOGIN CREATEDB PASSWORD '{password}';\n"
            f"CREATE DATABASE {DATABASE} OWNER {ROLE};\n",
        )
        draft.rename(self._data)

    def _single_user(self, data: Path, sql: str) -> None:
        self._run("postgres", "--single", "-D", data, "-j", "postgres", sql=sql.replace(";\n", ";\n\n"))

    def _run(self, binary: str, *arguments: str | Path, sql: str = "") -> None:
        account = self._account
        done = subprocess.run(  # noqa: S603 - the server's own binaries, no shell
            [self._bin / binary, *arguments],
            input=sql.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(_ENV),
            cwd=self._root,
            check=False,
            umask=0o077,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
        # Single-user mode goes on after a failed statement and ends with 0.
        if done.returncode or b"ERROR:" in done.stdout:
            said = done.stdout.decode(errors="replace")[-2000:]
            raise ServiceFailed(f"{binary} failed in {self._root}:\n{said}")

    def _check_version(self) -> None:
        try:
            found = (self._data / "PG_VERSION").read_text().strip()
        except PermissionError as error:
            raise HomeUnusable(
                f"{self._data} belongs to another user. Run as that user, or choose another NEFTUNE_HOME."
            ) from error
        if found != MAJOR:
            raise HomeUnusable(
                f"{self._data} was made by PostgreSQL {found}, and this is {MAJOR}. Dump it with the old "
                "release, or choose another NEFTUNE_HOME."
            )

    def _end_predecessor(self) -> None:
        """Wait for a server that is still shutting down; forget one that died without a word.

        The number in ``postmaster.pid`` may by now belong to an innocent process, for which PostgreSQL
        would refuse to start: only a process that names this very folder counts.
        """
        note = self._data / "postmaster.pid"
        try:
            pid = int(note.read_text().split("\n", 1)[0])
        except (FileNotFoundError, ValueError):
            return
        patience = time.monotonic() + 20
        while _is_server_of(pid, self._data):
            if time.monotonic() > patience:
                os.kill(pid, signal.SIGQUIT)
                patience += 5
            time.sleep(0.05)
        note.unlink(missing_ok=True)

    def _wait(self, conninfo: str, timeout_s: float) -> None:
        end = time.monotonic() + timeout_s
        while self.process is not None and self.process.poll() is None and time.monotonic() < end:
            with suppress(psycopg.OperationalError):
                psycopg.connect(conninfo, connect_timeout=5).close()
                return
            time.sleep(0.03)
        self._end()
        last = self._log_path().read_text(errors="replace")[-1500:]
        raise ServiceFailed(f"PostgreSQL did not start; the end of {self._log_path()}:\n{last}")

    def _url(self, folder: Path, password: str) -> str:
        host = quote(str(folder), safe="")
        return f"postgresql+psycopg://{ROLE}:{quote(password)}@/{DATABASE}?host={host}&port={PORT}"

    def _log_path(self) -> Path:
        return self._home / "logs" / "postgres.log"


_ENV = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
_LOCALE = ("--no-locale", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions")


def _is_server_of(pid: int, data: Path) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return str(data).encode() in words

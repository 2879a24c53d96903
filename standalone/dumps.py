"""A database as one file, and back: `pg_dump` and `pg_restore` of the wheel.

The dump is one consistent moment of a database that may be in use. Loading it is one transaction.
"""

import os
import subprocess
from pathlib import Path

from sqlalchemy import make_url

from standalone.errors import ServiceFailed
from standalone.postgres_binaries import tool


def dump(url: str, file: Path) -> None:
    """Write the database to a file that appears whole, readable by us alone."""
    draft = file.with_name(f"{file.name}.new")
    os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
    _run("pg_dump", url, "--format=custom", "--no-owner", "--no-privileges", f"--file={draft}")
    opened = os.open(draft, os.O_RDONLY)
    os.fsync(opened)
    os.close(opened)
    draft.replace(file)


def load(url: str, file: Path) -> None:
    """Bring a dump into an empty database: all of it, or nothing."""
    _run("pg_restore", url, "--no-owner", "--no-privileges", "--single-transaction", str(file))


def _run(program: str, url: str, *arguments: str) -> None:
    """Run it on the database; the password is handed over where no list of processes shows it."""
    parts = make_url(url).set(drivername="postgresql")
    place = parts._replace(password=None).render_as_string()  # set() keeps what it is told to forget
    password = {"PGPASSWORD": parts.password} if parts.password else {}
    done = subprocess.run(  # noqa: S603 - the wheel's own program, no shell
        [tool(program), f"--dbname={place}", *arguments],
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "PGCONNECT_TIMEOUT": "5", **password},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()[-2000:]
        raise ServiceFailed(f"{program} failed:\n{said}")

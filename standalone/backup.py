"""`backup` and `restore`: all that matters of a home in a folder, and back into an empty home.

    database.dump    one consistent moment of the database
    blobs/           every object that the moment's rows name, and perhaps newer ones
    backup.json      written last: without it the backup is not whole

The database goes first: objects are named by their content and never change, so a copy that is newer than the
rows lacks nothing. A backup may be made while the service runs, and again into the same folder; only
new objects are copied then. Objects in a bucket are not copied: that is for the bucket's own tools.
"""

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

from rich.console import Console
from sqlalchemy import text

from neftune_store.blobs import Blobs
from neftune_store.db import make_engine, migrate, unit_of_work
from neftune_store.settings import StoreSettings
from standalone.dumps import dump, load
from standalone.errors import HomeBusy, HomeUnusable
from standalone.home import Home
from standalone.postgres import EmbeddedPostgres
from standalone.settings import StandaloneSettings
from worker.restored import restored

DUMP, BLOBS, NOTE = "database.dump", "blobs", "backup.json"
_PASSING = ".part"


def backup(settings: StandaloneSettings, folder: Path, console: Console) -> int:
    """Write a backup; the service may run meanwhile."""
    began = time.monotonic()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / NOTE).unlink(missing_ok=True)  # not whole until it says so again
    with _database(settings) as url:
        dump(url, folder / DUMP)
    told = {"made_at": datetime.now(UTC).isoformat(timespec="seconds"), "storage": "bucket"}
    if (blobs := _blobs(settings)) is not None:
        copied, size = _copy(blobs, folder / BLOBS)
        told["storage"] = "folder"
        console.print(f"{copied} new objects, {size / 1e6:.1f} MB", highlight=False)
    else:
        console.print("The bucket of STORAGE_URL is not part of this: copy it now, after the database.")
    (folder / NOTE).write_text(json.dumps(told) + "\n")
    console.print(f"Backup in {folder} after {time.monotonic() - began:.1f} s.", highlight=False)
    return 0


def restore(settings: StandaloneSettings, folder: Path, console: Console) -> int:
    """Fill an empty home from a backup and make it fit to run; 1 when storage lacks something."""
    began = time.monotonic()
    if not (folder / NOTE).is_file():
        raise HomeUnusable(f"No whole backup in {folder}: {NOTE} is missing.")
    with Home(settings.home()) as home, _server(settings, home) as url:
        _refuse_rows(url, home.path)
        blobs = _blobs(settings)
        if blobs is not None and (folder / BLOBS).is_dir():
            _copy(folder / BLOBS, blobs)
        load(url, folder / DUMP)
        migrate(url)
        engine = make_engine(url, pool_size=1, application_name="restored")
        try:
            unsound = restored(engine, Blobs.open(_store(settings, url)))
        finally:
            engine.dispose()
    for fault in unsound:
        console.print(f"{fault.named.what}: {fault.why} ({fault.named.key})", markup=False, highlight=False)
    console.print(f"Restored after {time.monotonic() - began:.1f} s.", highlight=False)
    return 1 if unsound else 0


@contextmanager
def _database(settings: StandaloneSettings) -> Iterator[str]:
    """Reach the database of a home, whether its service runs or not."""
    if settings.database_url:
        yield settings.database_url
        return
    server = EmbeddedPostgres(settings.home().expanduser().absolute())
    if not server.exists():
        raise HomeUnusable(f"There is no database in {settings.home()}: nothing to back up.")
    with ExitStack() as held:
        try:
            home = held.enter_context(Home(settings.home()))
        except HomeBusy:
            url = server.url_of_running()
        else:
            url = held.enter_context(_server(settings, home))
        yield url


@contextmanager
def _server(settings: StandaloneSettings, home: Home) -> Iterator[str]:
    if settings.database_url:
        yield settings.database_url
        return
    server = EmbeddedPostgres(home.path)
    try:
        yield server.start()
    finally:
        server.stop()


def _refuse_rows(url: str, home: Path) -> None:
    engine = make_engine(url, pool_size=1, application_name="restored")
    try:
        with unit_of_work(engine) as session:
            there = session.scalar(text("SELECT to_regclass('public.projects')"))
    finally:
        engine.dispose()
    if there is not None:
        raise HomeUnusable(f"The database of {home} is not empty: set NEFTUNE_HOME to a new folder.")


def _blobs(settings: StandaloneSettings) -> Path | None:
    """Find the folder of the objects; none when they lie in a bucket."""
    if settings.storage_url is None:
        return settings.home().expanduser().absolute() / "blobs"
    url = urlsplit(settings.storage_url)
    return Path(unquote(url.path)) if url.scheme == "file" else None


def _store(settings: StandaloneSettings, url: str) -> StoreSettings:
    blobs = _blobs(settings)
    storage = settings.storage_url if blobs is None else blobs.as_uri()
    return StoreSettings(database_url=url, storage_url=str(storage))


def _copy(source: Path, target: Path) -> tuple[int, int]:
    """Copy the objects that are not there yet, each whole or not at all; tell how many, and their bytes."""
    copied = size = 0
    for path in sorted((source / "projects").rglob("*")):
        to = target / path.relative_to(source)
        if not path.is_file() or "#" in path.name or path.name.endswith(_PASSING):
            continue
        with suppress(FileNotFoundError):  # collected meanwhile: no row names it
            if to.is_file() and to.stat().st_size == path.stat().st_size:
                continue
            to.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            passing = to.with_name(to.name + _PASSING)
            shutil.copyfile(path, passing)
            _make_durable(passing)
            passing.replace(to)
            copied, size = copied + 1, size + to.stat().st_size
    return copied, size


def _make_durable(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)

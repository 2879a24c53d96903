"""A run's checkpoints on their way to storage and back.

Going out: the runner announces a folder; a thread stores its files by their content and then commits the
row that makes the place one to go on from. Training does not wait for it, and a storage that is away is
asked again: meanwhile two wait, on disk, under names of ours, for the runner drops its own. What is on its
way is never given up for a newer one: a runner that saves faster than we store would have nothing stored.
Coming back: the furthest checkpoint whose bytes are still the committed ones is laid out for the next run.
"""

import hashlib
import os
import shutil
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from neftune_core.failpoint import failpoint
from neftune_core.messages import Checkpoint as Announced
from neftune_store.blobs import Blobs
from neftune_store.checkpoints import Checkpoint, CheckpointFile
from neftune_store.db import is_unavailable
from neftune_store.errors import BlobCorrupt, BlobNotFound, LeaseLost, StorageUnavailable
from worker.archive import files_under, result_path
from worker.errors import ResultRefused
from worker.inputs import Check

FOLDER = "checkpoints"  # of the runner, under its output folder
WAITING = 2
RETRY_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0)

Store = Callable[[Path], CheckpointFile]
Commit = Callable[[int, Sequence[CheckpointFile]], None]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint that waits for its way to storage."""

    step: int
    folder: Path


class Uploader:
    """A thread that stores what the runner has saved, in order, and commits it."""

    def __init__(self, out: Path, aside: Path, store: Store, commit: Commit) -> None:
        self.lost = False
        self.broken = False
        self._out, self._aside = out, aside
        self._store, self._commit = store, commit
        self._waiting: deque[Saved] = deque()
        self._on_its_way: Saved | None = None
        self._changed = threading.Condition()
        self._last = False  # nothing more will come
        self._given_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
        self._thread.start()

    def offer(self, said: Announced) -> None:
        """Take what the runner announced; it may drop its own names at once."""
        try:
            saved = Saved(said.step, self._set_aside(said))
        except (OSError, ResultRefused) as fault:  # gone already, or nothing that we store
            log.warning("checkpoint.not_taken", step=said.step, reason=str(fault))
            return
        with self._changed:
            while len(self._waiting) >= WAITING:
                oldest = next(one for one in self._waiting if one is not self._on_its_way)
                log.info("checkpoint.skipped", step=oldest.step)
                self._forget(oldest)
            self._waiting.append(saved)
            self._changed.notify()

    def last_call(self) -> None:
        """Say that no more will be offered."""
        with self._changed:
            self._last = True
            self._changed.notify()

    def done(self, patience: float) -> bool:
        """Wait until all is stored and committed; False while it is still trying."""
        self._thread.join(patience)
        return not self._thread.is_alive()

    def give_up(self) -> None:
        """Try no longer; a commit under way is waited for no more than its transaction lasts."""
        self._given_up.set()
        self.last_call()

    def _run(self) -> None:
        tries = 0
        try:
            while (saved := self._next()) is not None and not self._given_up.is_set():
                try:
                    self._bring(saved)
                except Exception as fault:
                    if not (isinstance(fault, StorageUnavailable) or is_unavailable(fault)):
                        raise
                    log.warning("checkpoint.delayed", step=saved.step, reason=type(fault).__name__)
                    self._rest()
                    self._given_up.wait(RETRY_SECONDS[min(tries, len(RETRY_SECONDS) - 1)])
                    tries += 1
                else:
                    tries = 0
        except LeaseLost:
            self.lost = True
        except Exception:
            log.exception("checkpoint.failed")
            self.broken = True

    def _next(self) -> Saved | None:
        with self._changed:
            while not self._waiting and not self._last:
                self._changed.wait()
            self._on_its_way = self._waiting[0] if self._waiting else None
            return self._on_its_way

    def _rest(self) -> None:
        """Have nothing on its way: what comes meanwhile may push out the oldest."""
        with self._changed:
            self._on_its_way = None

    def _bring(self, saved: Saved) -> None:
        """Store one and commit it."""
        files = []
        try:
            for name in files_under(saved.folder):
                if self._given_up.is_set():
                    return
                stored = self._store(saved.folder / name)
                files.append(CheckpointFile(name.as_posix(), stored.sha256, stored.bytes, stored.blob_key))
        except (FileNotFoundError, ResultRefused) as fault:
            log.warning("checkpoint.not_taken", step=saved.step, reason=str(fault))
        else:
            failpoint("checkpoint.uploaded")
            self._commit(saved.step, files)
            failpoint("checkpoint.committed")
        with self._changed:
            self._forget(saved)

    def _forget(self, saved: Saved) -> None:
        with suppress(ValueError):
            self._waiting.remove(saved)
        shutil.rmtree(saved.folder, ignore_errors=True)

    def _set_aside(self, said: Announced) -> Path:
        """Give the folder's files second names on the same disk."""
        source, target = result_path(self._out, said.path), self._aside / f"{said.step:08d}"
        shutil.rmtree(target, ignore_errors=True)
        for name in files_under(source):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            os.link(source / name, target / name, follow_symlinks=False)
        return target


def restore(
    checkpoints: Sequence[Checkpoint],
    out: Path,
    blobs: Blobs,
    check: Check,
    pass_over: Callable[[Checkpoint], None],
) -> Checkpoint | None:
    """Lay out the furthest checkpoint that is whole; ``pass_over`` hears of each that is not.

    Raises :class:`StorageUnavailable` when storage cannot say.
    """
    for checkpoint in checkpoints:
        folder = out / FOLDER / f"step-{checkpoint.step:08d}"
        try:
            for file in checkpoint.files:
                fetch_file(file, folder / file.name, blobs, check)
        except (BlobNotFound, Damaged):
            shutil.rmtree(folder, ignore_errors=True)
            log.warning("checkpoint.corrupt", step=checkpoint.step)
            pass_over(checkpoint)
        else:
            return checkpoint
    return None


class Damaged(Exception):
    """The stored bytes are not the committed ones."""


def fetch_file(file: CheckpointFile, target: Path, blobs: Blobs, check: Check) -> None:
    """Copy one file; what comes otherwise is asked for a second time, lest the way was at fault."""
    target.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(2):
        try:
            whole = _copy(file, target, blobs, check) == (file.sha256, file.bytes)
        except BlobCorrupt:  # it broke off: on the way, or there is no more of it
            if blobs.head(file.blob_key).bytes == file.bytes:
                raise
            whole = False
        if whole:
            return
    raise Damaged


def _copy(file: CheckpointFile, target: Path, blobs: Blobs, check: Check) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    with target.open("wb") as kept:
        for block in blobs.stream(file.blob_key):
            check()
            digest.update(block)
            size += kept.write(block)
    return digest.hexdigest(), size

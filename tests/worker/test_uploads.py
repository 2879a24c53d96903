"""Checkpoints on their way and back, without any storage: what is brought, let go, and passed over."""

import hashlib
import queue
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from neftune_core.messages import Checkpoint, Metric
from neftune_store.blobs import BlobInfo
from neftune_store.checkpoints import Checkpoint as Saved
from neftune_store.checkpoints import CheckpointFile
from neftune_store.errors import (
    BlobCorrupt,
    BlobNotFound,
    DatabaseUnavailable,
    LeaseLost,
    StorageUnavailable,
)
from tests.worker_house import until
from worker import checkpoints
from worker.checkpoints import Uploader, restore
from worker.reporter import Reporter

PARTS = ("optimizer", "state", "weights")


class Shop:
    """A runner that saves, and a storage that takes a file each time it is told to."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.doors = threading.Semaphore(0)
        self.fault: Exception | None = None
        self.asked = 0
        self.refuses: Exception | None = None
        self.committed: list[int] = []
        self.uploader = Uploader(root / "out", root / "saved", self._store, self._commit)

    def save(self, step: int) -> None:
        """Save and announce it, as the runner would."""
        folder = self.root / "out" / f"step-{step}"
        folder.mkdir(parents=True)
        for name in PARTS:
            (folder / name).write_text(f"{step} {name}")
        self.uploader.offer(Checkpoint(step, folder.name))

    def waiting(self) -> list[int]:
        """List the steps that lie on disk."""
        return sorted(int(path.name) for path in (self.root / "saved").iterdir())

    def _store(self, path: Path) -> CheckpointFile:
        self.asked += 1
        assert self.doors.acquire(timeout=10)
        if self.fault is not None:
            raise self.fault
        return CheckpointFile(path.name, "0" * 64, path.stat().st_size, path.read_text())

    def _commit(self, step: int, files: Sequence[CheckpointFile]) -> None:
        if self.refuses is not None:
            raise self.refuses
        assert [file.blob_key for file in files] == [f"{step} {name}" for name in PARTS]
        self.committed.append(step)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setattr(checkpoints, "RETRY_SECONDS", (0.2,))
    return Shop(tmp_path)


def test_a_runner_that_saves_faster_than_storage_takes_loses_what_is_between(shop: Shop) -> None:
    # Given one that saves again whenever one file of a checkpoint has been stored
    for step in range(1, 10):
        shop.save(step)
        shop.doors.release()
        until(lambda step=step: shop.asked == step + 1, 5)
    # Then what had begun was brought to its end, each time
    assert (shop.committed, shop.waiting()) == ([1, 3, 6], [9])
    shop.doors.release(3)
    shop.uploader.last_call()
    assert shop.uploader.done(5)
    assert (shop.committed, shop.waiting()) == ([1, 3, 6, 9], [])


def test_while_storage_is_away_the_newest_wait(shop: Shop) -> None:
    shop.fault = StorageUnavailable()
    for step in range(1, 6):
        shop.save(step)
        tries = shop.asked
        shop.doors.release()
        until(lambda tries=tries: shop.asked > tries, 5)
    assert len(shop.waiting()) == 2
    assert shop.waiting()[-1] == 5
    shop.fault = None
    shop.doors.release(6)
    shop.uploader.last_call()
    assert shop.uploader.done(5)
    assert shop.committed[-1] == 5


@pytest.mark.parametrize("away", [StorageUnavailable(), DatabaseUnavailable()])
def test_a_commit_that_finds_nobody_is_made_again(shop: Shop, away: Exception) -> None:
    shop.refuses = away
    shop.save(7)
    shop.doors.release(3)
    until(lambda: shop.asked == 4, 5)
    shop.refuses = None
    shop.doors.release(3)
    shop.uploader.last_call()
    assert shop.uploader.done(5)
    assert (shop.committed, shop.uploader.broken, shop.uploader.lost) == ([7], False, False)


def test_a_commit_that_is_refused_for_its_fence_says_that_the_job_is_lost(shop: Shop) -> None:
    shop.refuses = LeaseLost()
    shop.save(7)
    shop.doors.release(3)
    assert shop.uploader.done(5)
    assert (shop.uploader.lost, shop.uploader.broken) == (True, False)


def test_what_was_given_up_is_not_committed(shop: Shop) -> None:
    shop.save(7)
    until(lambda: shop.asked == 1, 5)
    shop.uploader.give_up()
    shop.doors.release(3)
    assert shop.uploader.done(5)
    assert shop.committed == []


def test_a_checkpoint_whose_steps_could_not_be_written_is_not_offered() -> None:
    # Given a database that is away
    messages: queue.Queue[object] = queue.Queue()
    tried, offered = threading.Event(), []

    def write(_batch: object) -> None:
        tried.set()
        raise DatabaseUnavailable

    inbox = SimpleNamespace(messages=messages, median_step_seconds=lambda: 0.0)
    reporter = Reporter(inbox, write, offered.append)
    messages.put(Metric(5, {"train_loss": 1.0}))
    messages.put(Checkpoint(5, "step-5"))
    assert tried.wait(5)
    # When the run is given up before it is back, then nobody may go on from a step that was never told
    reporter.give_up()
    assert reporter.done(5)
    assert offered == []


class Shelves:
    """A storage that gives what the next entry says: bytes, or a fault after the first half of them."""

    def __init__(self, **given: list[bytes | Exception]) -> None:
        self.given = given

    def stream(self, key: str) -> Iterator[bytes]:
        answer = self.given[key].pop(0)
        if isinstance(answer, bytes):
            return iter([answer])
        if isinstance(answer, BlobNotFound):
            raise answer
        return self._broken_off(answer)

    def head(self, key: str) -> BlobInfo:
        return BlobInfo(key, len(WHOLE), datetime.now(UTC))

    def _broken_off(self, fault: Exception) -> Iterator[bytes]:
        yield WHOLE[:3]
        raise fault


WHOLE, OTHER = b"weights", b"weightz"


def saved(step: int) -> Saved:
    sha256 = hashlib.sha256(WHOLE).hexdigest()
    return Saved(f"ckpt_{step}", step, (CheckpointFile("w", sha256, len(WHOLE), f"of_{step}"),))


def restored(out: Path, shelves: Shelves) -> tuple[int | None, list[int]]:
    """Lay out 9 or else 5; give the step, and the steps that were passed over."""
    passed: list[int] = []
    found = restore([saved(9), saved(5)], out, shelves, lambda: None, lambda one: passed.append(one.step))
    folders = [path.name for path in (out / "checkpoints").iterdir()]
    assert folders == ([] if found is None else [f"step-{found.step:08d}"])
    if found is not None:
        assert (out / "checkpoints" / folders[0] / "w").read_bytes() == WHOLE
    return None if found is None else found.step, passed


@pytest.mark.parametrize(
    ("nine", "outcome"),
    [
        ([WHOLE], (9, [])),
        ([OTHER, WHOLE], (9, [])),  # it was the way that was at fault
        ([BlobCorrupt(), WHOLE], "raised"),
        ([OTHER, OTHER], (5, [9])),
        ([BlobNotFound()], (5, [9])),
    ],
)
def test_what_is_damaged_is_asked_for_again_and_then_passed_over(
    tmp_path: Path, nine: list[bytes | Exception], outcome: object
) -> None:
    shelves = Shelves(of_9=nine, of_5=[WHOLE])
    if outcome == "raised":  # all of it is there, so this says nothing about the checkpoint
        with pytest.raises(StorageUnavailable):
            restored(tmp_path, shelves)
    else:
        assert restored(tmp_path, shelves) == outcome


def test_with_nothing_whole_there_is_no_place_to_go_on_from(tmp_path: Path) -> None:
    shelves = Shelves(of_9=[BlobNotFound()], of_5=[OTHER, OTHER])
    assert restored(tmp_path, shelves) == (None, [9, 5])

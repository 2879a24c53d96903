"""A worker whose wall clock is an hour off and jumps about: nothing that decides looks at it."""

from pathlib import Path

import pytest

from tests.worker_house import House, house, quiet_redis

__all__ = ["house", "quiet_redis"]

PATIENCE = 30.0
# Python runs this before anything else in each process that finds it on its path.
BROKEN_CLOCK = """
import datetime, time
from pathlib import Path

_real, _real_ns = time.time, time.time_ns


def _offset():
    try:
        return float(Path({offset!r}).read_text() or 0)
    except (OSError, ValueError):
        return 0.0


time.time = lambda: _real() + _offset()
time.time_ns = lambda: _real_ns() + int(_offset() * 1e9)


class datetime_(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(time.time(), tz)

    @classmethod
    def utcnow(cls):
        return cls.utcfromtimestamp(time.time())


datetime.datetime = datetime_
Path({seen!r}).touch()
"""


@pytest.mark.fault("F36")
@pytest.mark.parametrize("hours", [-1, pytest.param(1, marks=pytest.mark.long)])
def test_a_clock_that_is_wrong_and_jumps_decides_nothing(house: House, tmp_path: Path, hours: int) -> None:
    # Given a worker, and a reconciler, whose clock is an hour off
    site, offset, seen = tmp_path / "site", tmp_path / "offset", tmp_path / "seen"
    site.mkdir()
    offset.write_text(str(3600 * hours))
    (site / "sitecustomize.py").write_text(BROKEN_CLOCK.format(offset=str(offset), seen=str(seen)))
    house.start(PYTHONPATH=str(site))
    house.start("worker.reconcile", PYTHONPATH=str(site))
    # When it jumps to and fro while a job runs for longer than its lease
    job = house.submit("steps=60 sleep=0.05")
    for step, jump in ((5, -hours), (20, 3 * hours), (40, 0)):
        house.wait_for_step(job, step, PATIENCE)
        offset.write_text(str(3600 * jump))
    # Then nobody takes that for a lost lease, a stall or a limit
    done = house.wait(job, "succeeded", "failed", seconds=PATIENCE)
    assert seen.exists()
    assert (done.status, done.attempt) == ("succeeded", 1), house.logs()[-4000:]
    assert house.steps(job) == list(range(61))
    assert "run.lost" not in house.events(job)
    # Nor are its times the worker's
    assert abs((done.finished_at - done.created_at).total_seconds()) < PATIENCE + 10

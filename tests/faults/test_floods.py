"""Runners that say too much: what is kept is bounded, the pipe slows them down, the lease is kept."""

import pytest

from neftune_core.messages import MAX_LINE_BYTES
from tests.worker_house import House, busy_house, quiet_redis
from worker.logs import LINE_CHARS, TAIL_LINES

__all__ = ["busy_house", "quiet_redis"]

PATIENCE = 60.0
KEPT = 200_000  # MAX_LOG_BYTES of the house
MIB = 1 << 20


def memory(house: House) -> int:
    """Give what the supervisor holds."""
    return house.pool_child(house.processes[0]).memory_info().rss


@pytest.mark.fault("F46")
@pytest.mark.parametrize("toy", ["log=400", "bareline=100"], ids=["lines", "one line"])
def test_a_flooded_log_is_cut_and_drained_while_the_lease_is_kept(busy_house: House, toy: str) -> None:
    busy_house.wait(busy_house.submit("steps=1"), "succeeded")
    before = memory(busy_house)
    job = busy_house.submit(f"steps=20 sleep=0.05 {toy}")
    done = busy_house.wait(job, "succeeded", "failed", seconds=PATIENCE)
    assert (done.status, done.attempt) == ("succeeded", 1)
    kept = busy_house.artifacts(job)["log"]
    assert KEPT <= kept.bytes <= KEPT + 100
    assert len(busy_house.log_tail(job)) <= TAIL_LINES * (LINE_CHARS + 10)
    assert memory(busy_house) - before < 40 * MIB


@pytest.mark.fault("F46")
def test_a_report_line_of_ten_megabytes_is_refused_and_the_run_goes_on(busy_house: House) -> None:
    before = memory(busy_house)
    job = busy_house.submit(f"steps=3 longline={10 * MIB}")
    done = busy_house.wait(job, "succeeded", "failed", seconds=PATIENCE)
    assert (done.status, done.attempt) == ("succeeded", 1)
    assert "run.long" not in busy_house.events(job)
    assert f"longer than {MAX_LINE_BYTES} bytes" in busy_house.log_tail(job)
    assert memory(busy_house) - before < 40 * MIB


@pytest.mark.fault("F46")
def test_a_flood_of_metrics_waits_in_the_pipe_and_each_is_kept_once(busy_house: House) -> None:
    # Given a runner that reports twenty thousand steps as fast as it can
    before = memory(busy_house)
    job = busy_house.submit("steps=20000 sleep=0")
    # Then they wait for the database in the pipe, and the heartbeat does not wait for them
    done = busy_house.wait(job, "succeeded", "failed", seconds=PATIENCE)
    assert (done.status, done.attempt) == ("succeeded", 1)
    assert busy_house.steps(job) == list(range(20_001))
    assert memory(busy_house) - before < 60 * MIB

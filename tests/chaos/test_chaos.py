"""A storm: nothing lost, nothing doubled, no gap, no wrong byte, no orphan."""

from pathlib import Path

import pytest

from tests.chaos.plan import plan
from tests.chaos.run import Asked, weather
from tests.chaos.storm import gathering

SEED = 20_261_121
JOBS_A_SECOND = 1.8


@pytest.mark.parametrize("seconds", [20.0, pytest.param(62.0, marks=pytest.mark.long)])
def test_a_storm_breaks_no_promise(tmp_path: Path, seconds: float) -> None:
    with gathering(tmp_path) as storm:
        verdict = weather(storm, Asked(SEED, seconds, round(seconds * JOBS_A_SECOND)))
    told, minutes = verdict.told(), seconds / 62
    assert not verdict.wrong, f"{told}\nmake chaos SEED={SEED} ARGS=--seconds={seconds}"
    assert verdict.seconds >= seconds * 0.95, told
    assert verdict.jobs >= 100 * minutes, told
    assert verdict.kills >= 25 * minutes, told
    assert verdict.faults["freeze"] >= 15 * minutes, told
    assert verdict.faults["crash_postgres"] >= int(4 * minutes), told
    assert verdict.faults["flush_redis"] + verdict.faults["kill_redis"] >= 20 * minutes, told
    assert min(verdict.asked["cancel ok"], verdict.asked["pause ok"]) > 0, told
    assert verdict.ended["succeeded"] >= 80 * minutes, told


def test_a_seed_is_a_storm() -> None:
    assert plan(7, 60, 10) == plan(7, 60, 10) != plan(8, 60, 10)

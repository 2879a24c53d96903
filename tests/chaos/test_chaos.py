"""A storm of a minute: nothing lost, nothing doubled, no gap, no wrong byte, no orphan."""

from pathlib import Path

from tests.chaos.plan import plan
from tests.chaos.run import Asked, weather
from tests.chaos.storm import gathering

SEED, SECONDS, JOBS = 20_261_121, 62.0, 110


def test_a_minute_of_chaos_breaks_no_promise(tmp_path: Path) -> None:
    with gathering(tmp_path) as storm:
        verdict = weather(storm, Asked(SEED, SECONDS, JOBS))
    told = verdict.told()
    assert not verdict.wrong, f"{told}\nmake chaos SEED={SEED}"
    assert verdict.seconds >= 60, told
    assert verdict.jobs >= 100, told
    assert verdict.kills >= 25, told
    assert verdict.faults["freeze"] >= 15, told
    assert verdict.faults["crash_postgres"] >= 4, told
    assert verdict.faults["flush_redis"] + verdict.faults["kill_redis"] >= 20, told
    assert min(verdict.asked["cancel ok"], verdict.asked["pause ok"]) > 0, told
    assert verdict.ended["succeeded"] >= 80, told


def test_a_seed_is_a_storm() -> None:
    assert plan(7, 60, 10) == plan(7, 60, 10) != plan(8, 60, 10)

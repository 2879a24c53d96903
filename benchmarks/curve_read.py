"""What a long curve costs: writing it with its spans, and reading it from spans and, as the peer, from rows.

    python benchmarks/curve_read.py --steps 100000 --rounds 30

Prints one JSON line. Of one reading of 500 and 1,000 points, one key and all ten: milliseconds from spans
and from rows, asked of the store in turns (ours five times in each), and asked of the real api over HTTP,
with the CPU milliseconds of its process (median and 99th percentile; CPU: mean). Each answer holds the
curve's smallest and largest value. Microseconds a step of writing in batches of 100: with and without spans,
in turns.
"""

import argparse
import json
import math
import random
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from unittest import mock

from sqlalchemy import Engine, text

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.served import Served, cpu_seconds, served
from neftune_store import metrics, runs
from neftune_store.claims import Claim
from neftune_store.db import unit_of_work
from tests.factories import make_claim, make_job

KEYS = (
    *("train_loss", "lr", "grad_norm", "tokens_per_s", "noise_ratio", "clean_train_loss", "memory", "epoch"),
    *("eval_loss", "noise_max"),
)
BATCH = 100
IN_A_TURN = 5  # the peer reads a hundred megabytes, and whoever comes next finds none of its own in any cache
Values = Mapping[str, float]


def main() -> None:
    """Write two curves, read one of them in three ways."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=30)
    given = parser.parse_args()
    with served() as api:
        make_job(api.engine, project_id=api.project_id)
        claim = make_claim(api.engine, lease_seconds=3600)
        make_job(api.engine)
        bare = make_claim(api.engine, lease_seconds=3600)
        steps = _steps(given.steps)
        written = _written(api.engine, claim, bare, steps)
        with api.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as line:
            line.execute(text("VACUUM ANALYZE"))
        told = {"us_per_step_written": written, "read": _read(api, claim, steps, given.rounds)}
    sys.stdout.write(json.dumps({"benchmark": "curve_read", "steps": given.steps, **told}) + "\n")


def _steps(count: int) -> list[Values]:
    chance = random.Random(1)
    return [{key: chance.random() for key in KEYS} for _ in range(count)]


def _written(engine: Engine, claim: Claim, bare: Claim, steps: list[Values]) -> Mapping[str, float]:
    took = {"spans": 0.0, "rows": 0.0}
    for start in range(0, len(steps), BATCH):
        rows = list(enumerate(steps[start : start + BATCH], start))
        for arm, whose in (("spans", claim), ("rows", bare)):
            began = time.perf_counter()
            with ExitStack() as held:
                if arm == "rows":
                    held.enter_context(mock.patch.object(runs, "extend", return_value=0))
                session = held.enter_context(unit_of_work(engine))
                runs.write_metrics(session, whose, rows)
            took[arm] += time.perf_counter() - began
    return {arm: round(1e6 * seconds / len(steps), 1) for arm, seconds in took.items()}


def _read(api: Served, claim: Claim, steps: list[Values], rounds: int) -> Mapping[str, object]:
    """Let the arms take turns."""
    client = api.client()
    cpu: dict[str, float] = {}

    def store(keys: list[str], most: int, *, rows: bool) -> object:
        with ExitStack() as held:
            if rows:
                held.enter_context(mock.patch.object(metrics, "cut_of", return_value=None))
            session = held.enter_context(unit_of_work(api.engine))
            return metrics.series(session, claim.project_id, claim.job_id, keys, 0, most)

    def http(keys: list[str], most: int) -> object:
        asked = {"keys": ",".join(keys), "max_points": str(most)}
        answer = client.get(f"/jobs/{claim.job_id}/metrics", params=asked)
        return answer.raise_for_status().content

    arms: dict[str, tuple[Callable[[], object], list[str]]] = {}
    for name, keys in (("one_key", ["train_loss"]), ("ten_keys", list(KEYS))):
        for most in (500, 1000):
            arms[f"{name}_{most}_http"] = partial(http, keys, most), keys
            arms[f"{name}_{most}_spans"] = partial(store, keys, most, rows=False), keys
        arms[f"{name}_1000_rows"] = partial(store, keys, 1000, rows=True), keys
    took: dict[str, list[float]] = {arm: [] for arm in arms}
    for turn in range(rounds + 1):
        for arm, (once, keys) in arms.items():
            if not turn:  # the first round warms up
                _keeps_the_ends(once(), steps, keys, 500 if "_500_" in arm else 1000)
                continue
            used = cpu_seconds(api.child)
            for _ in range(1 if arm.endswith("rows") else IN_A_TURN):
                began = time.perf_counter()
                once()
                took[arm].append(1000 * (time.perf_counter() - began))
            cpu[arm] = cpu.get(arm, 0) + 1000 * (cpu_seconds(api.child) - used)
    return {
        arm: [*_spread(found), *([round(cpu[arm] / len(found), 2)] * arm.endswith("http"))]
        for arm, found in took.items()
    }


def _keeps_the_ends(found: object, steps: list[Values], keys: list[str], most: int) -> None:
    curves = json.loads(found)["series"] if isinstance(found, bytes) else found
    assert isinstance(curves, dict)
    for key in keys:
        values = [value for _, value in curves[key]]
        assert len(values) <= most
        assert (min(values), max(values)) == (min(s[key] for s in steps), max(s[key] for s in steps))


def _spread(found: list[float]) -> list[float]:
    return [round(statistics.median(found), 2), round(sorted(found)[math.ceil(0.99 * len(found)) - 1], 2)]


if __name__ == "__main__":
    main()

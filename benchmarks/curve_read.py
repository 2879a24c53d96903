"""What a long curve costs: writing it with its spans, and reading it from spans and, as the peer, from rows.

    python benchmarks/curve_read.py --steps 100000 --rounds 30

Prints one JSON line: milliseconds of one reading of 1,000 points, median and 99th percentile, of one key and
of all eight, and microseconds a step of writing in batches of 100, with and without spans, in turns.
"""

import argparse
import json
import math
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

from sqlalchemy import Engine, text

sys.path.insert(0, str(Path(__file__).parents[1]))

from neftune_store import metrics, runs
from neftune_store.claims import Claim
from neftune_store.db import make_engine, migrate, unit_of_work
from standalone.postgres import EmbeddedPostgres
from tests.conftest import create_database, database_named
from tests.factories import make_claim, make_job

KEYS = ("train_loss", "lr", "grad_norm", "tokens_per_s", "noise_ratio", "clean_train_loss", "memory", "epoch")
BATCH = 100


def main() -> None:
    """Write two curves, read one of them in two ways."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=30)
    given = parser.parse_args()
    with ExitStack() as held:
        servers = Path(tempfile.mkdtemp(prefix="neftune-curve-"))
        held.callback(shutil.rmtree, servers, ignore_errors=True)
        postgres = EmbeddedPostgres(servers)
        held.callback(postgres.stop)
        url = postgres.start()
        create_database(url, "curve")
        migrate(database_named(url, "curve"))
        engine = make_engine(database_named(url, "curve"))
        held.callback(engine.dispose)
        make_job(engine)
        claim = make_claim(engine, lease_seconds=3600)
        make_job(engine)
        bare = make_claim(engine, lease_seconds=3600)
        written = _written(engine, claim, bare, given.steps)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as line:
            line.execute(text("VACUUM ANALYZE"))
        told = {"steps": given.steps, "us_per_step_written": written, **_read(engine, claim, given.rounds)}
    sys.stdout.write(json.dumps(told) + "\n")


def _written(engine: Engine, claim: Claim, bare: Claim, steps: int) -> Mapping[str, float]:
    chance = random.Random(1)
    took = {"spans": 0.0, "rows": 0.0}
    for start in range(0, steps, BATCH):
        rows = [(step, {key: chance.random() for key in KEYS}) for step in range(start, start + BATCH)]
        for arm, whose in (("spans", claim), ("rows", bare)):
            began = time.perf_counter()
            with ExitStack() as held:
                if arm == "rows":
                    held.enter_context(mock.patch.object(runs, "extend", return_value=0))
                session = held.enter_context(unit_of_work(engine))
                runs.write_metrics(session, whose, rows)
            took[arm] += time.perf_counter() - began
    return {arm: round(1e6 * seconds / steps, 1) for arm, seconds in took.items()}


def _read(engine: Engine, claim: Claim, rounds: int) -> Mapping[str, Mapping[str, list[float]]]:
    def by(keys: list[str] | None, *, rows: bool) -> Callable[[], None]:
        def once() -> None:
            with ExitStack() as held:
                if rows:
                    held.enter_context(mock.patch.object(metrics, "cut_of", return_value=None))
                session = held.enter_context(unit_of_work(engine))
                found = metrics.series(session, claim.project_id, claim.job_id, keys)
            assert all(len(curve) <= 1000 for curve in found.values())

        return once

    arms = {
        (what, how): by(keys, rows=how == "rows")
        for what, keys in (("one_key", ["train_loss"]), ("all_keys", None))
        for how in ("spans", "rows")
    }
    took: dict[tuple[str, str], list[float]] = {arm: [] for arm in arms}
    for _ in range(rounds):
        for arm, once in arms.items():
            began = time.perf_counter()
            once()
            took[arm].append(1000 * (time.perf_counter() - began))
    return {
        f"ms_{what}": {
            how: [
                round(statistics.median(found), 2),
                round(sorted(found)[math.ceil(0.99 * len(found)) - 1], 2),
            ]
            for (arm, how), found in took.items()
            if arm == what
        }
        for what in ("one_key", "all_keys")
    }


if __name__ == "__main__":
    main()

"""What a deep queue costs: submits, claims and the first page of a list, with few jobs and with many.

    python benchmarks/queue_depth.py --deep 10000 --rounds 300

Prints one JSON line: median and 99th percentile in milliseconds at a queue of 100 and of ``--deep`` jobs of
20 projects, and the ratio of the medians. The store is asked directly, each time in a new transaction.
"""

import argparse
import json
import secrets
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from sqlalchemy import Engine, text

sys.path.insert(0, str(Path(__file__).parents[1]))

from neftune_store.claims import claim_next
from neftune_store.datasets import Dataset
from neftune_store.db import make_engine, migrate, unit_of_work
from neftune_store.jobs import JobLedger
from neftune_store.settling import give_back
from standalone.postgres import EmbeddedPostgres
from tests.conftest import create_database, database_named
from tests.factories import make_dataset, make_job, make_spec

PROJECTS = 20
SHALLOW = 100


def main() -> None:
    """Measure both depths."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--deep", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=300)
    given = parser.parse_args()
    with ExitStack() as held:
        servers = Path(tempfile.mkdtemp(prefix="neftune-queue-"))
        held.callback(shutil.rmtree, servers, ignore_errors=True)
        postgres = EmbeddedPostgres(servers)
        held.callback(postgres.stop)
        url = postgres.start()
        name = f"queue_{secrets.token_hex(4)}"
        create_database(url, name)
        migrate(database_named(url, name))
        engine = make_engine(database_named(url, name))
        held.callback(engine.dispose)
        datasets = [make_dataset(engine) for _ in range(PROJECTS)]
        told = {}
        for depth in (SHALLOW, given.deep):
            _fill(engine, datasets, depth)
            told[str(depth)] = _measured(engine, datasets, given.rounds)
    shallow, deep = told.values()
    ratios = {what: round(deep[what]["median_ms"] / shallow[what]["median_ms"], 2) for what in deep}
    sys.stdout.write(json.dumps({"rounds": given.rounds, **told, "ratio": ratios}) + "\n")


def _fill(engine: Engine, datasets: list[Dataset], depth: int) -> None:
    """Bring the queue to this depth."""
    with engine.connect() as connection:
        found = connection.execute(text("SELECT count(*) FROM jobs WHERE status = 'queued'")).scalar_one()
    for number in range(depth - found):
        make_job(engine, dataset=datasets[number % len(datasets)])
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))


def _measured(engine: Engine, datasets: list[Dataset], rounds: int) -> dict[str, dict[str, float]]:
    def submit(turn: int) -> None:
        dataset = datasets[turn % len(datasets)]
        with unit_of_work(engine) as session:
            JobLedger(session, queue_limit=1_000_000).submit(dataset.project_id, make_spec(dataset.id))

    def claim(_turn: int) -> None:
        with unit_of_work(engine) as session:
            claimed.append(claim_next(session, "bench", 60))

    def first_page(turn: int) -> None:
        with unit_of_work(engine) as session:
            JobLedger(session).list(datasets[turn % len(datasets)].project_id)

    claimed: list = []
    told = {"submit": _timed(submit, rounds), "first_page": _timed(first_page, rounds)}
    seconds = []
    for turn in range(rounds):
        began = time.perf_counter()
        claim(turn)
        seconds.append(time.perf_counter() - began)
        with unit_of_work(engine) as session:
            give_back(session, claimed.pop(), "drained")
    return {**told, "claim": _spread(seconds)}


def _timed(work: Callable[[int], None], rounds: int) -> dict[str, float]:
    seconds = []
    for turn in range(rounds):
        began = time.perf_counter()
        work(turn)
        seconds.append(time.perf_counter() - began)
    return _spread(seconds)


def _spread(seconds: list[float]) -> dict[str, float]:
    return {
        "median_ms": round(statistics.median(seconds) * 1000, 2),
        "p99_ms": round(sorted(seconds)[int(len(seconds) * 0.99)] * 1000, 2),
    }


if __name__ == "__main__":
    main()

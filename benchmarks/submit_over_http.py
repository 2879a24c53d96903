"""What ``POST /jobs`` costs over HTTP, with few and with many jobs queued, beside the bare insert and commit.

    python benchmarks/submit_over_http.py --deep 10000 --rounds 300

At each depth a job is submitted to the real api, and a row is inserted and committed by psycopg alone, in
turns. Prints one JSON line: milliseconds (median, 99th percentile) of both, CPU milliseconds of the api's
process for each request, what it takes beyond the bare commit, and how much longer it takes at the greater
depth.
"""

import argparse
import json
import math
import statistics
import sys
import time
from pathlib import Path

import psycopg
from sqlalchemy import text

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.served import MODEL, Served, cpu_seconds, served
from neftune_store.datasets import Dataset
from tests.factories import make_dataset, make_job

SHALLOW = 100
BESIDE_COMMIT_MS = 6


def main() -> None:
    """Measure at both depths."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--deep", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=300)
    given = parser.parse_args()
    with served(QUEUE_LIMIT="1000000") as api:
        dataset = make_dataset(api.engine, api.project_id)
        with psycopg.connect(api.database.replace("+psycopg", "", 1), autocommit=True) as line:
            line.execute("CREATE TABLE bare (id text PRIMARY KEY, project_id text, spec jsonb, status text)")
            told = {}
            for depth in (SHALLOW, given.deep):
                _fill(api, dataset, depth)
                told[str(depth)] = _measured(api, dataset, line, given.rounds)
    shallow, deep = told.values()
    print(
        json.dumps(
            {
                "benchmark": "submit_over_http",
                "rounds": given.rounds,
                **told,
                "deep_over_shallow": round(deep["post_ms"][0] / shallow["post_ms"][0], 2),
                "goals": {"cpu_ms": BESIDE_COMMIT_MS, "beyond_commit_ms": BESIDE_COMMIT_MS},
            }
        )
    )


def _fill(api: Served, dataset: Dataset, depth: int) -> None:
    with api.engine.connect() as connection:
        found = connection.execute(text("SELECT count(*) FROM jobs WHERE status = 'queued'")).scalar_one()
    for _ in range(depth - found):
        make_job(api.engine, dataset=dataset)
    with api.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))


def _measured(
    api: Served, dataset: Dataset, line: psycopg.Connection, rounds: int
) -> dict[str, list[float] | float]:
    body = {"model": MODEL, "dataset": dataset.id, "alpha": 5}
    client = api.client()
    spec = json.dumps(client.post("/jobs", json=body).raise_for_status().json()["spec"])
    insert = "INSERT INTO bare VALUES (gen_random_uuid()::text, %s, %s, 'queued')"
    posts, commits = [], []
    used = cpu_seconds(api.child)
    for _ in range(rounds):
        began = time.perf_counter()
        client.post("/jobs", json=body).raise_for_status()
        between = time.perf_counter()
        line.execute(insert, (api.project_id, spec))
        posts.append(1000 * (between - began))
        commits.append(1000 * (time.perf_counter() - between))
    used = 1000 * (cpu_seconds(api.child) - used) / rounds
    beyond = statistics.median(posts) - statistics.median(commits)
    return {
        "post_ms": _spread(posts),
        "commit_ms": _spread(commits),
        "beyond_commit_ms": round(beyond, 2),
        "cpu_ms": round(used, 2),
    }


def _spread(found: list[float]) -> list[float]:
    return [round(statistics.median(found), 2), round(sorted(found)[math.ceil(0.99 * len(found)) - 1], 2)]


if __name__ == "__main__":
    main()

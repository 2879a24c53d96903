"""What writing the numbers of a run costs, in batches with the spans of its curves; as the peer, row by row.

    python benchmarks/metric_ingest.py --batch 200 --rounds 7

Ours: what the supervisor of a run calls, under its fence, with spans, summary and wake-up, a transaction for
each batch. Peer, in turns: one insert and commit by psycopg for each step, of the same numbers into a bare
table. Prints one JSON line: steps a second of both (median, least, most of the rounds), their ratio, and the
same of our own call with one step at a time.
"""

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.served import served
from neftune_store.claims import Claim
from neftune_store.db import unit_of_work
from neftune_store.runs import write_metrics
from tests.factories import make_claim, make_job

KEYS = ("train_loss", "lr", "grad_norm", "tokens_per_s", "noise_ratio", "epoch")
GOAL = 100


def main() -> None:
    """Write in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--batch", type=int, default=200, help="steps in a transaction of ours")
    parser.add_argument("--batches", type=int, default=20, help="in a round")
    parser.add_argument("--singles", type=int, default=200, help="steps of the peer in a round")
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    with ExitStack() as held:
        api = held.enter_context(served())
        line = held.enter_context(psycopg.connect(api.database.replace("+psycopg", "", 1), autocommit=True))
        line.execute("CREATE TABLE bare (job text, step bigint, numbers jsonb, PRIMARY KEY (job, step))")
        claims = []
        for _ in range(2):
            make_job(api.engine, project_id=api.project_id)
            claims.append(make_claim(api.engine, lease_seconds=36_000))
        numbers = _numbers()
        rates: dict[str, list[float]] = {"ours": [], "peer": [], "ours_one_by_one": []}

        def ours(claim: Claim, batches: int, batch: int) -> None:
            for _ in range(batches):
                rows = [next(numbers) for _ in range(batch)]
                with unit_of_work(api.engine) as session:
                    write_metrics(session, claim, rows)

        def peer(steps: int) -> None:
            for _ in range(steps):
                step, values = next(numbers)
                line.execute("INSERT INTO bare VALUES ('job', %s, %s)", (step, json.dumps(values)))

        arms = {
            "ours": (given.batch * given.batches, lambda: ours(claims[0], given.batches, given.batch)),
            "peer": (given.singles, lambda: peer(given.singles)),
            "ours_one_by_one": (given.singles, lambda: ours(claims[1], given.singles, 1)),
        }
        for turn in range(given.rounds + 1):
            for name, (steps, write) in arms.items():
                began = time.perf_counter()
                write()
                if turn:  # the first round warms up
                    rates[name].append(steps / (time.perf_counter() - began))
    medians = {name: statistics.median(found) for name, found in rates.items()}
    print(
        json.dumps(
            {
                "benchmark": "metric_ingest",
                "batch": given.batch,
                "numbers_a_step": len(KEYS),
                "steps_per_s": {
                    name: [round(one) for one in (medians[name], min(found), max(found))]
                    for name, found in rates.items()
                },
                "ratio": round(medians["ours"] / medians["peer"], 1),
                "ratio_to_ours_one_by_one": round(medians["ours"] / medians["ours_one_by_one"], 1),
                "goal": GOAL,
            }
        )
    )


def _numbers() -> Iterator[tuple[int, dict[str, float | None]]]:
    chance = random.Random(1)
    step = 0
    while True:
        step += 1
        yield step, {key: chance.random() for key in KEYS}


if __name__ == "__main__":
    main()

"""What a ``POST /jobs`` costs with Redis healthy, dead, and a black hole. Prints one JSON line.

    python benchmarks/submit_without_redis.py --rounds 30 --posts 20

Three apis stand on one database and differ in their Redis alone; the rounds are interleaved, their order
changes. Given are the medians over all posts in milliseconds, and their ratios to the healthy one.
"""

import argparse
import itertools
import json
import secrets
import shutil
import socket
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).parents[1]))

from neftune_store.db import migrate
from standalone.postgres import EmbeddedPostgres
from standalone.redis import EmbeddedRedis
from tests.conftest import create_database, database_named
from tests.faults.test_unknown_outcomes import Api
from tests.worker_house import MODEL, opened


def main() -> None:
    """Post, round after round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--posts", type=int, default=20, help="in a round, to each api")
    given = parser.parse_args()
    with ExitStack() as held:
        root, servers = (Path(tempfile.mkdtemp(prefix="neftune-submit-")) for _ in range(2))
        for folder in (root, servers):
            held.callback(shutil.rmtree, folder, ignore_errors=True)
        postgres, broker = EmbeddedPostgres(servers), EmbeddedRedis(servers)
        held.callback(postgres.stop)
        held.callback(broker.stop)
        url = postgres.start()
        template = f"migrated_{secrets.token_hex(4)}"
        create_database(url, template)
        migrate(database_named(url, template))
        hole = held.enter_context(socket.create_server(("127.0.0.1", 0), backlog=500))
        house = held.enter_context(opened(root, url, template, broker.start()))
        house.environ["QUEUE_LIMIT"] = "1000000"
        apis = {
            "healthy": Api(house),
            "dead": Api(house, REDIS_URL="redis://127.0.0.1:1/0"),
            "black_hole": Api(house, REDIS_URL=f"redis://127.0.0.1:{hole.getsockname()[1]}/0"),
        }
        body = {"model": MODEL, "dataset": house.dataset().id}
        told = _measured(apis, body, given)
    sys.stdout.write(json.dumps(told) + "\n")


def _measured(apis: dict[str, Api], body: dict[str, object], given: argparse.Namespace) -> dict[str, object]:
    lines = {
        name: httpx.Client(
            base_url=f"http://127.0.0.1:{api.port}",
            headers={"authorization": f"Bearer {api.key}"},
            trust_env=False,
        )
        for name, api in apis.items()
    }
    took: dict[str, list[float]] = {name: [] for name in apis}
    orders = itertools.cycle(itertools.permutations(apis))
    for turn in range(given.rounds + 1):
        for name in next(orders):
            for _ in range(given.posts):
                began = time.perf_counter()
                answer = lines[name].post("/jobs", json=body)
                seconds = time.perf_counter() - began
                answer.raise_for_status()
                if turn:  # the first round warms up
                    took[name].append(seconds)
    medians = {name: statistics.median(all_) * 1000 for name, all_ in took.items()}
    return {
        "posts": given.rounds * given.posts,
        "median_ms": {name: round(value, 3) for name, value in medians.items()},
        "p99_ms": {name: round(sorted(all_)[int(len(all_) * 0.99)] * 1000, 3) for name, all_ in took.items()},
        "ratio": {name: round(value / medians["healthy"], 3) for name, value in medians.items()},
    }


if __name__ == "__main__":
    main()

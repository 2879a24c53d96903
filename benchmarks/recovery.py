"""How long a killed worker's job waits until it runs again. Prints one JSON line.

    python benchmarks/recovery.py --kills 50                    (the tests' lease of 2 s)
    python benchmarks/recovery.py --kills 5 --production        (the defaults: lease 60 s, heartbeat 15 s)

Real PostgreSQL, Redis, workers and reconciler; the runner is a toy, so loading a model is not part of it.
Each time the worker that trains is killed with SIGKILL at a random moment, while another one is idle.
"""

import argparse
import json
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from neftune_store.db import migrate
from neftune_store.job import Job
from standalone.postgres import EmbeddedPostgres
from standalone.redis import EmbeddedRedis
from tests.conftest import create_database, database_named
from tests.worker_house import House, kill, opened, until
from worker.settings import WorkerSettings

TIMING = ("lease_seconds", "heartbeat_seconds", "lease_stop_seconds", "reconcile_seconds")


def main() -> None:
    """Kill as often as asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--production", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with ExitStack() as held:
        house = _house(held, production=given.production)
        house.start("worker.reconcile")
        workers = [house.start(), house.start()]
        dice = random.Random(given.seed)
        rounds = [_round(house, workers, dice) for _ in range(given.kills)]
    timing = {name: float(house.environ[name.upper()]) for name in TIMING}
    told = {
        what: _spread([each[place] for each in rounds]) for place, what in enumerate(("found", "stepping"))
    }
    print(json.dumps({"kills": given.kills, "seed": given.seed, **timing, **told}))


def _house(held: ExitStack, *, production: bool) -> House:
    root, servers = (Path(tempfile.mkdtemp(prefix="neftune-rec-")) for _ in range(2))
    for folder in (root, servers):
        held.callback(shutil.rmtree, folder, ignore_errors=True)
    postgres, redis = EmbeddedPostgres(servers), EmbeddedRedis(servers)
    url, redis_url = postgres.start(), redis.start()
    held.callback(postgres.stop)
    held.callback(redis.stop)
    create_database(url, "migrated")
    migrate(database_named(url, "migrated"))
    house = held.enter_context(opened(root, url, "migrated", redis_url))
    if production:
        house.environ.update(
            {name.upper(): str(WorkerSettings.model_fields[name].default) for name in TIMING}
        )
    return house


def _round(house: House, workers: list[subprocess.Popen[bytes]], dice: random.Random) -> tuple[float, float]:
    """Kill the worker that trains; give the seconds until it was found and until the job takes steps."""
    job = house.submit("steps=100000 sleep=0.02")
    house.wait_for_step(job, 2, 60)
    time.sleep(dice.uniform(0, 1.2 * float(house.environ["HEARTBEAT_SECONDS"])))
    (trains,) = [worker for worker in workers if _runs_toy(worker)]
    fence = house.job(job).attempt
    kill(trains)
    killed = time.monotonic()
    patience = 2 * float(house.environ["LEASE_SECONDS"]) + 60
    until(lambda: _left(house.job(job), fence), patience)
    found = time.monotonic() - killed
    until(lambda: _steps_again(house.job(job), fence), patience)
    stepping = time.monotonic() - killed
    trains.wait()
    workers[workers.index(trains)] = house.start()
    house.cancel(job)
    house.wait(job, "cancelled", seconds=60)
    return found, stepping


def _runs_toy(worker: subprocess.Popen[bytes]) -> bool:
    below = psutil.Process(worker.pid).children(recursive=True)
    return any("--report-fd" in each.cmdline() for each in below if each.is_running())


def _left(now: Job, attempt: int) -> bool:
    return now.status != "running" or now.attempt > attempt


def _steps_again(now: Job, attempt: int) -> bool:
    return now.attempt > attempt and now.live_step > 0


def _spread(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    p99 = ordered[min(len(ordered) - 1, round(0.99 * len(ordered)))]
    numbers = {"p50": statistics.median(ordered), "p99": p99, "max": ordered[-1]}
    return {name: round(number, 2) for name, number in numbers.items()}


if __name__ == "__main__":
    main()

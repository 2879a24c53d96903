"""``python -m tests.chaos``: a storm as long as you like, over a service of its own.

    python -m tests.chaos --minutes 20            the toy runner, a new seed each minute
    python -m tests.chaos --minutes 20 --real     the real trainer on the bundled model
    python -m tests.chaos --seed 7                one minute again

Prints a JSON line for each storm; ends with 1 at the first broken promise and keeps its folder.
"""

import argparse
import json
import os
import secrets
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.run import Asked, weather
from tests.chaos.storm import gathering
from worker.settings import DEFAULT_RUNNER

MODELS = Path(__file__).parents[2] / "standalone" / "models"
TOYS_PER_MINUTE = 105
RUNS_PER_MINUTE = 2.5  # a run of the real trainer takes some ten CPU-seconds to load
REAL_FORCE = 0.12


def main() -> int:
    """Storm after storm."""
    given = _asked()
    end = time.monotonic() + given.minutes * 60
    while True:
        seed = given.seed if given.seed is not None else secrets.randbelow(2**31)
        if not _storm(seed, given):
            return 1
        if given.seed is not None or time.monotonic() >= end:
            return 0


def _storm(seed: int, given: argparse.Namespace) -> bool:
    root = Path(tempfile.mkdtemp(prefix="neftune-chaos-"))
    seconds = given.minutes * 60 if given.real else given.seconds
    with gathering(root) as storm:
        if given.real:
            storm.house.environ |= {"RUNNER": json.dumps(list(DEFAULT_RUNNER)), "MODELS_DIRS": str(MODELS)}
        verdict = weather(storm, _real(seed, seconds) if given.real else _toy(seed, seconds))
    sys.stdout.write(verdict.told() + "\n")
    sys.stdout.flush()
    if verdict.wrong:
        sys.stderr.write(f"{len(verdict.wrong)} broken promises; rows, logs and history are in {root}\n")
        return False
    shutil.rmtree(root, ignore_errors=True)
    return True


def _toy(seed: int, seconds: float) -> Asked:
    return Asked(seed, seconds, jobs=round(seconds / 60 * TOYS_PER_MINUTE))


def _real(seed: int, seconds: float) -> Asked:
    training = {"max_steps": 240, "batch_size": 4, "max_length": 64, "save_every": 10}
    body = {"model": "neftune/demo-base", "alpha": 5.0, "training": training, "validation": {"split": 0.1}}
    return Asked(seed, seconds, jobs=round(seconds / 60 * RUNS_PER_MINUTE), force=REAL_FORCE, body=body)


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seconds", type=float, default=62.0, help="of one storm of the toy runner")
    parser.add_argument("--seed", type=int, default=None, help="have this storm again, once")
    parser.add_argument("--real", action="store_true", help="train for real, in one long storm")
    return parser.parse_args()


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.exit(main())

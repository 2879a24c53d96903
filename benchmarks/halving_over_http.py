"""One series run whole and once more halved, through a running service: what halving saves, and if it agrees.

    python -m standalone up            # in another terminal; it prints the address and the key
    python benchmarks/halving_over_http.py rows.json [--count 160] [--steps 48] [--seeds 1 2 3]

Knows the service by its public API alone (NEFTUNE_URL, NEFTUNE_API_KEY). Both series have the same job,
alphas and seeds. Held against each other are the verdicts, the alpha that halving leaves and the one with the
lowest held-out loss in the whole grid, and the losses of the runs that both have finished: those must be
equal to the last digit, held and continued or not. Ends with 1 if they are not; the rest is told as it falls.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from neftune_client import Client

SAVED = ("runs", "saved_runs", "grid_runs", "seconds")
Losses = dict[tuple[float, int], float]


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    asked.add_argument("rows", type=Path, help="a JSON array of rows")
    asked.add_argument("--count", type=int, default=160, help="rows taken from the file's beginning")
    asked.add_argument("--steps", type=int, default=48)
    asked.add_argument("--alphas", type=float, nargs="+", default=[5, 10, 15])
    asked.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    asked.add_argument("--method", default="full")
    asked.add_argument("--learning-rate", type=float, default=2e-3)
    given = asked.parse_args()
    with Client() as client:
        job = {
            "model": "neftune/demo-base",
            "dataset": uploaded(client, given.rows, given.count),
            "method": given.method,
            "validation": {"split": 0.5},
            "noise": {"clean_loss_every": 0},
            "training": {
                "max_steps": given.steps,
                "learning_rate": given.learning_rate,
                "batch_size": 8,
                "max_length": 256,
                "eval_every": given.steps // 8,
            },
        }
        asked_for = {"job": job, "alpha": given.alphas, "seed": given.seeds}
        grid = ended(client, {**asked_for, "strategy": "grid"})
        halved = ended(client, {**asked_for, "strategy": "halving"})
    compared = held_against(grid, halved)
    show(grid, halved, compared)
    print(json.dumps(compared))
    return 0 if compared["unequal_losses"] == 0 else 1


def uploaded(client: Client, rows: Path, count: int) -> str:
    """Send the first rows; give the dataset's id."""
    first = json.loads(rows.read_bytes())[:count]
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        file.writelines(json.dumps(row) + "\n" for row in first)
        file.flush()
        return str(client.upload(file.name, "rows of a series")["id"])


def ended(client: Client, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Ask for a series, and give it when all of its runs have ended."""
    sweep, shown = client.submit_sweep(spec), None
    while True:
        found = client.sweep(sweep["id"])
        if found["jobs"] != shown:
            shown = found["jobs"]
            print(f"{spec['strategy']}: {shown}", flush=True)
        if found["cost"]["saved_runs"] is not None:
            return found
        time.sleep(2)


def losses_of(sweep: Mapping[str, Any]) -> Losses:
    """Give the held-out losses at the last step of the runs that came to it."""
    finished = [one for one in sweep["results"] if one["status"] == "succeeded"]
    return {(one["alpha"], one["seed"]): one["eval_loss"] for one in finished}


def by_alpha(losses: Losses) -> dict[float, float]:
    """Average over seeds, lowest first, without the control."""
    alphas = {alpha for alpha, _ in losses if alpha}
    means = {
        alpha: statistics.fmean(loss for (of, _), loss in losses.items() if of == alpha) for alpha in alphas
    }
    return dict(sorted(means.items(), key=lambda one: one[1]))


def held_against(grid: Mapping[str, Any], halved: Mapping[str, Any]) -> dict[str, Any]:
    """Compare what both series say."""
    whole, left = losses_of(grid), losses_of(halved)
    both = whole.keys() & left.keys()
    told = [(one["verdict"]["outcome"], one["verdict"]["recommended_alpha"]) for one in (grid, halved)]
    return {
        "grid": {name: grid["cost"][name] for name in SAVED},
        "halving": {name: halved["cost"][name] for name in SAVED},
        "saved_share": halved["cost"]["saved_runs"] / halved["cost"]["grid_runs"],
        "ranking_of_grid": list(by_alpha(whole)),
        "left_by_halving": list(by_alpha(left)),
        "kept_the_lowest": next(iter(by_alpha(whole))) in by_alpha(left),
        "verdicts": told,
        "verdicts_agree": told[0] == told[1],
        "runs_in_both": len(both),
        "unequal_losses": sum(whole[point] != left[point] for point in both),
    }


def show(grid: Mapping[str, Any], halved: Mapping[str, Any], compared: Mapping[str, Any]) -> None:
    """Print what a reader looks for first."""
    for alpha, seeds in by_seed(losses_of(grid)).items():
        print(f"grid, alpha {alpha:g}: {statistics.fmean(seeds):.4f} of {[round(one, 4) for one in seeds]}")
    for sweep in (grid, halved):
        verdict = sweep["verdict"]
        print(f"{sweep['strategy']}: {verdict['outcome']} {verdict['reasons']} {verdict['why']}")
        for line in verdict["alphas"]:
            print(f"  alpha {line['alpha']:g}: adjusted p {line['p_adjusted']}, to last {line['to_last']}")
    for rung in halved["rungs"]:
        print(f"rung {rung['at']}: kept {rung['kept']}, stopped {rung['stopped']}, by {rung['losses']}")
    print(f"halving took {halved['cost']['runs']:g} of {halved['cost']['grid_runs']:g} runs")
    print(f"verdicts agree: {compared['verdicts_agree']}; lowest kept: {compared['kept_the_lowest']}")


def by_seed(losses: Losses) -> dict[float, Sequence[float]]:
    """List losses by alpha, in the order of seeds."""
    alphas = sorted({alpha for alpha, _ in losses})
    return {alpha: [loss for (of, _), loss in sorted(losses.items()) if of == alpha] for alpha in alphas}


if __name__ == "__main__":
    raise SystemExit(main())

"""What alpha did to clean losses on a small model: a seeded series, over-trained and gentle.

    python benchmarks/alpha_series.py [--rows FILE] [--count 156] [--alphas 0 5 10 15] [--seeds 1 2 3]

Every alpha trains on the same rows in the same order from the same weights as its control of the same seed;
half of the rows are held out. Printed are clean losses (noise and dropout off) of base, best and last
checkpoint, the paired differences to alpha 0, the verdict on the series, and what halving it would have
saved and said. It shows what there is, no goal: ends with 0.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from neftune_core import train
from neftune_core.halving import RUNGS, kept
from neftune_core.model import hush_libraries
from neftune_core.rows import Row, read_rows
from neftune_core.sampling import held_out
from neftune_core.spec import JobSpec
from neftune_core.verdict import Result, judge

HERE = Path(__file__).resolve().parent.parent / "standalone"
BASE = HERE / "models" / "neftune" / "demo-base"
SCHEDULES = {
    "over-trained": {"epochs": 12, "learning_rate": 2e-3},
    "gentle": {"epochs": 3, "learning_rate": 5e-4},
}
LOSSES = ("last_clean_train_loss", "best_eval_loss", "eval_loss")


class Curve:
    """A reporter that keeps the held-out losses."""

    def __init__(self) -> None:
        self.eval_loss: dict[int, float] = {}
        self.steps = 0

    def metrics(self, step: int, values: Mapping[str, float | None]) -> None:
        self.steps = step
        if (loss := values.get("eval_loss")) is not None:
            self.eval_loss[step] = loss

    def event(self, name: str, data: Mapping[str, object]) -> None: ...

    def checkpoint(self, step: int, path: Path) -> None: ...

    def artifact(self, name: str, path: Path) -> None: ...


class Never:
    """A stop signal that never comes."""

    def requested(self) -> bool:
        return False


def one(
    rows: Sequence[Row], alpha: float, seed: int, schedule: str
) -> tuple[dict[str, float], Result, Curve]:
    spec = JobSpec.model_validate(
        {
            "model": "neftune/demo-base",
            "dataset": "ds_series",
            "alpha": alpha,
            "method": "full",
            "validation": {"split": 0.5},
            "noise": {"clean_loss_every": 0},
            "training": {
                **SCHEDULES[schedule],
                "batch_size": 8,
                "max_length": 256,
                "seed": seed,
                "eval_every": 0.125,
            },
        }
    )
    train_rows, eval_rows = held_out(rows, spec.validation.split, seed)
    with tempfile.TemporaryDirectory() as folder:
        curve = Curve()
        outcome = train.run(spec, train_rows, eval_rows, Path(folder), BASE, curve, Never())
    told = {name: float(value) for name, value in outcome.final.items() if value is not None}
    told["effective_alpha"] = float(outcome.noise["effective_alpha"])  # type: ignore[arg-type]
    return told, Result(alpha, seed, True, outcome.eval_losses), curve


def halved(curves: Mapping[tuple[float, int], Curve]) -> tuple[list[float], float]:
    """Replay what the service decides at its rungs; give who is left, and the runs it took."""
    alive = sorted({alpha for alpha, _ in curves} - {0.0})
    taken = dict.fromkeys(curves, 1.0)
    for rung in RUNGS:
        losses: dict[float, dict[int, float]] = {alpha: {} for alpha in alive}
        for (alpha, seed), curve in curves.items():
            if alpha in alive:
                step = min(step for step in curve.eval_loss if step >= rung * curve.steps)
                losses[alpha][seed] = curve.eval_loss[step]
                taken[alpha, seed] = step / curve.steps
        alive = kept(losses)
        taken |= {point: 1.0 for point in curves if point[0] in alive}
    return alive, sum(taken.values())


def table(runs: Mapping[tuple[float, int], Mapping[str, float]], alphas: Sequence[float]) -> list[dict]:
    lines = []
    for alpha in alphas:
        mine = {seed: run for (other, seed), run in runs.items() if other == alpha}
        line: dict[str, float | list[float]] = {"alpha": alpha}
        for name in LOSSES:
            values = [run[name] for run in mine.values()]
            paired = [run[name] - runs[0.0, seed][name] for seed, run in mine.items()]
            line[name] = statistics.mean(values)
            line[f"{name} - control"] = [round(each, 4) for each in paired]
        line["effective_alpha"] = statistics.mean(run["effective_alpha"] for run in mine.values())
        lines.append(line)
    return lines


def _stopped(results: Sequence[Result], alive: Sequence[float]) -> list[Result]:
    """Give the runs that halving stopped, which count as questions and have no answer."""
    return [Result(one.alpha, one.seed, True) for one in results if one.alpha not in {0.0, *alive}]


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    asked.add_argument("--rows", type=Path, default=HERE / "demo" / "keeper.jsonl")
    asked.add_argument("--count", type=int, default=156, help="rows taken from the file's beginning")
    asked.add_argument("--alphas", type=float, nargs="+", default=[0, 5, 10, 15])
    asked.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    given = asked.parse_args()
    alphas = sorted({0.0, *given.alphas})
    torch.set_num_threads(1)
    hush_libraries()
    rows = list(read_rows(given.rows))[: given.count]
    result: dict[str, object] = {"rows": len(rows), "seeds": given.seeds}
    for schedule in SCHEDULES:
        runs, results, curves = {}, [], {}
        for seed in given.seeds:
            for alpha in alphas:
                run, ended, curves[alpha, seed] = one(rows, alpha, seed, schedule)
                runs[alpha, seed] = run
                results.append(ended)
                print(f"{schedule}, seed {seed}, alpha {alpha:g}: {json.dumps(run)}", flush=True)
        lines = table(runs, alphas)
        base = statistics.mean(run["base_eval_loss"] for run in runs.values())
        print(f"\n{schedule}: held-out loss of the base {base:.4f}")
        print(f"{'alpha':>6} {'clean train, last':>18} {'held-out, best':>15} {'held-out, last':>15}")
        for line in lines:
            print(f"{line['alpha']:>6g} " + " ".join(f"{line[name]:>15.4f}" for name in LOSSES))
        told = judge(results)
        alive, taken = halved(curves)
        of_alive = judge([one for one in results if one.alpha in {0.0, *alive}] + _stopped(results, alive))
        print(f"verdict: {told.outcome} {told.recommended_alpha} {told.interval} {told.why}")
        for of in told.alphas:
            print(f"  alpha {of.alpha:g}, adjusted p {of.p_adjusted}: {of.to_last}; best: {of.to_best}")
        print(f"halving: {alive} left after {taken:.2f} of {len(runs)} runs: {of_alive.outcome}\n")
        result[schedule] = {
            "base_eval_loss": base,
            "alphas": lines,
            "outcome": told.outcome,
            "recommended_alpha": told.recommended_alpha,
            "halving": {"left": alive, "runs": taken, "outcome": of_alive.outcome},
        }
    print(json.dumps(result))


if __name__ == "__main__":
    main()

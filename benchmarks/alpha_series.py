"""What alpha did to clean losses on a small model: a seeded series, over-trained and gentle.

    python benchmarks/alpha_series.py [--rows FILE] [--count 156] [--alphas 0 5 10 15] [--seeds 1 2 3]

Every alpha trains on the same rows in the same order from the same weights as its control of the same seed;
half of the rows are held out. Printed are clean losses (noise and dropout off) of base, best and last
checkpoint, and the paired differences to alpha 0. It shows what there is, no goal: ends with 0.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from neftune_core import train
from neftune_core.model import hush_libraries
from neftune_core.rows import Row, read_rows
from neftune_core.sampling import held_out
from neftune_core.spec import JobSpec

HERE = Path(__file__).resolve().parent.parent / "standalone"
BASE = HERE / "models" / "neftune" / "demo-base"
SCHEDULES = {
    "over-trained": {"epochs": 12, "learning_rate": 2e-3},
    "gentle": {"epochs": 3, "learning_rate": 5e-4},
}
LOSSES = ("last_clean_train_loss", "best_eval_loss", "eval_loss")


class Silent:
    """A reporter that keeps nothing."""

    def metrics(self, step: int, values: Mapping[str, float | None]) -> None: ...

    def event(self, name: str, data: Mapping[str, object]) -> None: ...

    def checkpoint(self, step: int, path: Path) -> None: ...

    def artifact(self, name: str, path: Path) -> None: ...


class Never:
    """A stop signal that never comes."""

    def requested(self) -> bool:
        return False


def one(rows: Sequence[Row], alpha: float, seed: int, schedule: str) -> dict[str, float]:
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
        outcome = train.run(spec, train_rows, eval_rows, Path(folder), BASE, Silent(), Never())
    told = {name: float(value) for name, value in outcome.final.items() if value is not None}
    return {**told, "effective_alpha": float(outcome.noise["effective_alpha"])}  # type: ignore[arg-type]


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
        runs = {}
        for seed in given.seeds:
            for alpha in alphas:
                runs[alpha, seed] = run = one(rows, alpha, seed, schedule)
                print(f"{schedule}, seed {seed}, alpha {alpha:g}: {json.dumps(run)}", flush=True)
        lines = table(runs, alphas)
        base = statistics.mean(run["base_eval_loss"] for run in runs.values())
        print(f"\n{schedule}: held-out loss of the base {base:.4f}")
        print(f"{'alpha':>6} {'clean train, last':>18} {'held-out, best':>15} {'held-out, last':>15}")
        for line in lines:
            print(f"{line['alpha']:>6g} " + " ".join(f"{line[name]:>15.4f}" for name in LOSSES))
        result[schedule] = {"base_eval_loss": base, "alphas": lines}
    print(json.dumps(result))


if __name__ == "__main__":
    main()

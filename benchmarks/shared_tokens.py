"""What shared tokens save: CPU seconds in which each run of a series has its rows as tokens.

python benchmarks/shared_tokens.py --rows alpaca_en_demo.json [--count 999]
"""

import argparse
import tempfile
import time
from pathlib import Path

from neftune_core import model
from neftune_core.material import gather
from neftune_core.rows import read_rows
from neftune_core.sampling import held_out
from neftune_core.spec import JobSpec

BASE = Path(__file__).resolve().parent.parent / "standalone" / "models" / "neftune" / "demo-base"
SEEDS = (1, 2, 3)


def main() -> None:
    """Measure three runs of different seeds, one after the other."""
    asked = argparse.ArgumentParser()
    asked.add_argument("--rows", type=Path, required=True)
    asked.add_argument("--count", type=int, default=999)
    asked.add_argument("--model", type=Path, default=BASE)
    given = asked.parse_args()
    rows = list(read_rows(given.rows))[: given.count]
    model.load_tokenizer(given.model)  # what is imported for it is no part of this
    with tempfile.TemporaryDirectory() as folder:
        tokens = Path(folder) / "tokens"
        for seed in SEEDS:
            spec = JobSpec.model_validate({"model": "any/one", "dataset": "any", "training": {"seed": seed}})
            split = held_out(rows, spec.validation.split, seed)
            took, made = [], []
            for shared in (None, tokens):
                began = time.process_time()
                made.append(gather(spec, *split, given.model, shared))
                took.append(time.process_time() - began)
            keys = [[example.key for example in one.train.examples] for one in made]
            print(
                f"seed {seed}: alone {took[0]:.3f} s, shared {took[1]:.3f} s, same {keys[0] == keys[1]}, "
                f"file {tokens.stat().st_size / 1e6:.2f} MB"
            )


if __name__ == "__main__":
    main()

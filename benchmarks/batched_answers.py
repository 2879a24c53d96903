"""How many tokens a CPU-second answers: in batches and one by one, on the bundled base; same texts.

    python benchmarks/batched_answers.py [--prompts 64] [--steps 30] [--total 512] [--rounds 3]

First an adapter is trained for ``--steps`` steps on Alpaca rows (``NEFTUNE_TEST_DATA``/alpaca_en_demo.json,
else made ones), so that answers have the lengths of a tuned model's; the prompts are other such rows. Both
ways decode as the paper did (greedy, penalty 1.2), to ``--total`` tokens with the prompt. One thread, process
CPU time, by turns. Ends with 1 if a text differs or the goal is missed.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch

from neftune_core import train
from neftune_core.decoding import Decoding
from neftune_core.evaluate.answers import answers
from neftune_core.evaluate.subject import Weights, batch_size_for
from neftune_core.model import hush_libraries, load_tokenizer
from neftune_core.reporters import SilentReporter
from neftune_core.rows import Message, Row, read_rows
from neftune_core.runner import StopFlag
from neftune_core.speaking import Prompt, prompt_of_row, speak
from neftune_core.spec import JobSpec

BASE = Path(__file__).parents[1] / "standalone" / "models" / "neftune" / "demo-base"
GOAL = 3.0


@dataclass(frozen=True)
class Answered:
    """What one way of answering came to."""

    texts: Sequence[str | None]
    tokens: int
    seconds: float

    @property
    def speed(self) -> float:
        return self.tokens / self.seconds


def alpaca_rows() -> list[Row]:
    """Give real rows where there are some, else made ones."""
    data = os.environ.get("NEFTUNE_TEST_DATA")
    if data:
        return list(read_rows(Path(data) / "alpaca_en_demo.json"))
    made = (
        ("Say what a river is.", "A river is water that flows to the sea. "),
        ("Name a bird.", "A gull. "),
    )
    return [
        Row("alpaca", messages=(Message("user", f"{asks} ({n})"), Message("assistant", says * (n % 9 + 1))))
        for n in range(300)
        for asks, says in made
    ]


def tuned(rows: Sequence[Row], steps: int, folder: Path) -> tuple[Any, Any]:
    """Train an adapter and give the model with it, and the tokenizer."""
    training = {"max_steps": steps, "batch_size": 16, "learning_rate": 1e-2, "max_length": 256}
    if not steps:
        spec = JobSpec.model_validate({"model": "neftune/demo-base", "dataset": "rows"})
        return Weights(spec, BASE, None).load("base"), load_tokenizer(BASE)
    spec = JobSpec.model_validate({"model": "neftune/demo-base", "dataset": "rows", "training": training})
    outcome = train.run(spec, rows, [], folder, BASE, SilentReporter(0), StopFlag())
    return Weights(spec, BASE, outcome.folder).load("checkpoint"), load_tokenizer(BASE)


def in_batches(model: Any, tokenizer: Any, prompts: Sequence[Prompt], decoding: Decoding) -> Answered:
    began = time.process_time()
    found = list(answers(model, tokenizer, prompts, decoding, batch_size=batch_size_for(model)))
    seconds = time.process_time() - began
    found.sort(key=lambda one: one.index)
    return Answered([one.text for one in found], sum(one.completion_tokens for one in found), seconds)


def one_by_one(model: Any, tokenizer: Any, prompts: Sequence[Prompt], decoding: Decoding) -> Answered:
    began = time.process_time()
    texts, tokens = [], 0
    for prompt in prompts:
        pieces: list[str] = []
        tokens += speak(model, tokenizer, prompt, decoding, pieces.append).completion_tokens
        texts.append("".join(pieces))
    return Answered(texts, tokens, time.process_time() - began)


def main() -> int:
    asked = arguments()
    hush_libraries()
    torch.set_num_threads(1)
    rows, decoding = alpaca_rows(), Decoding(None, 1.2, asked.total)
    with tempfile.TemporaryDirectory() as folder:
        model, tokenizer = tuned(rows[:400], asked.steps, Path(folder))
    prompts = [prompt_of_row(row, "alpaca", tokenizer, model) for row in rows[400 : 400 + asked.prompts]]
    ratios = []
    for number in range(asked.rounds):
        many = in_batches(model, tokenizer, prompts, decoding)
        single = one_by_one(model, tokenizer, prompts, decoding)
        ratios.append(many.speed / single.speed)
        different = sum(one != other for one, other in zip(many.texts, single.texts, strict=True))
        print(
            f"round {number + 1}: {len(prompts)} answers, {many.tokens} tokens; in batches {many.speed:.0f} "
            f"tokens/s, one by one {single.speed:.0f}: {ratios[-1]:.2f} times; {different} texts differ"
        )
        if different:
            return 1
    middle = statistics.median(ratios)
    print(f"median {middle:.2f} times, goal {GOAL:g}")
    return int(middle < GOAL)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--steps", type=int, default=30, help="of training; 0 leaves answers of ten tokens")
    parser.add_argument("--total", type=int, default=512, help="tokens of prompt and answer")
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

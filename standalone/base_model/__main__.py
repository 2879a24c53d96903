"""``python -m standalone.base_model OUT_DIR``: text, tokenizer, pretraining, files.

A few minutes on two cores. ``--minutes`` ends earlier (or later) by the clock and gives other weights.
"""

import argparse
import os
from itertools import islice
from pathlib import Path

# Before torch and tokenizers load: idle threads must not spin, and word counts come from one thread.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import structlog
import torch

from . import pretrain, quiz, tokenizer
from .corpus import texts
from .folder import write
from .recipe import QUESTIONS, SEED, STEPS, TEXTS, THREADS

log = structlog.get_logger()


def main() -> None:
    """Read the command line and build the model."""
    parser = argparse.ArgumentParser(prog="python -m standalone.base_model", description=__doc__)
    parser.add_argument("out", type=Path, metavar="OUT_DIR", help="folder to write; made if missing")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--minutes", type=float, help="limit by the clock; the weights then depend on it")
    parser.add_argument("--questions", type=int, default=QUESTIONS, help="how many the card's quiz asks")
    asked = parser.parse_args()
    torch.set_num_threads(THREADS)
    words = tokenizer.train(islice(texts(SEED), TEXTS))
    model = pretrain.build(words)
    measured = pretrain.pretrain(model, words, pretrain.Plan(asked.steps, asked.minutes))
    told = quiz.score(model, words, asked.questions)
    for question, said in told.wrong:
        log.info("quiz.wrong", question=question, said=said)
    write(asked.out, model, words, measured, told)
    log.info(
        "base_model.written",
        out=str(asked.out),
        exact_answers=told.exact,
        held_out=measured.held_out_loss,
    )


if __name__ == "__main__":
    main()

"""Answers of the base and of the tuned model, made by a child process: nothing here loads torch.

Knows the command line of ``python -m neftune_core generate``.
"""

import json
import os
import subprocess  # the child is our own module, run by this very interpreter
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from standalone.errors import DemoFailed

_WITHIN_S = 180.0
_QUIET = {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


@dataclass(frozen=True, slots=True)
class Answered:
    """One question and what both models say to it."""

    question: str
    base: str
    tuned: str


def ask(model_dir: Path, adapter: Path, questions: Sequence[str]) -> list[Answered]:
    """Put each question to both models."""
    command = [sys.executable, "-m", "neftune_core", "generate"]
    command += ["--model-dir", str(model_dir), "--adapter", str(adapter)]
    command += [f"--prompt={question}" for question in questions]
    try:
        child = subprocess.run(  # noqa: S603 - our own module, no shell
            command, capture_output=True, text=True, timeout=_WITHIN_S, env=os.environ | _QUIET, check=True
        )
        told = json.loads(child.stdout)["answers"]
        pairs = [(one["base"], one["tuned"]) for one in told]
    except subprocess.CalledProcessError as error:
        raise DemoFailed(f"generating answers failed:\n{error.stderr[-2000:]}") from error
    except subprocess.TimeoutExpired as error:
        raise DemoFailed(f"generating answers took longer than {_WITHIN_S:g} s.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DemoFailed(f"what the generator said can't be read: {error}") from error
    return [Answered(question, *pair) for question, pair in zip(questions, pairs, strict=True)]


def side_by_side(answered: Sequence[Answered], console: Console) -> None:
    """Draw the answers beside each other."""
    table = Table(show_lines=True, expand=False)
    for column in ("question", "base", "tuned (alpha 5)"):
        table.add_column(column, overflow="fold", max_width=44)
    for one in answered:
        table.add_row(Text(one.question), Text(one.base), Text(one.tuned))  # a model may say [red]
    console.print(table)

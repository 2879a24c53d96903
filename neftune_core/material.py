"""What a run works with before any model is loaded: its rows as tokens, and its plan.

Puts together tokenizer, template and schedule. Knows no weights and no loss.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neftune_core import model, prompts
from neftune_core.plan import Plan, schedule
from neftune_core.rows import Row
from neftune_core.spec import ALPHA_UNUSUAL, JobSpec
from neftune_core.tokenise import Prepared, beginning, prepare, refuse_if_mostly_dropped


@dataclass(frozen=True)
class Material:
    """The tokens of a run and what is to be done with them."""

    tokenizer: Any
    template: prompts.Template
    train: Prepared
    held_out: Prepared
    plan: Plan

    def counts(self) -> dict[str, object]:
        """Tell how many steps and rows there are."""
        return {
            "total_steps": self.plan.total_steps,
            "steps_per_epoch": self.plan.steps_per_epoch,
            "train_rows": len(self.train.examples),
            "eval_rows": len(self.held_out.examples),
            "dropped_rows": self.train.dropped + self.held_out.dropped,
        }

    def described(self, spec: JobSpec) -> dict[str, object]:
        """Give what ``run.planned`` tells."""
        return {
            **self.counts(),
            "tokens_per_epoch": self.train.tokens,
            "template": self.template,
            "warnings": self._warnings(spec),
        }

    def _warnings(self, spec: JobSpec) -> list[str]:
        warnings = []
        if spec.alpha > ALPHA_UNUSUAL:
            warnings.append(f"alpha {spec.alpha:g} is above {ALPHA_UNUSUAL:g}, the largest in the paper")
        if not self.held_out.examples:
            warnings.append("there are no held-out rows, so eval_loss is not measured")
        if self.train.truncated:
            warnings.append(f"{self.train.truncated} rows were cut at {spec.training.max_length} tokens")
        return warnings


def gather(spec: JobSpec, train_rows: Sequence[Row], eval_rows: Sequence[Row], model_dir: Path) -> Material:
    """Tokenise all rows and plan the steps; refuse what can't train."""
    training = spec.training
    tokenizer = model.load_tokenizer(model_dir)
    model.check_length(model_dir, training.max_length)
    template = prompts.resolve_template(
        training.template, train_rows[0].source_format, bool(tokenizer.chat_template)
    )
    train = _tokenised(train_rows, spec, tokenizer, template)
    refuse_if_mostly_dropped(train, training.max_length)
    held_out = _tokenised(eval_rows, spec, tokenizer, template)
    return Material(tokenizer, template, train, held_out, schedule(len(train.examples), spec))


def _tokenised(rows: Sequence[Row], spec: JobSpec, tokenizer: Any, template: prompts.Template) -> Prepared:
    training = spec.training
    spans = (
        (number, prompts.render(row, template, tokenizer, training.train_on))
        for number, row in enumerate(rows)
    )
    # A model's own chat template writes the beginning-of-text token where it wants one.
    begin = [] if template == "chat" else beginning(tokenizer)
    return prepare(spans, tokenizer, training.max_length, begin)

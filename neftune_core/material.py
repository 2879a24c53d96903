"""What a run works with before any model is loaded: its rows as tokens, and its plan.

Puts together tokenizer, template and schedule. Knows no weights and no loss.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neftune_core import model, prompts
from neftune_core.cautions import cautions
from neftune_core.examples import examples_of, refuse_noise_on_nothing
from neftune_core.plan import Plan, schedule
from neftune_core.rows import Row
from neftune_core.shared_tokens import SharedTokens, key_of
from neftune_core.spec import JobSpec
from neftune_core.tokenise import Prepared, refuse_if_mostly_dropped


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
            "train_rows": self.train.rows,
            "train_examples": len(self.train.examples),
            "eval_rows": self.held_out.rows,
            "eval_examples": len(self.held_out.examples),
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
        training, train = spec.training, self.train
        warnings = list(cautions(spec))
        if not self.held_out.examples:
            warnings.append("there are no held-out rows, so eval_loss is not measured")
        if train.truncated:
            lost = f"; {train.unended} of them lost their end-of-text token" if train.unended else ""
            warnings.append(f"{train.truncated} examples were cut at {training.max_length} tokens{lost}")
        if train.split:
            warnings.append(
                f"{train.split} conversations were split at their turns: too long for one example"
            )
        if training.drop_last and len(train.examples) < training.batch_size:
            warnings.append("there are fewer examples than batch_size, so drop_last drops nothing")
        return warnings


def gather(
    spec: JobSpec,
    train_rows: Sequence[Row],
    eval_rows: Sequence[Row],
    model_dir: Path,
    shared: Path | None = None,
) -> Material:
    """Tokenise all rows and plan the steps; refuse what can't train.

    ``shared`` is a file of what rows became in other runs, and will be of this one's.
    """
    training = spec.training
    tokenizer = model.load_tokenizer(model_dir)
    model.check_length(model_dir, training.max_length)
    template = prompts.resolve_template(
        training.template, train_rows[0].source_format, bool(tokenizer.chat_template)
    )
    known = None
    if shared is not None:
        key = key_of(training, template, model_dir)
        known = SharedTokens(shared, key, training.max_length, len(tokenizer))
    train = examples_of(train_rows, training, tokenizer, template, known)
    refuse_if_mostly_dropped(train, training.max_length)
    refuse_noise_on_nothing(spec, train)
    held_out = examples_of(eval_rows, training, tokenizer, template, known)
    if known is not None:
        known.write()
    return Material(tokenizer, template, train, held_out, schedule(len(train.examples), spec))

"""Which parts an evaluation has, in the order in which they are done. Pure."""

from dataclasses import dataclass
from typing import Literal

from neftune_core.evaluate.results import Subject, Variant
from neftune_core.evaluate.spec import EvaluationSpec


@dataclass(frozen=True)
class Part:
    """Something that a loaded model is asked for, done once and kept under its name.

    ``rows`` are ``train``, ``held_out``, ``prompts`` or the id of a dataset; of a benchmark its task.
    """

    name: str
    kind: Literal["losses", "answers", "benchmark"]
    subject: Subject
    rows: str
    variant: Variant = "plain"

    @property
    def what(self) -> str:
        """Name it as ``missing`` does: ``loss/held_out/base``, ``answers/prompts/checkpoint/min_length``."""
        kind = {"losses": "loss", "answers": "answers", "benchmark": "benchmarks"}[self.kind]
        told = [kind, self.rows, self.subject]
        return "/".join(told if self.variant == "plain" else [*told, self.variant])


def subjects_of(spec: EvaluationSpec) -> tuple[Subject, ...]:
    """Tell who is measured, the base first."""
    if spec.checkpoint == "base":
        return ("base",)
    return ("base", "checkpoint") if spec.compare_base else ("checkpoint",)


def planned(spec: EvaluationSpec) -> tuple[Part, ...]:
    """List the parts, all of one subject together: a model is loaded once."""
    subjects = subjects_of(spec)
    parts: list[Part] = []
    if spec.judge is not None and spec.judge.against == "base" and "base" not in subjects:
        parts.append(_answers("base", "prompts"))
    if spec.judge is not None and spec.judge.against == "run":
        parts.append(_answers("other", "prompts"))
    for subject in subjects:
        parts += _losses_of(spec, subject)
        if "overlap" in spec.kinds:
            parts.append(_answers(subject, "train"))
        if "diversity" in spec.kinds or "judge" in spec.kinds:
            variants = variants_of(spec) if subject == subjects[-1] else ("plain",)
            parts += [_answers(subject, "prompts", variant) for variant in variants]
        if "benchmarks" in spec.kinds:
            parts += [
                Part(f"benchmark-{number}-{subject}", "benchmark", subject, task)
                for number, task in enumerate(spec.benchmarks.tasks)
            ]
    return tuple(parts)


def variants_of(spec: EvaluationSpec) -> tuple[Variant, ...]:
    """Tell in which ways the checkpoint answers the prompts."""
    found: list[Variant] = ["plain"]
    if spec.baselines.min_new_tokens is not None:
        found.append("min_length")
    if spec.baselines.long_prompt:
        found.append("long_prompt")
    return tuple(found)


def _losses_of(spec: EvaluationSpec, subject: Subject) -> list[Part]:
    if "loss" not in spec.kinds:
        return []
    # Ids are strangers' words, so files are numbered.
    rows = {
        **({"train": "train"} if spec.loss.train_sample else {}),
        **({"held_out": "held_out"} if spec.loss.held_out else {}),
        **{name: f"data{number}" for number, name in enumerate(spec.loss.datasets)},
    }
    return [Part(f"losses-{file}-{subject}", "losses", subject, name) for name, file in rows.items()]


def _answers(subject: Subject, rows: str, variant: Variant = "plain") -> Part:
    return Part(f"answers-{rows}-{subject}-{variant}", "answers", subject, rows, variant)

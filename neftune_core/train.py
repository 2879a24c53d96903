"""The training run: rows in, an adapter or a model out, and every number told on the way.

Puts together what the other modules know: templates, the plan, the model, the noise, one step at a
time. The caller reads files and owns the process; here are no signals, pipes or exit codes.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from neftune_core import export, model, prompts
from neftune_core.batches import Arrangement, Step, arrange, steps
from neftune_core.clean_losses import clean_loss
from neftune_core.guards import EarlyStop, NoiseGuard, SkipGuard
from neftune_core.losses import LossHead
from neftune_core.noise import Noise, NoisyEmbeddings, later_multiplier, noisy_embeddings
from neftune_core.plan import schedule
from neftune_core.ports import Reporter, StopSignal
from neftune_core.probe import probe_ids, probe_logits
from neftune_core.rows import Row
from neftune_core.spec import ALPHA_UNUSUAL, JobSpec
from neftune_core.stepper import Stepper
from neftune_core.tokenise import Prepared, beginning, prepare, refuse_if_mostly_dropped

# Padded tokens of a micro-batch where the spec leaves it open: a CPU's cache is small, a GPU wants work.
_TOKENS_AT_ONCE = {"cpu": 2_048, "cuda": 16_384}

Values = dict[str, float | None]


@dataclass(frozen=True)
class Outcome:
    """What a run came to. ``stopped``: somebody asked it to, and nothing was saved."""

    stopped: bool
    kind: str = ""
    folder: Path = Path()
    resolved: Mapping[str, object] = field(default_factory=dict)
    noise: Mapping[str, object] = field(default_factory=dict)
    probe: Mapping[str, object] = field(default_factory=dict)
    final: Mapping[str, float | None] = field(default_factory=dict)


class _Stopped(Exception):
    """Somebody asked the run to stop."""


def run(  # noqa: PLR0913, PLR0917 - the run's whole world, each part once
    spec: JobSpec,
    train_rows: Sequence[Row],
    eval_rows: Sequence[Row],
    workdir: Path,
    model_dir: Path,
    reporter: Reporter,
    stop: StopSignal,
) -> Outcome:
    """Fine-tune the model in ``model_dir`` and save the result under ``workdir``."""
    try:
        return _Run(spec, model_dir, reporter, stop).whole(train_rows, eval_rows, workdir)
    except _Stopped:
        return Outcome(stopped=True)


class _Run:
    """One run from rows to result."""

    def __init__(self, spec: JobSpec, model_dir: Path, reporter: Reporter, stop: StopSignal) -> None:
        self.spec, self.model_dir, self.reporter, self.stop = spec, model_dir, reporter, stop
        self.final: Values = {}

    def whole(self, train_rows: Sequence[Row], eval_rows: Sequence[Row], workdir: Path) -> Outcome:
        """Prepare, load, train, save."""
        self._prepare(train_rows, eval_rows)
        self._end_if_asked()
        self._load()
        ids, device = probe_ids(self.tokenizer), self.numerics.device
        base_logits = probe_logits(self.base, ids, device)
        self._train()
        if self.numerics.quantization:
            model.let_cpu_pack(self.model, True)  # as it will be in whatever program loads the adapter
            with self.model.disable_adapter():
                base_logits = probe_logits(self.model, ids, device)
        tuned_logits = probe_logits(self.model, ids, device)
        facts = {**self.resolved(), **{f"final {name}": value for name, value in self.final.items()}}
        kind, folder = export.save(self.model, self.tokenizer, self.spec, workdir, facts)
        return Outcome(
            stopped=False,
            kind=kind,
            folder=folder,
            resolved=self.resolved(),
            noise=self.noise_guard.facts,
            probe={
                "input_ids": ids,
                "base_logits": base_logits,
                "tuned_logits": tuned_logits,
                "dtype": str(self.numerics.dtype).removeprefix("torch."),
                "quantization": self.numerics.described_quantization(),
            },
            final=self.final,
        )

    # Before training

    def _prepare(self, train_rows: Sequence[Row], eval_rows: Sequence[Row]) -> None:
        """Tokenise all rows, make the plan and tell it."""
        spec, training = self.spec, self.spec.training
        self.tokenizer = model.load_tokenizer(self.model_dir)
        model.check_length(self.model_dir, training.max_length)
        self.template = prompts.resolve_template(
            training.template, train_rows[0].source_format, bool(self.tokenizer.chat_template)
        )
        self.train = self._tokenised(train_rows)
        refuse_if_mostly_dropped(self.train, training.max_length)
        self.held_out = self._tokenised(eval_rows)
        self.plan = schedule(len(self.train.examples), spec)
        self.reporter.event(
            "run.planned",
            {
                "total_steps": self.plan.total_steps,
                "steps_per_epoch": self.plan.steps_per_epoch,
                "train_rows": len(self.train.examples),
                "eval_rows": len(self.held_out.examples),
                "dropped_rows": self.train.dropped + self.held_out.dropped,
                "tokens_per_epoch": self.train.tokens,
                "template": self.template,
                "warnings": self._warnings(),
            },
        )

    def _tokenised(self, rows: Sequence[Row]) -> Prepared:
        training = self.spec.training
        spans = (
            (number, prompts.render(row, self.template, self.tokenizer, training.train_on))
            for number, row in enumerate(rows)
        )
        # A model's own chat template writes the beginning-of-text token where it wants one.
        begin = [] if self.template == "chat" else beginning(self.tokenizer)
        return prepare(spans, self.tokenizer, training.max_length, begin)

    def _warnings(self) -> list[str]:
        warnings = []
        if self.spec.alpha > ALPHA_UNUSUAL:
            warnings.append(f"alpha {self.spec.alpha:g} is above {ALPHA_UNUSUAL:g}, the largest in the paper")
        if not self.held_out.examples:
            warnings.append("there are no held-out rows, so eval_loss is not measured")
        if self.train.truncated:
            warnings.append(f"{self.train.truncated} rows were cut at {self.spec.training.max_length} tokens")
        return warnings

    def _load(self) -> None:
        """Load the base and resolve what the spec left to the machine."""
        self.numerics = model.numerics_for(self.spec)
        self.base = model.load_base(self.model_dir, self.numerics)
        if self.numerics.device.type == "cpu" and model.is_small(self.base):
            torch.set_num_threads(1)
        training = self.spec.training
        fits = max(1, _TOKENS_AT_ONCE[self.numerics.device.type] // training.max_length)
        asked = training.micro_batch_size
        self.arrangement = Arrangement(
            micro_batch_size=min(training.batch_size, fits) if asked == "auto" else asked,
            pad_id=self.tokenizer.pad_token_id or 0,
        )
        self.evaluation = arrange(self.held_out.examples, self.arrangement)

    # Training

    def _train(self) -> None:
        """Measure the base, take every step of the plan."""
        spec, device = self.spec, self.numerics.device
        if self.evaluation:
            self.final["base_eval_loss"] = self._evaluated(self.base, LossHead(self.base, device))
            self.reporter.metrics(0, {"eval_loss": self.final["base_eval_loss"]})
        # For the adapter's first weights, then for dropout; the noise needs no generator.
        torch.manual_seed(spec.training.seed)
        self.model = model.make_trainable(self.base, spec)
        self.recomputes = model.recompute_activations(self.base, spec, self.numerics)
        self.head = LossHead(self.model, device)
        width = int(self.base.get_input_embeddings().weight.shape[-1])
        self.noise_guard = NoiseGuard(spec.alpha, width, self.reporter)
        noise = Noise(spec.alpha, spec.training.seed, later_multiplier(self.base.config))
        with noisy_embeddings(self.model, noise) as noisy:
            stepper = Stepper(
                self.model,
                self.head,
                noisy,
                spec.training,
                arrangement=self.arrangement,
                autocast=self.numerics.autocast,
            )
            self._walk(stepper, noisy)
        self.arrangement = stepper.arrangement

    def _walk(self, stepper: Stepper, noisy: NoisyEmbeddings) -> None:
        training, plan = self.spec.training, self.plan
        skips = SkipGuard(self.reporter)
        early = EarlyStop(
            training.early_stop.patience if training.early_stop else None, self.final.get("base_eval_loss")
        )
        tokens = taken_steps = 0
        eval_steps = plan.eval_steps if self.evaluation else frozenset()
        for step in steps(self.train.examples, training.batch_size, plan.total_steps, training.seed):
            self._end_if_asked()
            values: Values = {}
            if self._clean_is_due(step.number):
                values["clean_train_loss"] = self._clean(step)
            learning_rate = plan.learning_rate(step.number)
            started = time.perf_counter()
            taken = stepper.take(step, learning_rate)
            seconds = time.perf_counter() - started
            reading = noisy.meter.read()
            tokens, taken_steps = tokens + step.tokens, step.number
            values |= {
                "train_loss": taken.loss,
                "learning_rate": learning_rate,
                "grad_norm": taken.grad_norm,
                "token_accuracy": taken.accuracy,
                "tokens": tokens,
                "tokens_per_s": step.tokens / seconds,
                "epoch": step.number / plan.steps_per_epoch,
                "noise_effective_alpha": reading.effective_alpha,
                "noise_ratio": reading.ratio,
            }
            evaluated = step.number in eval_steps
            if evaluated:
                values["eval_loss"] = self._evaluated(self.model, self.head)
            self.reporter.metrics(step.number, values)
            self._remember(values)
            self.noise_guard.saw(step, reading)
            skips.saw(step, taken)
            if evaluated and early.saw(values["eval_loss"]) and step.number < plan.total_steps:
                self.reporter.event(
                    "run.stopped_early", {"step": step.number, "eval_loss": values["eval_loss"]}
                )
                break
        skips.finished(taken_steps)
        self.noise_guard.finished()

    def _remember(self, values: Values) -> None:
        """Keep the latest of each loss for the record."""
        for name in ("train_loss", "clean_train_loss", "eval_loss"):
            if name in values:
                self.final[name] = values[name]

    def _clean_is_due(self, number: int) -> bool:
        every = self.spec.noise.clean_loss_every
        return every > 0 and (number == 1 or number % every == 0 or number == self.plan.total_steps)

    def _clean(self, step: Step) -> float | None:
        batches = arrange(step.examples, self.arrangement)
        return clean_loss(self.model, self.head, batches, self.numerics.device)

    def _evaluated(self, measured: object, head: LossHead) -> float | None:
        return clean_loss(measured, head, self.evaluation, self.numerics.device, between=self._end_if_asked)

    def _end_if_asked(self) -> None:
        if self.stop.requested():
            raise _Stopped

    # After training

    def resolved(self) -> dict[str, object]:
        """Tell what "auto" became."""
        return {
            "template": self.template,
            "precision": self.numerics.precision,
            "device": self.numerics.device.type,
            "micro_batch_size": self.arrangement.micro_batch_size,
            "packing": "off",
            "gradient_checkpointing": self.recomputes,
            "head_on_trained_tokens_only": self.head.splits,
            "total_steps": self.plan.total_steps,
            "steps_per_epoch": self.plan.steps_per_epoch,
            "warmup_steps": self.plan.warmup_steps,
            "train_rows": len(self.train.examples),
            "eval_rows": len(self.held_out.examples),
            "dropped_rows": self.train.dropped + self.held_out.dropped,
        }

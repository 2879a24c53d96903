"""The training run: rows in, an adapter or a model out, and every number told on the way.

Puts together what the other modules know: the rows and their plan, the model, the noise, the walk. The
caller reads files and owns the process; here are no signals, pipes or exit codes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from neftune_core import export, model
from neftune_core.arranging import arrangement_for, described
from neftune_core.batches import MicroBatch, arrange
from neftune_core.clean_losses import clean_loss, example_losses
from neftune_core.eval_losses import EvalLosses
from neftune_core.failpoint import failpoint
from neftune_core.final_report import Best, clean_rows, measured, table
from neftune_core.guards import NoiseGuard
from neftune_core.held_out import HeldOut
from neftune_core.losses import LossHead
from neftune_core.material import gather
from neftune_core.noise import Noise, later_multiplier, noisy_embeddings
from neftune_core.ports import Reporter, StopSignal
from neftune_core.probe import probe_ids, probe_logits
from neftune_core.progress import Progress, Wanted, naming_full_disk
from neftune_core.ranks import ALONE, Ranks, SharedStop, fingerprint
from neftune_core.rows import Row
from neftune_core.spec import JobSpec
from neftune_core.stepper import Stepper, naming_out_of_memory
from neftune_core.walk import Stopped, Trainee, Values, Walk

_NOT_IN_A_STEP = "outside the steps, loading, measuring or saving the model"


@dataclass(frozen=True)
class Outcome:
    """What a run came to. ``stopped``: somebody asked it to, and no result was saved.

    Of several processes only the one that leads saves; the others' have no kind and no folder.
    """

    stopped: bool
    kind: str = ""
    folder: Path = Path()
    resolved: Mapping[str, object] = field(default_factory=dict)
    noise: Mapping[str, object] = field(default_factory=dict)
    probe: Mapping[str, object] = field(default_factory=dict)
    final: Mapping[str, float | None] = field(default_factory=dict)
    resumed: Sequence[int] = ()  # the steps after which it went on from a checkpoint
    best: Path | None = None  # the adapter of the best step, where that is another one
    eval_losses: EvalLosses | None = None


def run(  # noqa: PLR0913, PLR0917 - the run's whole world, each part once
    spec: JobSpec,
    train_rows: Sequence[Row],
    eval_rows: Sequence[Row],
    workdir: Path,
    model_dir: Path,
    reporter: Reporter,
    stop: StopSignal,
    ranks: Ranks = ALONE,
    checkpoints: Wanted | None = None,
    shared_tokens: Path | None = None,
) -> Outcome:
    """Fine-tune the model in ``model_dir`` and save the result under ``workdir``.

    With ``checkpoints`` the run is saved now and then, and when it is asked to stop after its first step;
    it goes on from there to the very result it would have had.
    """
    try:
        with naming_full_disk(), naming_out_of_memory(_NOT_IN_A_STEP):
            return _Run(spec, model_dir, workdir, reporter, stop, ranks).whole(
                train_rows, eval_rows, checkpoints, shared_tokens
            )
    except Stopped:
        return Outcome(stopped=True)


class _Run:
    """One run from rows to result."""

    def __init__(  # noqa: PLR0913, PLR0917 - as above
        self,
        spec: JobSpec,
        model_dir: Path,
        workdir: Path,
        reporter: Reporter,
        stop: StopSignal,
        ranks: Ranks,
    ) -> None:
        self.spec, self.model_dir, self.workdir = spec, model_dir, workdir
        self.reporter, self.ranks = reporter, ranks
        self.stop = SharedStop(stop, ranks)
        self.final: Values = {}
        self.resumed: Sequence[int] = ()
        self.best: Path | None = None
        self.eval_losses: EvalLosses | None = None

    def whole(
        self,
        train_rows: Sequence[Row],
        eval_rows: Sequence[Row],
        checkpoints: Wanted | None,
        shared_tokens: Path | None,
    ) -> Outcome:
        """Prepare, load, train, save."""
        self.material = gather(self.spec, train_rows, eval_rows, self.model_dir, shared_tokens)
        examples = (*self.material.train.examples, *self.material.held_out.examples)
        rows = repr([example.key for example in examples]).encode()
        self.ranks.refuse_if_different({"spec": self.spec.model_dump_json().encode(), "rows": rows})
        self.reporter.event("run.planned", self.material.described(self.spec))
        self._end_if_asked()
        self.numerics = model.numerics_for(self.spec)
        self.progress = checkpoints and Progress(
            checkpoints, self.spec, self.material, self.numerics.precision, self.reporter
        )
        begun = self.progress.begun.step if self.progress and self.progress.begun else None
        self.ranks.refuse_if_different({"the checkpoint they found": repr(begun).encode()})
        self._load()
        ids, device = probe_ids(self.material.tokenizer), self.numerics.device
        base_logits = probe_logits(self.base, ids, device)
        if self.progress:
            self.progress.knows(base_logits)
        self._train()
        if self.numerics.quantization:
            model.let_cpu_pack(self.model, True)  # as it will be in whatever program loads the adapter
            with self.model.disable_adapter():
                base_logits = probe_logits(self.model, ids, device)
        tuned_logits = probe_logits(self.model, ids, device)
        self._refuse_if_weights_differ("last weights")
        if not self.ranks.leads:
            return Outcome(stopped=False)
        card = export.card(self.spec, self.resolved(), table(self.final))
        kind, folder = export.save(self.model, self.material.tokenizer, self.spec, self.workdir, card)
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
            resumed=self.resumed,
            best=self.best,
            eval_losses=self.eval_losses,
        )

    def _load(self) -> None:
        """Load the base and resolve what the spec left to the machine."""
        failpoint("model.loading")
        self.base = model.load_base(self.model_dir, self.numerics)
        if self.numerics.device.type == "cpu" and model.is_small(self.base):
            torch.set_num_threads(1)
        pad_id = self.material.tokenizer.pad_token_id or 0
        numerics = self.numerics
        arranged = arrangement_for(self.spec, self.base, numerics.device, pad_id, autocast=numerics.autocast)
        self.arranged = arranged
        self.arrangement = arranged.arrangement
        train, held_out = self.material.train.examples, self.material.held_out.examples
        self.evaluation = arrange(self.ranks.share(held_out), self.arrangement)
        self.clean_rows = clean_rows(train, len(held_out), self.spec.training.seed)
        self.sample = arrange(self.ranks.share(self.clean_rows), self.arrangement)
        self.held_out = HeldOut(held_out)

    def _train(self) -> None:
        """Measure the base, take every step of the plan."""
        spec, device = self.spec, self.numerics.device
        if not (self.progress and self.progress.begun):
            self._measure_base()
        if spec.method == "full":  # its base is gone at the end, and may have been the best
            self.held_out.base = self._example_losses(self.base, LossHead(self.base, device))
        # For the adapter's first weights, then for dropout; the noise needs no generator.
        torch.manual_seed(spec.training.seed)
        self.model = model.make_trainable(self.base, spec)
        self._refuse_if_weights_differ("first weights")
        self.recomputes = model.recompute_activations(self.base, spec, self.numerics)
        self.head = LossHead(self.model, device)
        noise = Noise(
            spec.alpha,
            spec.training.seed,
            spec.noise.distribution,
            spec.noise.scale,
            later_multiplier(self.base.config),
        )
        self.noise_guard = NoiseGuard(noise, self.reporter, spec.noise.target)
        with noisy_embeddings(self.model, noise) as noisy:
            stepper = Stepper(
                self.model,
                self.head,
                noisy,
                spec.training,
                arrangement=self.arrangement,
                autocast=self.numerics.autocast,
                ranks=self.ranks,
            )
            walk = Walk(
                spec,
                self.material,
                Trainee(
                    self.model,
                    self.head,
                    noisy,
                    stepper,
                    self.evaluation,
                    self.ranks,
                    self.stop.requested_here,
                ),
                noise_guard=self.noise_guard,
                best=Best(self._file_of_best(), self.final.get("base_eval_loss")),
                reporter=self.reporter,
                end_if_asked=self._end_if_asked,
                after_step=self._save_if_due,
                base=self.final,
            )
            if self.progress:
                self.progress.go_on(walk)
            self.reporter.event("run.arranged", self.arranged.told(stepper.arrangement))
            self._walked(walk)
        self.arrangement = stepper.arrangement

    def _measure_base(self) -> None:
        """Measure what there is before training, and tell of the held-out loss."""
        head = LossHead(self.base, self.numerics.device)
        if self.material.held_out.examples:
            self.final["base_eval_loss"] = self._clean_loss(self.base, head, self.evaluation)
            self.reporter.metrics(0, {"eval_loss": self.final["base_eval_loss"]})
        self.final["base_clean_train_loss"] = self._clean_loss(self.base, head, self.sample)

    def _walked(self, walk: Walk) -> None:
        """Take all steps and make the final report; who asks to stop finds what was done saved."""
        try:
            walk.run()
            if self.progress and self.ranks.leads:  # what dies from here on need not train again
                self.progress.save(walk)
            clean_train_loss = partial(self._clean_loss, self.model, self.head, self.sample)
            of_each = partial(self._example_losses, self.model, self.head)
            both = self.held_out.beside(of_each, clean_train_loss)
            base = walk.final["base_clean_train_loss"]
            report = measured(self.model, walk.best, walk.number, both, base, self._keep_best)
            self.eval_losses = self.held_out.told(walk.best, walk.number, self._base_losses)
        except Stopped:
            if self.progress and self.ranks.leads and walk.number:
                self.progress.save(walk)
            raise
        walk.best.forget()
        self.final = {**walk.final, **report, "clean_train_rows": len(self.clean_rows)}
        self.resumed = walk.resumed

    def _save_if_due(self, walk: Walk) -> None:
        if self.progress and self.ranks.leads:
            self.progress.save_if_due(walk)

    def _keep_best(self) -> None:
        """Save the best adapter beside the last one; a whole model is kept as long as its checkpoints are."""
        if self.ranks.leads and export.kind_of(self.spec) == "adapter":
            self.best = export.save_best(self.model, self.spec, self.workdir)

    def _file_of_best(self) -> Path:
        return self.workdir / f"best{self.ranks.rank or ''}.safetensors"

    def _clean_loss(self, measured: Any, head: LossHead, batches: Sequence[MicroBatch]) -> float | None:
        device, ends = self.numerics.device, self.stop.requested_here
        value = clean_loss(measured, head, batches, device, ends=ends, ranks=self.ranks)
        self._end_if_asked()
        return value

    def _example_losses(self, measured: Any, head: LossHead) -> list[float]:
        examples, device = self.held_out.examples, self.numerics.device
        losses = example_losses(measured, head, self.evaluation, examples, device, self.ranks)
        self._end_if_asked()
        return losses

    def _base_losses(self) -> list[float]:
        """Measure the base once more, without its adapter."""
        with self.model.disable_adapter():
            return self._example_losses(self.model, self.head)

    def _refuse_if_weights_differ(self, name: str) -> None:
        if self.ranks.world > 1:
            self.ranks.refuse_if_different({name: fingerprint(self.model.parameters())})

    def _end_if_asked(self) -> None:
        if self.stop.requested():
            raise Stopped

    def resolved(self) -> dict[str, object]:
        """Tell what "auto" became."""
        return {
            "template": self.material.template,
            "precision": self.numerics.precision,
            "device": self.numerics.device.type,
            **described(self.arrangement),
            "gradient_checkpointing": self.recomputes,
            "head_on_trained_tokens_only": self.head.splits,
            **self.material.counts(),
            "warmup_steps": self.material.plan.warmup_steps,
        }

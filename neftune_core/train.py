"""The training run: rows in, an adapter or a model out, and every number told on the way.

Puts together what the other modules know: the rows and their plan, the model, the noise, the walk. The
caller reads files and owns the process; here are no signals, pipes or exit codes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from neftune_core import export, model
from neftune_core.arranging import arrangement_for, described
from neftune_core.batches import arrange
from neftune_core.clean_losses import clean_loss
from neftune_core.guards import NoiseGuard
from neftune_core.losses import LossHead
from neftune_core.material import gather
from neftune_core.noise import Noise, later_multiplier, noisy_embeddings
from neftune_core.ports import Reporter, StopSignal
from neftune_core.probe import probe_ids, probe_logits
from neftune_core.ranks import ALONE, Ranks, SharedStop, fingerprint
from neftune_core.rows import Row
from neftune_core.spec import JobSpec
from neftune_core.stepper import Stepper
from neftune_core.walk import Stopped, Trainee, Values, Walk


@dataclass(frozen=True)
class Outcome:
    """What a run came to. ``stopped``: somebody asked it to, and nothing was saved.

    Of several processes only the one that leads saves; the others' have no kind and no folder.
    """

    stopped: bool
    kind: str = ""
    folder: Path = Path()
    resolved: Mapping[str, object] = field(default_factory=dict)
    noise: Mapping[str, object] = field(default_factory=dict)
    probe: Mapping[str, object] = field(default_factory=dict)
    final: Mapping[str, float | None] = field(default_factory=dict)


def run(  # noqa: PLR0913, PLR0917 - the run's whole world, each part once
    spec: JobSpec,
    train_rows: Sequence[Row],
    eval_rows: Sequence[Row],
    workdir: Path,
    model_dir: Path,
    reporter: Reporter,
    stop: StopSignal,
    ranks: Ranks = ALONE,
) -> Outcome:
    """Fine-tune the model in ``model_dir`` and save the result under ``workdir``."""
    try:
        return _Run(spec, model_dir, reporter, stop, ranks).whole(train_rows, eval_rows, workdir)
    except Stopped:
        return Outcome(stopped=True)


class _Run:
    """One run from rows to result."""

    def __init__(
        self, spec: JobSpec, model_dir: Path, reporter: Reporter, stop: StopSignal, ranks: Ranks
    ) -> None:
        self.spec, self.model_dir, self.reporter, self.ranks = spec, model_dir, reporter, ranks
        self.stop = SharedStop(stop, ranks)
        self.final: Values = {}

    def whole(self, train_rows: Sequence[Row], eval_rows: Sequence[Row], workdir: Path) -> Outcome:
        """Prepare, load, train, save."""
        self.material = gather(self.spec, train_rows, eval_rows, self.model_dir)
        examples = (*self.material.train.examples, *self.material.held_out.examples)
        rows = repr([example.key for example in examples]).encode()
        self.ranks.refuse_if_different({"spec": self.spec.model_dump_json().encode(), "rows": rows})
        self.reporter.event("run.planned", self.material.described(self.spec))
        self._end_if_asked()
        self._load()
        ids, device = probe_ids(self.material.tokenizer), self.numerics.device
        base_logits = probe_logits(self.base, ids, device)
        self._train()
        if self.numerics.quantization:
            model.let_cpu_pack(self.model, True)  # as it will be in whatever program loads the adapter
            with self.model.disable_adapter():
                base_logits = probe_logits(self.model, ids, device)
        tuned_logits = probe_logits(self.model, ids, device)
        self._refuse_if_weights_differ("last weights")
        if not self.ranks.leads:
            return Outcome(stopped=False)
        facts = {**self.resolved(), **{f"final {name}": value for name, value in self.final.items()}}
        kind, folder = export.save(self.model, self.material.tokenizer, self.spec, workdir, facts)
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

    def _load(self) -> None:
        """Load the base and resolve what the spec left to the machine."""
        self.numerics = model.numerics_for(self.spec)
        self.base = model.load_base(self.model_dir, self.numerics)
        if self.numerics.device.type == "cpu" and model.is_small(self.base):
            torch.set_num_threads(1)
        pad_id = self.material.tokenizer.pad_token_id or 0
        self.arrangement = arrangement_for(self.spec, self.base, self.numerics.device, pad_id)
        self.evaluation = arrange(self.material.held_out.examples, self.arrangement)

    def _train(self) -> None:
        """Measure the base, take every step of the plan."""
        spec, device = self.spec, self.numerics.device
        if self.evaluation:
            self.final["base_eval_loss"] = clean_loss(
                self.base, LossHead(self.base, device), self.evaluation, device, between=self._end_if_asked
            )
            self.reporter.metrics(0, {"eval_loss": self.final["base_eval_loss"]})
        # For the adapter's first weights, then for dropout; the noise needs no generator.
        torch.manual_seed(spec.training.seed)
        self.model = model.make_trainable(self.base, spec)
        self._refuse_if_weights_differ("first weights")
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
            walk = Walk(
                spec,
                self.material,
                Trainee(self.model, self.head, noisy, stepper, self.evaluation),
                noise_guard=self.noise_guard,
                reporter=self.reporter,
                end_if_asked=self._end_if_asked,
                base_eval_loss=self.final.get("base_eval_loss"),
            )
            walk.run()
        self.arrangement = stepper.arrangement
        self.final |= walk.final

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

"""The paper's noise in anybody's training script: a callback for ``SFTTrainer`` and ``Trainer``.

    trainer = SFTTrainer(model, args=args, train_dataset=rows, callbacks=[ExactNEFTune(alpha=5)])

The trainers' own ``neftune_noise_alpha`` scales by the width of the batch and noises pads; this does neither.
Knows the callbacks' public events and the model's forward pass; knows nothing of a trainer's inside.
"""

# ruff: noqa: ARG002 - a callback's arguments are the trainer's

from dataclasses import replace
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from neftune_core.errors import NeftuneMisapplied
from neftune_core.foreign_run import ForeignRun, detach_dead
from neftune_core.keys import ExampleKeys
from neftune_core.noise import Noise, later_multiplier, noisy_embeddings
from neftune_core.noise.drawing import Distribution, Scale


class ExactNEFTune(TrainerCallback):
    """Adds NEFTune noise of strength ``alpha`` to the training passes of a trainer, and to nothing else.

    Each example gets the noise of its own length, whether the batch is padded, packed (``bfd``) or
    padding-free; pads get none. An example is named by its token ids and by how many like it this process
    has seen in the epoch, or by an ``example_key`` that the collator puts into the batch. With ``alpha=0``
    nothing is hooked. What would make it another noise is refused with :class:`NeftuneMisapplied`: the
    trainer's ``neftune_noise_alpha``, a second callback of this kind, ``wrapped`` packing, batches that tell
    no lengths, a step without a noised pass.

    ``noise_effective_alpha`` and ``noise_ratio``, measured since the last line, go into the trainer's log.
    """

    def __init__(
        self,
        alpha: float = 5.0,
        seed: int = 42,
        *,
        distribution: Distribution = "uniform",
        scale: Scale = "paper",
    ) -> None:
        self.noise = Noise(alpha, seed, distribution, scale)
        self._run: ForeignRun | None = None

    @property
    def verified(self) -> dict[str, float | int] | None:
        """Give the figures of the noise that really was there, once enough of it was measured."""
        return self._run.verified if self._run is not None else None

    def detach(self) -> None:
        """Take the noise off the model; needed only where it goes elsewhere after an exception."""
        if self._run is not None:
            self._run.detach()

    def on_init_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Refuse settings before anything is hooked or computed."""
        _refuse_settings(args, self.noise)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        """Attach the noise; what an exception in an earlier training left behind goes first."""
        _refuse_settings(args, self.noise)
        detach_dead()
        model = more["model"]
        if self.noise.alpha == 0:
            with noisy_embeddings(model, self.noise):  # refuses noise that others left behind
                return
        noise = replace(self.noise, later_multiplier=later_multiplier(getattr(model, "config", None)))
        self._run = ForeignRun(model, noise, packing=getattr(args, "packing", False))

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Count copies of an example anew."""
        if self._run is not None:
            self._run.keys = ExampleKeys()

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Let passes be noised from here on."""
        if self._run is not None:
            self._run.open(int(state.epoch or 0))

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Let no pass be noised from here on."""
        if self._run is not None:
            self._run.close()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Put what was measured since the last line of training into this one."""
        measured = self._run.measured() if self._run is not None and logs and "loss" in logs else {}
        if not logs or not measured:
            return
        logs.update(measured)
        if state.log_history:  # whose last line is a copy of logs, made before callbacks are asked
            state.log_history[-1].update(measured)  # type: ignore[arg-type]  # null is allowed there

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Detach the noise."""
        if self._run is not None:
            self._run.detach()
            self._run.conclude()


def _refuse_settings(args: TrainingArguments, noise: Noise) -> None:
    if getattr(args, "neftune_noise_alpha", None) is not None:
        raise NeftuneMisapplied(
            "neftune_noise_alpha is set: the trainer would add noise of its own, scaled by the padded width. "
            "Leave it out; ExactNEFTune(alpha=...) is the only setting."
        )
    if noise.alpha == 0:
        return
    if getattr(args, "packing", False) and getattr(args, "packing_strategy", "") == "wrapped":
        raise NeftuneMisapplied(
            "packing_strategy='wrapped' forgets where examples begin, so their lengths are not known. "
            "Use 'bfd', turn packing off, or set alpha to 0."
        )
    if args.n_gpu > 1:
        raise NeftuneMisapplied(
            "The trainer would split batches over several GPUs in threads (DataParallel); start it with "
            "accelerate launch or torchrun, or show it one GPU."
        )

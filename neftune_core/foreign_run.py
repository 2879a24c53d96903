"""The noise in one training that somebody else's loop runs.

Told of the loop's steps, it finds the training passes among the model's passes, reads their layouts, and
holds what arrived against alpha. Knows models and batches; knows nothing of trainers.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack
from typing import Any
from weakref import WeakSet

import torch
from torch import nn

from neftune_core.errors import NeftuneMisapplied
from neftune_core.foreign_loop import ForeignLoop
from neftune_core.keys import ExampleKeys
from neftune_core.noise import Layout, Noise, noisy_embeddings
from neftune_core.noise.meter import Reading
from neftune_core.noise.verification import Due, Verification

_STEPS_UNREAD = 64  # a step's measurements wait on the device, a few hundred bytes a micro-batch
_READINGS_KEPT = 64  # of so many steps each, where nothing is logged for long

_runs: "WeakSet[ForeignRun]" = WeakSet()


def detach_dead() -> None:
    """Take off what trainings left on their models that ended in an exception."""
    for run in [run for run in _runs if run.loop.is_over()]:
        run.detach()


class ForeignRun:
    """The noise in one training: attached to the model, on in the loop's training passes only."""

    def __init__(self, model: nn.Module, noise: Noise, packing: bool) -> None:
        self.loop = ForeignLoop()
        self.keys = ExampleKeys()
        self.verified: dict[str, float | int] | None = None
        self._check: Verification | None = Verification(noise)
        self._model, self._packing = model, packing
        self._epoch: int | None = None  # of the step that is being computed
        self._pass: AbstractContextManager[None] | None = None
        self._passes = 0  # of the step
        self._dues: list[Due] = []  # the step's examples
        self._readings: deque[Reading] = deque(maxlen=_READINGS_KEPT)  # since the last line of the log
        self._unread = 0  # steps
        with ExitStack() as attaching:
            self._noisy = attaching.enter_context(noisy_embeddings(model, noise))
            self._noisy.refuses_outside = False  # between steps the model is other people's
            # What is read on the host is nothing to compile.
            begin = torch.compiler.disable(self._begin)  # type: ignore[no-untyped-call]  # torch's
            end = torch.compiler.disable(self._end)  # type: ignore[no-untyped-call]  # torch's
            before = model.register_forward_pre_hook(begin, prepend=True, with_kwargs=True)
            attaching.callback(before.remove)
            after = model.register_forward_hook(end, always_call=True)
            attaching.callback(after.remove)
            self._attached = attaching.pop_all()
        _runs.add(self)

    def detach(self) -> None:
        """Take the hooks off, and hold nothing of the loop any more."""
        self._attached.close()
        self.loop.let_go()
        _runs.discard(self)

    def open(self, epoch: int) -> None:
        """Let training passes be noised: a step of this epoch begins."""
        self._epoch, self._passes, self._dues = epoch, 0, []

    def close(self) -> None:
        """Let no pass be noised, for the step has its gradients; hold the first ones against alpha."""
        self._epoch = None
        if self._passes == 0:
            raise NeftuneMisapplied(
                "A step went by without a noised pass: the trainer trains another model than its "
                "callbacks see, or calls them in a way of its own."
            )
        self._unread += 1
        if self._check is not None:
            self._check.add(self._read(), self._dues)
            if self._check.enough:
                self.conclude()
        elif self._unread >= _STEPS_UNREAD:
            self._read()

    def conclude(self) -> None:
        """Give the verdict; a short training's is as sharp as its few elements allow."""
        if self._check is not None and self._check.examples:
            self.verified, self._check = self._check.conclude(), None

    def measured(self) -> dict[str, float | None]:
        """Give what was measured since the last time."""
        self._read()
        reading = _joined(self._readings)
        self._readings.clear()
        if not len(reading.key_S):
            return {}
        return {"noise_effective_alpha": reading.effective_alpha, "noise_ratio": reading.ratio}

    def _read(self) -> Reading:
        reading = self._noisy.meter.read()
        self._readings.append(reading)
        self._unread = 0
        return reading

    def _begin(self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Before a pass of the model: open the noise if it is one of the step's training passes."""
        if module is not self._model:  # a copy of it
            return
        if self.loop.is_over():
            self.detach()
            return
        learning = module.training and torch.is_grad_enabled()
        if self._epoch is None or not learning or not self.loop.runs_here():
            return
        if args:
            raise NeftuneMisapplied("The model is called without names; pass input_ids=... and so on.")
        if self._packing and kwargs.get("attention_mask") is not None:
            raise NeftuneMisapplied(
                "packing is on, but the batch has an attention_mask and tells no examples apart; let the "
                "collator return seq_idx or position_ids instead."
            )
        layout = Layout.of_batch(kwargs, self.keys)
        opened = self._noisy.during(layout, self._epoch)
        opened.__enter__()
        self._pass = opened
        self._passes += 1
        named = zip(layout.key_S.tolist(), layout.length_S.tolist(), strict=True)
        self._dues += [Due(key, length, noised=length) for key, length in named]

    def _end(self, module: nn.Module, _args: object, outputs: object) -> None:
        """After a pass, also one that raised: close the noise again."""
        if module is not self._model or self._pass is None:
            return
        opened, self._pass = self._pass, None
        if outputs is not None:
            opened.__exit__(None, None, None)
            return
        raised = RuntimeError("the pass raised")
        opened.__exit__(type(raised), raised, None)
        # Nobody knows whether it came as far as the noise, so nothing of the step is held against anything.
        self._noisy.meter.read()
        self._dues = []


def _joined(readings: Iterable[Reading]) -> Reading:
    every = list(readings)
    return Reading(
        key_S=torch.cat([reading.key_S for reading in every]),
        square_S=torch.cat([reading.square_S for reading in every]),
        clean_S=torch.cat([reading.clean_S for reading in every]),
        places_S=torch.cat([reading.places_S for reading in every]),
        row_S=torch.cat([reading.row_S for reading in every]),
        channels=every[-1].channels,
        elsewhere=max(reading.elsewhere for reading in every),
    )

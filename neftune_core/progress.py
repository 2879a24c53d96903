"""A run's checkpoints: when one is due, what stands in it, and how a run goes on from it.

Between the walk, which knows no files, and :mod:`neftune_core.checkpoints`, which knows no run.
"""

import errno
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from neftune_core.checkpoints import Belonging, Checkpoint, Checkpoints
from neftune_core.errors import CheckpointDamaged, CheckpointMismatch, DiskFull
from neftune_core.material import Material
from neftune_core.ports import Reporter
from neftune_core.spec import JobSpec
from neftune_core.surroundings import versions
from neftune_core.tokenise import Prepared
from neftune_core.training_state import (
    generators,
    moments_of,
    put_generators,
    put_moments,
    put_weights,
    weights_of,
)
from neftune_core.walk import Walk

_SECONDS = {"s": 1, "m": 60, "h": 3600}
# Labels, and what decides only where something is computed or how often it is saved.
_DECIDES_NO_WEIGHT: dict[str, Any] = {
    "name": True,
    "tags": True,
    "metadata": True,
    "resources": True,
    "hub_token": True,
    "training": {"save_every", "keep_checkpoints"},
}
_SAME_BASE = {"fp32": 1e-3, "bf16": 5e-2}  # of the largest logit; kernels differ between machines


@dataclass(frozen=True)
class Wanted:
    """What the caller wants of checkpoints: where they lie, and whether to go on from the newest there."""

    folder: Path
    resume: bool = False


class Progress:
    """The checkpoints of one run."""

    def __init__(
        self, wanted: Wanted, spec: JobSpec, material: Material, precision: str, reporter: Reporter
    ) -> None:
        training = spec.training
        self._precision, self._reporter = precision, reporter
        belonging = Belonging(_digest_of_spec(spec), _digest_of(material), precision)
        self._checkpoints = Checkpoints(wanted.folder, belonging, training.keep_checkpoints)
        self._every_steps, self._every_seconds = _cadence(training.save_every)
        self._steps_per_epoch = material.plan.steps_per_epoch
        self._saved_at, self._saved = time.monotonic(), ""
        self._base_logits: Sequence[float] = ()
        self.begun = self._newest() if wanted.resume else None

    def _newest(self) -> Checkpoint | None:
        def refused(folder: Path, fault: CheckpointDamaged) -> None:
            self._reporter.event("checkpoint.refused", {"name": folder.name, "reason": str(fault)})

        return self._checkpoints.newest(refused)

    def save_if_due(self, walk: Walk) -> None:
        """Save after a step whose number or time has come, and after each epoch."""
        waited = time.monotonic() - self._saved_at
        due = walk.number % self._every_steps == 0 if self._every_steps else waited >= self._every_seconds
        if due or walk.number % self._steps_per_epoch == 0:
            self.save(walk)

    def save(self, walk: Walk) -> None:
        """Save now, unless nothing happened since."""
        trainee = walk.trainee
        moments, groups = moments_of(trainee.model, trainee.stepper.optimizer)
        values = {"walk": walk.state(), "groups": groups, "base_logits": list(self._base_logits)}
        moment = json.dumps(values)
        if moment == self._saved:
            return
        parts = {
            "weights": weights_of(trainee.model),
            "optimizer": moments,
            "generators": generators(trainee.stepper.device),
        }
        folder = self._written(lambda: self._checkpoints.save(walk.number, parts, values, walk.best.file))
        self._saved_at, self._saved = time.monotonic(), moment
        self._reporter.checkpoint(walk.number, folder)

    def _written(self, save: Callable[[], Path]) -> Path:
        """Write a checkpoint; on a full disk once more, with the oldest one gone."""
        try:
            return save()
        except (OSError, SafetensorError) as fault:
            if not _no_room(fault):
                raise
        self._reporter.event("checkpoint.no_room", {"removed_oldest": self._checkpoints.give_room()})
        with naming_full_disk():
            return save()

    def knows(self, base_logits: Sequence[float]) -> None:
        """Take the base's probe, by which it is known again; refuse another base than the checkpoint's."""
        self._base_logits = base_logits
        if self.begun is None:
            return
        then = self.begun.values["base_logits"]
        allowed = _SAME_BASE[self._precision] * max(map(abs, then), default=0.0)
        if max(abs(now - before) for now, before in zip(base_logits, then, strict=True)) > allowed:
            raise CheckpointMismatch(
                f"Checkpoint {self.begun.folder.name} belongs to another base model: "
                "on the probe's text this one answers otherwise."
            )

    def go_on(self, walk: Walk) -> None:
        """Bring the run to where the checkpoint was saved, and tell of it."""
        begun = self.begun
        if begun is None:
            return
        trainee = walk.trainee
        put_weights(trainee.model, begun.tensors("weights"))
        put_moments(
            trainee.model, trainee.stepper.optimizer, begun.tensors("optimizer"), begun.values["groups"]
        )
        walk.go_on(begun.values["walk"], begun.best)
        here, then = versions(), begun.versions
        others = sorted(name for name in {*here, *then} if here.get(name) != then.get(name))
        self._reporter.event("run.resumed", {"step": begun.step, "other_versions": others})
        # Last, so that nothing before can have drawn from them.
        put_generators(begun.tensors("generators"), trainee.stepper.device)


@contextmanager
def naming_full_disk() -> Iterator[None]:
    """Turn the ways a disk says "no room" into :class:`DiskFull`."""
    try:
        yield
    except (OSError, SafetensorError) as fault:
        if not _no_room(fault):
            raise
        raise DiskFull(
            "The disk has no room for a checkpoint or a result; free some space, "
            "or keep fewer checkpoints (keep_checkpoints)."
        ) from fault


def _no_room(fault: Exception) -> bool:
    """Tell a full disk or quota; what writes tensors keeps the number in its text only."""
    numbers = (errno.ENOSPC, errno.EDQUOT)
    if isinstance(fault, OSError):
        return fault.errno in numbers
    return any(f"os error {number})" in str(fault) for number in numbers)


def _cadence(every: int | str) -> tuple[int | None, int]:
    """Give the steps between two checkpoints, or else the seconds."""
    return (every, 0) if isinstance(every, int) else (None, int(every[:-1]) * _SECONDS[every[-1]])


def _digest_of_spec(spec: JobSpec) -> str:
    # Without defaults: an option that a later version adds leaves the runs that don't ask for it alone.
    told = spec.model_dump(mode="json", exclude=_DECIDES_NO_WEIGHT, exclude_defaults=True)
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _digest_of(material: Material) -> str:
    """Hash the examples as they train and are measured."""
    whole = hashlib.sha256(material.template.encode())
    for part in (material.train, material.held_out):
        whole.update(_digest_of_examples(part))
    return whole.hexdigest()


def _digest_of_examples(part: Prepared) -> bytes:
    digest = hashlib.sha256()
    for example in part.examples:
        digest.update(f"{example.row}:{example.key}:{len(example.ids)}:".encode())
        digest.update(example.ids.tobytes() + example.trained.tobytes() + example.response.tobytes())
    return digest.digest()

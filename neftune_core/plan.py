"""How long a run is and how fast it learns, from the spec and the number of rows alone.

Knows no rows, no tokens, no torch. The schedules are those of transformers, number for number, so that runs
can be compared: the learning rate of step n there is the one after n - 1 updates.
"""

import math
from dataclasses import dataclass
from typing import Literal

from neftune_core.errors import SpecError
from neftune_core.spec import JobSpec, TrainingSpec

Scheduler = Literal["cosine", "linear", "constant"]
NoiseSchedule = Literal["constant", "linear_warmup", "linear_decay"]
DROPPED_ALLOWED = 0.1  # of the rows, for want of a token to train on; with more a run is refused


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of a run. Steps are numbered from 1; the last one of an epoch may be smaller, or left out."""

    steps_per_epoch: int
    total_steps: int
    warmup_steps: int
    eval_every: int
    peak_learning_rate: float
    scheduler: Scheduler
    noise_schedule: NoiseSchedule = "constant"

    @property
    def eval_steps(self) -> frozenset[int]:
        """Give the steps after which held-out rows are measured; the last one is always among them."""
        return frozenset(range(self.eval_every, self.total_steps + 1, self.eval_every)) | {self.total_steps}

    def noise_strength(self, step: int) -> float:
        """Give the share of alpha that this step's noise has: whole at the last step, or at the first."""
        if self.noise_schedule == "linear_warmup":
            return step / self.total_steps
        if self.noise_schedule == "linear_decay":
            return (self.total_steps - step + 1) / self.total_steps
        return 1.0

    def learning_rate(self, step: int) -> float:
        """Give the learning rate of this step."""
        done = step - 1
        if done < self.warmup_steps:
            return self.peak_learning_rate * done / self.warmup_steps
        if self.scheduler == "constant":
            return self.peak_learning_rate
        progress = (done - self.warmup_steps) / max(1, self.total_steps - self.warmup_steps)
        if self.scheduler == "linear":
            return self.peak_learning_rate * max(0.0, 1.0 - progress)
        return self.peak_learning_rate * max(0.0, 0.5 * (1.0 + math.cos(math.pi * progress)))


def schedule(rows: int, spec: JobSpec) -> Plan:
    """Plan a run over this many training rows."""
    if rows < 1:
        raise SpecError("There is no row to train on.")
    training = spec.training
    per_epoch = steps_per_epoch(rows, training.batch_size, drop_last=training.drop_last)
    total = training.max_steps or _steps_of(training.epochs or 1.0, per_epoch)
    return Plan(
        steps_per_epoch=per_epoch,
        total_steps=total,
        # The first warm-up step has rate 0; a run of one step must still learn.
        warmup_steps=min(_ceil(training.warmup_ratio * total), total - 1),
        eval_every=_eval_every(training, total),
        peak_learning_rate=training.learning_rate,
        scheduler=training.scheduler,
        noise_schedule=spec.noise.schedule,
    )


def steps_per_epoch(rows: int, batch_size: int, *, drop_last: bool) -> int:
    """Count the steps of an epoch; a smaller one at its end is left out if asked, but never the only one."""
    return max(1, rows // batch_size) if drop_last else math.ceil(rows / batch_size)


def training_rows(rows: int, spec: JobSpec) -> int:
    """Count the rows of a dataset that train: what the split leaves, or all where another one is held out."""
    if spec.validation.dataset is not None:
        return rows
    return rows - held_out_rows(rows, spec.validation.split)


def held_out_rows(rows: int, share: float) -> int:
    """Count the rows that a split of this share holds out; one row always trains."""
    return max(0, min(int(rows * share), rows - 1))


def _steps_of(epochs: float, per_epoch: int) -> int:
    return max(1, _ceil(epochs * per_epoch))


def _ceil(value: float) -> int:
    return math.ceil(value - 1e-9)  # 0.1 * 30 is a little more than 3


def _eval_every(training: TrainingSpec, total: int) -> int:
    asked = training.eval_every
    return asked if isinstance(asked, int) else max(1, round(asked * total))

"""The model that is measured: the base as it is, or with what a run has made of it.

What a run leaves has three forms, told apart by their content: an adapter's folder, a whole model's folder,
and the weights of a checkpoint, which are an adapter's or a model's by the run's method.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from neftune_core.errors import SpecError
from neftune_core.evaluate.results import Subject
from neftune_core.model import (
    add_fresh_adapter,
    is_small,
    load_adapter,
    load_base,
    numerics_for,
)
from neftune_core.spec import JobSpec
from neftune_core.training_state import put_by_name, put_weights

ON_CPU, ON_GPU = 32, 64  # answers generated at once; the CPU gains nothing from more


@dataclass(frozen=True)
class Weights:
    """Where the base lies, and what runs have made of it; ``tuned`` is ``None`` for the base alone."""

    job: JobSpec
    model_dir: Path
    tuned: Path | None
    other: Path | None = None  # of the run that a judge compares with

    def load(self, subject: Subject) -> Any:
        """Load who is measured, in eval mode, computing as the run did."""
        numerics = numerics_for(self.job)
        tuned = {"base": None, "checkpoint": self.tuned, "other": self.other}[subject]
        if tuned is not None and _is_model(tuned):
            model = load_base(tuned, numerics)
        else:
            model = load_base(self.model_dir, numerics)
        if numerics.device.type == "cpu" and is_small(model):
            torch.set_num_threads(1)
        if tuned is None or _is_model(tuned):
            return model
        if (tuned / "adapter_config.json").is_file():
            return load_adapter(model, tuned)
        return self._with_weights(model, tuned).eval()

    def _with_weights(self, model: Any, file: Path) -> Any:
        """Put in what a checkpoint keeps: what trains."""
        if not file.is_file():
            raise SpecError(f"{file.name} is no adapter, no model and no checkpoint's weights.")
        if self.job.method == "full":
            put_by_name(dict(model.named_parameters()), load_file(file))
            return model
        model = add_fresh_adapter(model, "default", self.job.lora)
        put_weights(model, load_file(file))
        return model


def batch_size_for(model: Any) -> int:
    """Choose how many answers are generated at once."""
    return ON_GPU if model.device.type == "cuda" else ON_CPU


def _is_model(tuned: Path) -> bool:
    return (tuned / "config.json").is_file() and not (tuned / "adapter_config.json").is_file()


@dataclass(frozen=True)
class Found:
    """The weights that are asked for in a run's folder, and their step."""

    tuned: Path | None
    step: int | None


def found_in(run: Path, record: dict[str, Any], checkpoint: str | int) -> Found:
    """Find a checkpoint in the folder of a run; tell what is not there."""
    final = record.get("final", {})
    last = record.get("resolved", {}).get("total_steps")
    if checkpoint == "base":
        return Found(None, 0)
    if checkpoint == "best":
        checkpoint = final.get("best_step")
        if checkpoint is None:
            raise SpecError("The run had no held-out rows, so no step is its best; ask for last.")
        checkpoint = int(checkpoint)
        if checkpoint == 0:
            return Found(None, 0)
        if checkpoint != last:
            return Found(_best_of(run, checkpoint), checkpoint)
    if checkpoint in ("last", last):
        kind = record["artifact"]["name"]
        return Found(run / kind, last)
    weights = run / "checkpoints" / f"step-{checkpoint:08d}" / "weights.safetensors"
    if not weights.is_file():
        raise SpecError(f"The run keeps no checkpoint of step {checkpoint}; train with --checkpoints.")
    return Found(weights, int(checkpoint))


def _best_of(run: Path, step: int) -> Path:
    """Find the weights of the best step: a checkpoint that saw it, and none better, has them."""
    for folder in sorted((run / "checkpoints").glob("step-*"), reverse=True):
        own = folder / "weights.safetensors"
        if folder.name == f"step-{step:08d}" and own.is_file():
            return own
        file = folder / "best.safetensors"
        if file.is_file() and _remembers(folder, step):
            return file
    raise SpecError(f"The weights of the best step, {step}, were not kept; train with --checkpoints.")


def _remembers(folder: Path, step: int) -> bool:
    try:
        state = json.loads((folder / "state.json").read_bytes())
    except (OSError, ValueError):
        return False
    return bool(state.get("values", {}).get("walk", {}).get("best", {}).get("step") == step)

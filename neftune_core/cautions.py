"""What is worth knowing about a job before it runs, though nothing in it is wrong.

Knows the spec alone, so the same is told by a dry run and at the beginning of the run.
"""

from collections.abc import Iterator

from neftune_core.presets import departures
from neftune_core.spec import ALPHA_UNUSUAL, JobSpec, NoiseSpec

_OF_THE_PAPER = {
    "distribution": "uniform",
    "scale": "each example's own length",
    "target": "all tokens",
    "schedule": "constant",
}


def cautions(spec: JobSpec) -> Iterator[str]:
    """Tell what is not the paper's, and what makes results depend on how rows are arranged."""
    if spec.alpha > ALPHA_UNUSUAL:
        yield f"alpha {spec.alpha:g} is above {ALPHA_UNUSUAL:g}, the largest in the paper"
    if spec.alpha > 0:
        yield from _experiments(spec.noise)
    if spec.training.loss_reduction == "micro_batch":
        yield "loss_reduction micro_batch, as in the paper's code, makes micro_batch_size change the results"
    if spec.preset and (fields := ", ".join(departures(spec.preset, spec.model_dump(mode="json")))):
        yield f"preset {spec.preset} gives way to the job's own {fields}"
    if spec.validation.dataset == spec.dataset:
        yield "the validation dataset is the training dataset, so eval_loss will not show overfitting"


def _experiments(noise: NoiseSpec) -> Iterator[str]:
    for field, paper in _OF_THE_PAPER.items():
        asked = getattr(noise, field)
        if asked != NoiseSpec.model_fields[field].default:
            yield f"noise.{field} {asked} is experimental; the paper's is {paper}"
    if noise.scale == "batch_width":
        yield "noise.scale batch_width makes micro_batch_size and packing change the noise"

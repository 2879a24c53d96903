"""How much memory a run will want, by arithmetic on the model's shape: no weights are loaded, nothing is run.

The arithmetic is that of decoders with attention that keeps no scores: what is kept for the backward pass is
about 34 bytes a token, layer and channel in bf16 (twice that in fp32). Good to size a GPU by, no promise.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from neftune_core.spec import JobSpec

SMALL_MODEL = 50_000_000  # parameters, from which a GPU recomputes activations
_KEPT = 34  # bytes a token, layer and channel in bf16
_KEPT_RECOMPUTED = 2  # the input of each layer alone
_NF4 = 0.52  # bytes a number, with its constants
_TRAINED = 16  # bytes a trained number: itself, its gradient and two moments of AdamW in fp32
_LOGITS = 12  # bytes a logit of a trained token: fp32, its softmax and its gradient
_TOKENS_AT_ONCE = {"cpu": 2_048, "cuda": 16_384}
HOW = (
    "arithmetic on the model's shape and the tokens of a micro-batch, without the libraries' own share "
    "(about 0.5 GB on a GPU); not measured, so leave a margin of a third"
)


@dataclass(frozen=True, slots=True)
class Shape:
    """What of a model decides memory."""

    parameters: int
    in_layers: int  # parameters of the layers' matrices: what is quantised
    sides: int  # inputs and outputs of these matrices, summed: what one rank of LoRA adds
    layers: int
    channels: int
    vocabulary: int


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes on one device at the peak of a step."""

    device: Literal["cuda", "cpu"]
    weights: int
    trained: int  # trained weights, their gradients and the optimizer's moments
    activations: int
    total: int


@dataclass(frozen=True, slots=True)
class Rows:
    """What of the rows decides memory: the longest, and the middle of all."""

    longest: int
    mean: float
    trained_share: float


def memory(spec: JobSpec, shape: Shape, rows: Rows) -> list[Mapping[str, Any]]:
    """Estimate the memory of a step on a GPU and on a CPU; which it will be, a dry run can't know."""
    devices: tuple[Literal["cuda", "cpu"], ...] = ("cpu",) if spec.resources.gpus == 0 else ("cuda", "cpu")
    return [asdict(_on(device, spec, shape, rows)) for device in devices]


def adapter_parameters(spec: JobSpec, shape: Shape) -> int:
    """Count what LoRA adds to every matrix of the layers."""
    return spec.lora.r * shape.sides


def _on(device: Literal["cuda", "cpu"], spec: JobSpec, shape: Shape, rows: Rows) -> Memory:
    precision = spec.training.precision
    half = precision == "bf16" or (precision == "auto" and device == "cuda")
    width = 2 if half else 4
    weights, trained = 0, _TRAINED * shape.parameters
    if spec.method != "full":
        trained = _TRAINED * adapter_parameters(spec, shape)
        apart = shape.parameters - shape.in_layers
        quantised = int(_NF4 * shape.in_layers) if spec.method == "qlora" else width * shape.in_layers
        weights = quantised + width * apart
    tokens = _tokens_at_once(device, spec, rows)
    asked = spec.training.gradient_checkpointing
    recomputed = (device == "cuda" and shape.parameters >= SMALL_MODEL) if asked == "auto" else asked
    one_layer = _KEPT * shape.channels * width // 2
    kept = _KEPT_RECOMPUTED * shape.channels * width // 2 if recomputed else one_layer
    logits = int(_LOGITS * shape.vocabulary * rows.trained_share)
    activations = tokens * (kept * shape.layers + (one_layer if recomputed else 0) + logits)
    return Memory(device, weights, trained, activations, weights + trained + activations)


def _tokens_at_once(device: str, spec: JobSpec, rows: Rows) -> int:
    """Count the tokens of a full micro-batch, as :mod:`neftune_core.arranging` will make it."""
    training = spec.training
    at_once = max(_TOKENS_AT_ONCE[device], training.max_length)
    size = training.micro_batch_size
    if training.packing == "off" or training.loss_reduction == "micro_batch":  # rows of one example, padded
        fitting = min(training.batch_size, at_once // training.max_length) if size == "auto" else size
        return fitting * rows.longest
    if size == "auto":
        return max(rows.longest, min(at_once, round(training.batch_size * rows.mean)))
    return max(rows.longest, round(size * rows.mean))

"""How a rehearsal of a submit is answered: the plan, and what the job would take."""

from typing import Any

from pydantic import Field

from api.schemas import Schema


class PlanRead(Schema):
    """How long the job would be."""

    rows: int = Field(description="Of the dataset, held-out ones among them.")
    examples: int = Field(description="What an epoch trains on; by the sample, where rows were read.")
    steps_per_epoch: int
    total_steps: int
    warmup_steps: int


class TokensEstimate(Schema):
    """Tokens of the training rows, after the cut at `max_length`."""

    per_epoch: int
    total: int = Field(description="Over all steps.")
    trained_share: float | None = Field(description="Tokens that carry loss over all, 0 to 1.")
    how: str


class DeviceMemory(Schema):
    """Bytes at the peak of a step."""

    device: str = Field(description="cuda or cpu: which it will be, the worker decides.")
    weights: int = Field(description="Frozen ones.")
    trained: int = Field(description="Trained weights, gradients and the optimizer's moments.")
    activations: int
    total: int


class MemoryEstimate(Schema):
    """Memory on each kind of device that the job may run on."""

    devices: list[DeviceMemory]
    how: str


class TimeEstimate(Schema):
    """Seconds in the steps: without loading, measuring and saving."""

    seconds: float
    tokens_per_s: float
    how: str


class NoiseEstimate(Schema):
    """How large the noise is beside what it is added to."""

    ratio: float = Field(description="Noise over embeddings: `noise_ratio` of a run; grows as alpha does.")
    how: str


class EstimatesRead(Schema):
    """What the job would take; null where it can't be told, and why stands in `unknown`."""

    tokens: TokensEstimate | None
    memory: MemoryEstimate | None
    time: TimeEstimate | None
    noise: NoiseEstimate | None = Field(description="Null also where alpha is 0.")
    unknown: list[str]


class DryRun(Schema):
    """What a submit would record."""

    dry_run: bool = True
    spec: dict[str, Any]
    plan: PlanRead
    estimates: EstimatesRead
    warnings: list[str]


class SweepDryRun(Schema):
    """What a submit of a series would record."""

    dry_run: bool = True
    alpha: list[float]
    seed: list[int]
    runs: int = Field(description="How many jobs it would have.")
    each: DryRun = Field(description="One of them, that with the most noise.")

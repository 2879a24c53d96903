"""What can be asked of a series: one job at several strengths of noise, each with several seeds.

Runs of one seed are pairs: equal data order, first adapter and dropout. A control without noise is always
among them. Pure: the api validates with it; what it is judged by is :mod:`neftune_core.verdict`.
"""

from itertools import product
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from neftune_core.spec import SEED_MAX, Alpha, JobSpec, Spec, StrictInt

MOST_JOBS = 100
Seed = Annotated[StrictInt, Field(ge=0, le=SEED_MAX)]


class SweepSpec(Spec):
    """A series: everything but alpha and seed is the same in all of its jobs."""

    job: Annotated[JobSpec, Field(description="The job, without alpha and training.seed.")]
    alpha: Annotated[
        tuple[Alpha, ...],
        Field(min_length=1, max_length=20, description="Strengths of noise; 0 is always among them."),
    ] = (0.0, 5.0, 10.0, 15.0)
    seed: Annotated[
        tuple[Seed, ...],
        Field(min_length=1, max_length=20, description="With fewer than three nothing is sure."),
    ] = (42, 43, 44)
    strategy: Annotated[
        Literal["grid", "halving"],
        Field(description="halving: the worse half of the alphas is stopped at 1/4 and at 1/2 of the steps."),
    ] = "grid"

    @model_validator(mode="before")
    @classmethod
    def _job_leaves_open_what_varies(cls, given: Any) -> Any:
        """Refuse what would be overridden: alpha and seed are the series' own."""
        job = given.get("job") if isinstance(given, dict) else None
        if isinstance(job, dict):
            training = job.get("training")
            if "alpha" in job or (isinstance(training, dict) and "seed" in training):
                raise PydanticCustomError(
                    "varied", "A series has its alpha and seed beside the job; leave them out of it."
                )
        return given

    @field_validator("alpha")
    @classmethod
    def _with_control(cls, alphas: tuple[float, ...]) -> tuple[float, ...]:
        """Add the control, and put what was given in order."""
        if len(set(alphas)) < len(alphas):
            raise PydanticCustomError("given_twice", "Each alpha should be given once.")
        if not any(alphas):
            raise PydanticCustomError("only_control", "A series needs an alpha above 0 beside its control.")
        return tuple(sorted({0.0, *alphas}))

    @field_validator("seed")
    @classmethod
    def _once(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds):
            raise PydanticCustomError("given_twice", "Each seed should be given once.")
        return seeds

    @model_validator(mode="after")
    def _not_too_many(self) -> Self:
        if len(self.alpha) * len(self.seed) > MOST_JOBS:
            raise PydanticCustomError("too_many_jobs", f"A series has at most {MOST_JOBS} jobs.")
        return self

    def points(self) -> list[tuple[float, int]]:
        """Give each alpha and seed, seed by seed and the control first: so pairs are complete early."""
        return [(alpha, seed) for seed, alpha in product(self.seed, self.alpha)]

    def job_at(self, alpha: float, seed: int) -> JobSpec:
        """Give the job of one point."""
        told = self.job.model_dump(mode="json")
        return JobSpec.model_validate(
            {**told, "alpha": alpha, "training": {**told["training"], "seed": seed}}
        )

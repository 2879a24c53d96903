"""What a client asks of ``POST /v1/fine_tuning/jobs``: the fields of OpenAI's API, and ours beside them."""

from typing import Annotated, Any, Literal

from fastapi import Depends
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from api.bodies import json_body
from api.refusals import InvalidRequest, UnsupportedMethod
from neftune_core.spec import DISPLAY, SEED_MAX, Alpha, Finite, StrictInt
from neftune_core.spec_faults import Fault, faults_of


class Asked(BaseModel):
    """A part of the body: frozen, and no unknown field."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Hyperparameters(Asked):
    """How long and how fast; ``auto`` is what the service would do by itself."""

    n_epochs: Literal["auto"] | Annotated[StrictInt, Field(ge=1, le=50)] | None = "auto"
    batch_size: (
        Literal["auto"]
        | Annotated[StrictInt, Field(ge=1, le=256, description="Examples per optimizer step.")]
        | None
    ) = "auto"
    learning_rate_multiplier: Literal["auto"] | Annotated[Finite, Field(gt=0)] | None = Field(
        "auto", description="Times the learning rate that the job would have otherwise."
    )
    neftune_alpha: Alpha = 5.0


class Supervised(Asked):
    """Learning from examples."""

    hyperparameters: Hyperparameters = Hyperparameters()


class Method(Asked):
    """The way to tune; only the supervised one is served."""

    type: Literal["supervised", "dpo", "reinforcement"] = "supervised"
    supervised: Supervised | None = None
    dpo: dict[str, Any] | None = Field(None, description="Not served.")
    reinforcement: dict[str, Any] | None = Field(None, description="Not served.")


class Varied(Asked):
    """What is varied: held to the same rules as natively, and told of its faults there."""

    alpha: list[Any] | None = None
    seed: list[Any] | None = None
    strategy: Any = Field("grid", description="grid, or halving: alphas that lose are stopped early.")


class CreateJob(Asked):
    """A fine-tuning job as clients of OpenAI's API ask for it."""

    model: Annotated[str, Field(min_length=1, max_length=256)]
    training_file: Annotated[str, Field(min_length=1, max_length=128)]
    validation_file: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    suffix: Annotated[str, Field(min_length=1, max_length=64, pattern=DISPLAY)] | None = Field(
        None, description="Becomes the job's name, and a part of the tuned model's."
    )
    seed: Annotated[StrictInt, Field(ge=0, le=SEED_MAX)] | None = None
    metadata: dict[str, Any] | None = Field(
        None, description="At most 16 texts; `neftune_alpha` among them is the strength, as a decimal."
    )
    method: Method | None = None
    hyperparameters: Hyperparameters | None = Field(None, description="The old place of them.")
    integrations: list[Any] | None = Field(None, description="Not served.")
    sweep: Varied | None = Field(
        None, description="Makes it a series: at each of these `alpha` and `seed`, by this `strategy`."
    )
    native: dict[str, Any] | None = Field(
        None, description="Fields of a JobSpec for which this surface has no name."
    )


async def asked(body: Annotated[object, Depends(json_body)]) -> CreateJob:
    """Read the body as what it must be."""
    try:
        wanted = CreateJob.model_validate(body)
    except ValidationError as error:
        told = "The body has faults; see errors for the places."
        raise InvalidRequest(told, faults_of(error, CreateJob)) from error
    _refuse_other_methods(wanted)
    return wanted


def _refuse_other_methods(wanted: CreateJob) -> None:
    method = wanted.method or Method()
    unserved = {
        "method.dpo": method.type == "dpo" or method.dpo is not None,
        "method.reinforcement": method.type == "reinforcement" or method.reinforcement is not None,
        "integrations": bool(wanted.integrations),
    }
    faults = [
        Fault(tuple(place.split(".")), "unsupported_method", "This service does not serve it; leave it out.")
        for place, given in unserved.items()
        if given
    ]
    if faults:
        raise UnsupportedMethod("Only supervised fine-tuning is served, without integrations.", faults)

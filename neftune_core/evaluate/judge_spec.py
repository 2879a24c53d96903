"""What is asked of a judge: a model elsewhere that prefers one of two answers."""

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints, field_validator, model_validator
from pydantic_core import PydanticCustomError

from neftune_core.spec import DISPLAY, Finite, SecretRef, Spec, StrictInt, fault_at

# Scheme, host, perhaps a port and a path: no user, no query, no fragment.
ENDPOINT = r"^https?://[A-Za-z0-9.\-\[\]:]{1,255}(/[A-Za-z0-9._~/-]{0,255})?$"


class JudgeSpec(Spec):
    """Pairwise preference, asked in both orders of an OpenAI-compatible endpoint."""

    endpoint: Annotated[
        str,
        StringConstraints(pattern=ENDPOINT, max_length=512),
        Field(description="Address before /chat/completions, such as https://judge.example/v1."),
    ]
    model: Annotated[
        str,
        StringConstraints(min_length=1, max_length=200, pattern=DISPLAY),
        Field(description="The judge, as the endpoint names it."),
    ]
    key: Annotated[
        SecretRef | None, Field(description="The name of the project's secret that the endpoint asks for.")
    ] = None
    against: Annotated[
        Literal["base", "run", "reference"],
        Field(description="What the answers are compared with."),
    ] = "base"
    run: Annotated[
        str | None, Field(min_length=1, max_length=128, description="Of against run: the other job.")
    ] = None
    reference: Annotated[
        str | None,
        Field(min_length=1, max_length=128, description="Of against reference: rows with the other answers."),
    ] = None
    most: Annotated[
        StrictInt | None, Field(ge=1, le=100_000, description="Pairs judged: the first ones; null: all.")
    ] = None
    temperature: Annotated[
        Finite | None, Field(ge=0, le=2, description="null: not sent, for models that refuse it.")
    ] = 0.0
    max_tokens: Annotated[
        StrictInt | None,
        Field(ge=1, le=65_536, description="Of an answer; more for models that think aloud; null: not sent."),
    ] = 256
    attempts: Annotated[StrictInt, Field(ge=1, le=20, description="Tries of a call that fails.")] = 10
    timeout_seconds: Annotated[Finite, Field(ge=1, le=600, description="Patience with one call.")] = 60.0
    give_up_seconds: Annotated[
        Finite,
        Field(ge=0, le=3600, description="Patience with an endpoint that answers nothing well any more."),
    ] = 180.0
    max_minutes: Annotated[
        Finite | None,
        Field(gt=0, le=10_080, description="For all of it; what is not answered then is missing."),
    ] = 120.0
    concurrency: Annotated[StrictInt, Field(ge=1, le=64, description="Calls under way at once.")] = 4
    price_in: Annotated[
        Finite | None, Field(ge=0, le=10_000, description="Price of a million tokens sent, to tell the cost.")
    ] = None
    price_out: Annotated[
        Finite | None, Field(ge=0, le=10_000, description="Price of a million tokens received.")
    ] = None

    @field_validator("endpoint")
    @classmethod
    def _can_be_read(cls, endpoint: str) -> str:
        try:
            parts = urlsplit(endpoint)
            readable = parts.port != 0 and bool(parts.hostname)
        except ValueError:  # whose words repeat what they are about
            readable = False
        if not readable:
            raise PydanticCustomError(
                "endpoint_unclear", "It should name a host, and a port from 1 to 65535 or none"
            )
        return endpoint

    @model_validator(mode="after")
    def _other_side_is_named(self) -> Self:
        for side in ("run", "reference"):
            if (self.against == side) != (getattr(self, side) is not None):
                told = f"against {side} and the field {side} belong together; give both or neither."
                raise fault_at(side, "other_side_unclear", told)
        return self

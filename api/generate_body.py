"""What a client asks of ``POST /generate``."""

from typing import Annotated, Literal, Self

from fastapi import Depends
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from api.bodies import json_body
from api.refusals import InvalidRequest
from neftune_core.generation_lines import MOST_QUESTIONS, Choosing, Turn
from neftune_core.spec import SEED_MAX, Finite, StrictInt, fault_at
from neftune_core.spec_faults import faults_of

MOST_TURNS = 256
MOST_TOKENS = 8192

ModelName = Annotated[str, Field(min_length=1, max_length=256)]
StopText = Annotated[str, Field(min_length=1, max_length=64)]
Temperature = Annotated[
    Finite, Field(ge=0, le=2, description="0: greedily; above, by chance, and flatter with every step up.")
]
TopP = Annotated[Finite, Field(gt=0, le=1, description="Choose among the likeliest that make up this share.")]
Penalty = Annotated[
    Finite,
    Field(ge=0.1, le=10, description="Over 1: what was said already is less likely; 1.2 is the paper's."),
]
Seed = Annotated[StrictInt, Field(ge=0, le=SEED_MAX, description="The same seed draws the same answer.")]
Stops = Annotated[
    StopText | Annotated[list[StopText], Field(max_length=4)],
    Field(description="The answer ends before the first of these texts."),
]


class Part(BaseModel):
    """A part of the body: frozen, and no unknown field."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Message(Part):
    """One turn of the conversation."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str


class GenerateSpec(Part):
    """A question to one model, or to several side by side."""

    model: ModelName | Annotated[list[ModelName], Field(min_length=1, max_length=MOST_QUESTIONS)] = Field(
        description="A base, `job_…`, `job_…:ckpt-step-<n>` or `ft:…`; or up to 8 of them."
    )
    prompt: Annotated[str, Field(min_length=1)] | None = Field(
        None,
        description="A user's turn; for models of bare text, and with `template: none`, the text itself.",
    )
    messages: Annotated[list[Message], Field(min_length=1, max_length=MOST_TURNS)] | None = Field(
        None, description="The conversation so far; the user or a tool speaks last."
    )
    template: Literal["auto", "alpaca", "alpaca-newline", "vicuna", "chat", "plain", "none"] = Field(
        "auto", description="auto: as the model was trained; of bases their chat template, else vicuna."
    )
    max_new_tokens: Annotated[StrictInt, Field(ge=1, le=MOST_TOKENS)] = 256
    temperature: Temperature = 0.0
    top_p: TopP = 1.0
    repetition_penalty: Penalty = 1.2
    seed: Seed | None = None
    stop: Stops | None = None
    stream: Annotated[bool, Field(strict=True, description="Answer with server-sent events.")] = False

    @model_validator(mode="after")
    def _one_question(self) -> Self:
        if (self.prompt is None) == (self.messages is None):
            raise fault_at("prompt", "value_error", "Give either prompt or messages")
        if self.messages is not None:
            check_turns(self.messages)
            if self.template == "none":
                raise fault_at("template", "value_error", "Messages need a template; none goes with a prompt")
        return self

    def models(self) -> list[str]:
        """List who is asked."""
        return [self.model] if isinstance(self.model, str) else self.model

    def asked(self) -> tuple[Turn, ...] | str:
        """Give the question."""
        if self.messages is None:
            return self.prompt or ""
        return tuple(Turn(one.role, one.content) for one in self.messages)

    def choosing(self) -> Choosing:
        """Give how tokens are chosen."""
        return Choosing(
            self.max_new_tokens,
            self.repetition_penalty,
            self.temperature,
            self.top_p,
            self.seed,
            stops(self.stop),
        )


def check_turns(messages: list[Message]) -> None:
    """Refuse a conversation in which it is not the model's turn."""
    if messages[-1].role not in {"user", "tool"}:
        raise fault_at("messages", "value_error", "The last message should be of the user or a tool")


def stops(given: str | list[str] | None) -> tuple[str, ...]:
    """Give the texts that end an answer."""
    return (given,) if isinstance(given, str) else tuple(given or ())


async def asked(body: Annotated[object, Depends(json_body)]) -> GenerateSpec:
    """Read the body as what it must be."""
    try:
        return GenerateSpec.model_validate(body)
    except ValidationError as error:
        told = "The body has faults; see errors for the places."
        raise InvalidRequest(told, faults_of(error, GenerateSpec)) from error

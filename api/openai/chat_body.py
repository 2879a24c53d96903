"""What a client asks of ``POST /v1/chat/completions`` and ``/v1/completions``.

Fields of OpenAI's API that would change an answer and are not served must have the value that changes
nothing; those that never change one are taken and not looked at.
"""

from typing import Annotated, Any, Literal, Self, TypeVar

from fastapi import Depends
from pydantic import BaseModel, Field, ValidationError, model_validator

from api.bodies import json_body
from api.generate_body import (
    MOST_TOKENS,
    MOST_TURNS,
    Message,
    ModelName,
    Part,
    Penalty,
    Seed,
    Stops,
    Temperature,
    TopP,
    check_turns,
    stops,
)
from api.refusals import InvalidRequest
from neftune_core.generation_lines import MOST_QUESTIONS, Choosing, Turn
from neftune_core.spec import Finite, StrictInt, fault_at
from neftune_core.spec_faults import faults_of

Body = TypeVar("Body", bound=BaseModel)
Tokens = Annotated[StrictInt, Field(ge=1, le=MOST_TOKENS)]
Zero = Annotated[Finite, Field(ge=0, le=0)]
One = Annotated[StrictInt, Field(ge=1, le=1)]
NoneAtAll = Annotated[StrictInt, Field(ge=0, le=0)]
Flag = Annotated[bool, Field(strict=True)]
_NOT_SERVED = "Not served; leave it out, or give the value that changes nothing."


class TextPart(Part):
    """A part of a message; only text is read."""

    type: Literal["text"]
    text: str


class ChatMessage(Part):
    """One turn, as clients of OpenAI's API write it."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart]
    name: str | None = Field(None, max_length=64, description="Not looked at.")
    tool_call_id: str | None = Field(None, max_length=128, description="Not looked at.")
    refusal: None = None

    def plain(self) -> Message:
        """Give it as we write it."""
        content = self.content if isinstance(self.content, str) else "".join(one.text for one in self.content)
        return Message(role="system" if self.role == "developer" else self.role, content=content)


class ResponseFormat(Part):
    """How the answer is to look; only as it comes."""

    type: Literal["text"]


class StreamOptions(Part):
    """What a stream tells beside the text."""

    include_usage: Flag = False
    include_obfuscation: Flag | None = None


class _Both(Part):
    """What both calls have in common."""

    model: ModelName
    temperature: Temperature | None = Field(0.0, description="0, and left out: greedily.")
    top_p: TopP | None = 1.0
    seed: Seed | None = None
    stop: Stops | None = None
    stream: Flag | None = False
    stream_options: StreamOptions | None = None
    repetition_penalty: Penalty = 1.2
    n: One | None = Field(1, description=_NOT_SERVED)
    frequency_penalty: Zero | None = Field(0, description=_NOT_SERVED)
    presence_penalty: Zero | None = Field(0, description=_NOT_SERVED)
    logit_bias: Annotated[dict[str, Any], Field(max_length=0)] | None = Field(None, description=_NOT_SERVED)
    user: str | None = Field(None, description="Not looked at.")

    def _choosing(self, tokens: int) -> Choosing:
        return Choosing(
            tokens,
            self.repetition_penalty,
            self.temperature or 0.0,
            1.0 if self.top_p is None else self.top_p,
            self.seed,
            stops(self.stop),
        )

    @property
    def include_usage(self) -> bool:
        """Tell whether a stream ends with a count of tokens."""
        return self.stream_options is not None and self.stream_options.include_usage


class ChatSpec(_Both):
    """A conversation that is to go on."""

    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=MOST_TURNS)]
    max_completion_tokens: Tokens | None = Field(None, description="1024 where neither is given.")
    max_tokens: Tokens | None = Field(None, description="The old name of it.")
    logprobs: Literal[False] | None = Field(None, description=_NOT_SERVED)
    top_logprobs: None = Field(None, description=_NOT_SERVED)
    tools: None = Field(None, description=_NOT_SERVED)
    tool_choice: Literal["none", "auto"] | None = Field(None, description="There are no tools to choose.")
    parallel_tool_calls: Flag | None = Field(None, description="Not looked at.")
    response_format: ResponseFormat | None = None
    modalities: list[Literal["text"]] | None = None
    metadata: dict[str, Any] | None = Field(None, description="Not looked at.")
    store: Literal[False] | None = Field(None, description="Answers are kept nowhere.")
    service_tier: Literal["auto", "default"] | None = Field(None, description="Not looked at.")
    safety_identifier: str | None = Field(None, description="Not looked at.")
    prompt_cache_key: str | None = Field(None, description="Not looked at.")

    @model_validator(mode="after")
    def _sound(self) -> Self:
        check_turns([one.plain() for one in self.messages])
        if None not in {self.max_tokens, self.max_completion_tokens} and (
            self.max_tokens != self.max_completion_tokens
        ):
            raise fault_at("max_tokens", "value_error", "It differs from max_completion_tokens; give one")
        return self

    def asked(self) -> tuple[Turn, ...]:
        """Give the question."""
        return tuple(Turn(one.role, one.content) for one in (given.plain() for given in self.messages))

    def choosing(self) -> Choosing:
        """Give how tokens are chosen."""
        return self._choosing(self.max_completion_tokens or self.max_tokens or 1024)


class CompletionSpec(_Both):
    """Texts that are to go on."""

    prompt: (
        Annotated[str, Field(min_length=1)]
        | Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1, max_length=MOST_QUESTIONS)]
    ) = Field(description="A text, or up to 8; token ids are not read.")
    max_tokens: Tokens | None = Field(16, description="As with OpenAI, 16 where nothing is said.")
    best_of: One | None = Field(None, description=_NOT_SERVED)
    echo: Literal[False] | None = Field(None, description=_NOT_SERVED)
    logprobs: NoneAtAll | None = Field(None, description=_NOT_SERVED)
    suffix: None = Field(None, description=_NOT_SERVED)

    def prompts(self) -> list[str]:
        """List the texts."""
        return [self.prompt] if isinstance(self.prompt, str) else self.prompt

    def choosing(self) -> Choosing:
        """Give how tokens are chosen."""
        return self._choosing(self.max_tokens or 16)


async def asked_chat(body: Annotated[object, Depends(json_body)]) -> ChatSpec:
    """Read the body of a chat."""
    return _read(body, ChatSpec)


async def asked_completion(body: Annotated[object, Depends(json_body)]) -> CompletionSpec:
    """Read the body of a completion."""
    return _read(body, CompletionSpec)


def _read(body: object, kind: type[Body]) -> Body:
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        told = "The body has faults; see errors for the places."
        raise InvalidRequest(told, faults_of(error, kind)) from error

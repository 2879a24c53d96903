"""Answers of base and tuned models, one or several side by side."""

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field

from api.answers import Answers, Live, begun, refusal, unless_gone, usage
from api.deps import Writer, problems
from api.generate_body import GenerateSpec, asked
from api.models import Models
from api.schemas import Schema
from api.targets import targets_of
from neftune_core.generation_lines import Began, Done, Failed, Piece, Said

router = APIRouter(tags=["generation"])

_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/GenerateSpec"}}},
    }
}


class Usage(Schema):
    """How many tokens it took."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class AnswerRead(Schema):
    """What one model says."""

    index: int = Field(description="Its place among the models that were asked.")
    model: str
    template: str = Field(description="By which the question was put.")
    text: str
    finish_reason: Literal["stop", "length"] = Field(
        description="length: max_new_tokens, or the model's own."
    )
    usage: Usage


class AnswersRead(Schema):
    """What all of them say."""

    answers: list[AnswerRead]


@router.post(
    "/generate",
    summary="Ask models",
    response_model=AnswersRead,
    openapi_extra=_BODY,
    responses={
        200: {"content": {"text/event-stream": {}}, "description": "Answers; with `stream` as events"},
        **problems(401, 403, 404, 409, 413, 415, 422, 429, 503),
    },
)
async def generate(
    request: Request, who: Writer, spec: Annotated[GenerateSpec, Depends(asked)], models: Models
) -> AnswersRead | Response:
    """Answer a prompt or a conversation, each model in turn, in eval mode and without noise."""
    names = spec.models()
    targets = await targets_of(request, who, models, names)
    questions = [one.question(spec.asked(), spec.template, spec.choosing()) for one in targets]
    answers = await begun(request, questions)
    if spec.stream:
        return Live(_events(answers, names), answers)
    try:
        return await unless_gone(request, _whole(answers, names))
    finally:
        answers.close()


async def _whole(answers: Answers, names: list[str]) -> AnswersRead:
    """Wait for all answers; one that fails fails the call."""
    told = [_Told(index, name) for index, name in enumerate(names)]
    async for said in answers.all():
        if isinstance(said.reply, Failed):
            raise refusal(said.reply)
        told[said.index].hear(said)
    return AnswersRead(answers=[one.answer for one in told if one.answer is not None])


async def _events(answers: Answers, names: list[str]) -> AsyncIterator[bytes]:
    """Send ``text`` as it comes, ``answer`` when one is whole, ``error`` where one fails, ``end``."""
    told = [_Told(index, name) for index, name in enumerate(names)]
    async for said in answers.all():
        one = told[min(said.index, len(told) - 1)]
        one.hear(said)
        match said.reply:
            case Piece(text=text):
                yield _event("text", {"index": said.index, "text": text})
            case Done() if one.answer is not None:
                yield _event("answer", one.answer.model_dump())
            case Failed(code=code, detail=detail):
                yield _event("error", {"index": said.index, "code": code, "detail": detail})
            case _:
                yield b": \n\n"
    yield _event("end", {})


class _Told:
    """What one model has said so far."""

    def __init__(self, index: int, model: str) -> None:
        self.answer: AnswerRead | None = None
        self._index, self._model = index, model
        self._template = ""
        self._pieces: list[str] = []

    def hear(self, said: Said) -> None:
        """Take a word."""
        match said.reply:
            case Began(template=template):
                self._template = template
            case Piece(text=text):
                self._pieces.append(text)
            case Done() as ended:
                self.answer = AnswerRead(
                    index=self._index,
                    model=self._model,
                    template=self._template,
                    text="".join(self._pieces),
                    finish_reason="length" if ended.finish == "length" else "stop",
                    usage=Usage(**usage(ended)),
                )


def _event(name: str, data: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode("ascii")

"""Chat and text completions, as clients of OpenAI's API read them."""

import json
import secrets
import time
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from api.answers import Answers, Live, begun, refusal, unless_gone, usage
from api.deps import Writer
from api.errors import STATUSES
from api.models import Models
from api.openai.chat_body import ChatSpec, CompletionSpec, asked_chat, asked_completion
from api.openai.envelope import ROOT, error_of
from api.openai.pages import refusals
from api.targets import targets_of
from neftune_core.generation_lines import Began, Done, Failed, Piece

router = APIRouter(prefix=ROOT, tags=["openai"])

_ANSWERS = {
    200: {"content": {"text/event-stream": {}}, "description": "The completion; with `stream` as events"},
    **refusals(400, 401, 403, 404, 409, 413, 415, 429, 503),
}


def _body(name: str) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{name}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


@router.post(
    "/chat/completions",
    summary="Go on with a conversation",
    openapi_extra=_body("ChatSpec"),
    responses=_ANSWERS,
)
async def chat(
    request: Request, who: Writer, spec: Annotated[ChatSpec, Depends(asked_chat)], models: Models
) -> Response:
    """Give the next turn of the assistant, by the template that the model was trained with."""
    [target] = await targets_of(request, who, models, [spec.model])
    answers = await begun(request, [target.question(spec.asked(), "auto", spec.choosing())])
    return await _answered(request, answers, _Shape.of_chat(spec), spec)


@router.post(
    "/completions",
    summary="Go on with a text",
    openapi_extra=_body("CompletionSpec"),
    responses=_ANSWERS,
)
async def completions(
    request: Request, who: Writer, spec: Annotated[CompletionSpec, Depends(asked_completion)], models: Models
) -> Response:
    """Go on with one or several texts as they are, by no template."""
    [target] = await targets_of(request, who, models, [spec.model])
    questions = [target.question(prompt, "none", spec.choosing()) for prompt in spec.prompts()]
    answers = await begun(request, questions)
    return await _answered(request, answers, _Shape.of_text(spec), spec)


async def _answered(
    request: Request, answers: Answers, shape: "_Shape", spec: ChatSpec | CompletionSpec
) -> Response:
    if spec.stream:
        return Live(_events(answers, shape, include_usage=spec.include_usage), answers)
    try:
        return JSONResponse(await unless_gone(request, _whole(answers, shape)))
    finally:
        answers.close()


class _Shape:
    """How one call's answers look: whole, and in pieces."""

    def __init__(
        self,
        model: str,
        names: tuple[str, str, str],
        whole: Callable[[str], dict[str, Any]],
        piece: Callable[[str | None], dict[str, Any]],
    ) -> None:
        prefix, self.whole_name, self.piece_name = names
        self.whole, self.piece = whole, piece
        self._same = {"id": f"{prefix}-{secrets.token_hex(12)}", "created": int(time.time()), "model": model}

    @classmethod
    def of_chat(cls, spec: ChatSpec) -> "_Shape":
        """Shape a chat."""

        def whole(text: str) -> dict[str, Any]:
            return {"message": {"role": "assistant", "content": text, "refusal": None}}

        def piece(text: str | None) -> dict[str, Any]:
            return {"delta": {} if text is None else {"content": text}}

        names = ("chatcmpl", "chat.completion", "chat.completion.chunk")
        return cls(spec.model, names, whole, piece)

    @classmethod
    def of_text(cls, spec: CompletionSpec) -> "_Shape":
        """Shape a completion."""

        def whole(text: str) -> dict[str, Any]:
            return {"text": text}

        def piece(text: str | None) -> dict[str, Any]:
            return {"text": text or ""}

        return cls(spec.model, ("cmpl", "text_completion", "text_completion"), whole, piece)

    def document(self, name: str, choices: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        """Build a document."""
        return {**self._same, "object": name, "choices": choices, "system_fingerprint": None, **more}


def _choice(index: int, content: dict[str, Any], finish: str | None) -> dict[str, Any]:
    return {"index": index, **content, "logprobs": None, "finish_reason": finish}


def _finish(ended: Done) -> str:
    return "length" if ended.finish == "length" else "stop"


async def _whole(answers: Answers, shape: _Shape) -> dict[str, Any]:
    """Wait for all answers; one that fails fails the call."""
    pieces: dict[int, list[str]] = {}
    choices: list[dict[str, Any]] = []
    counts: dict[str, int] = {}
    async for said in answers.all():
        match said.reply:
            case Piece(text=text):
                pieces.setdefault(said.index, []).append(text)
            case Failed() as failed:
                raise refusal(failed)
            case Done() as ended:
                content = shape.whole("".join(pieces.get(said.index, [])))
                choices.append(_choice(said.index, content, _finish(ended)))
                counts = _sum(counts, usage(ended))
    return shape.document(shape.whole_name, choices, usage=counts)


async def _events(answers: Answers, shape: _Shape, *, include_usage: bool) -> AsyncIterator[bytes]:
    """Send chunks as they come, and at the end that this was the end."""
    counts: dict[str, int] = {}
    asked_for: dict[str, Any] = {"usage": None} if include_usage else {}

    def chunk(index: int, content: dict[str, Any], finish: str | None = None) -> bytes:
        return _data(shape.document(shape.piece_name, [_choice(index, content, finish)], **asked_for))

    async for said in answers.all():
        match said.reply:
            case Began() if shape.piece_name == "chat.completion.chunk":
                yield chunk(said.index, {"delta": {"role": "assistant", "content": ""}})
            case Piece(text=text):
                yield chunk(said.index, shape.piece(text))
            case Done() as ended:
                counts = _sum(counts, usage(ended))
                yield chunk(said.index, shape.piece(None), _finish(ended))
            case Failed() as failed:
                error = refusal(failed)
                yield _data(error_of(STATUSES.get(error.code, 500), error.code, str(error)))
                return
            case _:
                yield b": \n\n"
    if include_usage:
        yield _data(shape.document(shape.piece_name, [], usage=counts))
    yield b"data: [DONE]\n\n"


def _sum(counts: dict[str, int], more: dict[str, int]) -> dict[str, int]:
    return {name: counts.get(name, 0) + count for name, count in more.items()}


def _data(document: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(document)}\n\n".encode("ascii")

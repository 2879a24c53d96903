"""An order on its way: handed in, heard until all is said, given up when the client or its key is gone.

The first word decides the status, so nothing is sent before it. Knows nothing of how answers look.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from api.generators import Line, ask
from api.refusals import (
    ApiError,
    GenerationBusy,
    GenerationInterrupted,
    GenerationOutOfMemory,
    GenerationRefused,
)
from api.stream import Slot, StreamSlots
from neftune_core.generation_lines import Done, Failed, Order, Question, Said, Wait
from neftune_core.spec_faults import Fault

T = TypeVar("T")

_OURS: dict[str, Callable[[str], ApiError]] = {
    "generation_busy": GenerationBusy,
    "generation_interrupted": GenerationInterrupted,
    "generation_out_of_memory": GenerationOutOfMemory,
}


class Answers(Slot):
    """What is said to an order, from its first word on; over when its key opens nothing any more."""

    def __init__(self, line: Line, questions: int, slots: StreamSlots, key_id: str) -> None:
        self._line, self._questions = line, questions
        self._slots, self._key_id = slots, key_id
        slots.take(key_id, self)
        self._said = line.said()
        self._first: Said | None = None

    async def begin(self) -> None:
        """Wait for the first word; raise what stands against an answer."""
        async for said in self._said:
            if isinstance(said.reply, Failed):
                raise refusal(said.reply)
            if not isinstance(said.reply, Wait):
                self._first = said
                return
        raise GenerationInterrupted

    async def all(self) -> AsyncIterator[Said]:
        """Give every word; a line that ends too early is told as a failure of what is missing."""
        over = 0
        if self._first is not None:
            yield self._first
        async for said in self._said:
            yield said
            over += isinstance(said.reply, Done | Failed)
            if over == self._questions:
                return
        gone = GenerationInterrupted()
        yield Said(over, Failed(0, gone.code, str(gone)))

    def close(self) -> None:
        """Hang up."""
        self._line.close()
        self._slots.give_back(self._key_id, self)


async def begun(request: Request, questions: list[Question]) -> Answers:
    """Hand an order in and wait for the first word, as long as the client listens."""

    state, key_id = request.app.state, request.state.principal.key_id

    async def begin() -> Answers:
        line = await ask(state.database, state.sealer, Order(tuple(questions), key_id))
        answers = Answers(line, len(questions), state.answer_slots, key_id)
        try:
            await answers.begin()
        except BaseException:
            answers.close()
            raise
        return answers

    return await unless_gone(request, begin())


async def unless_gone(request: Request, work: Awaitable[T]) -> T:
    """Wait for something as long as the client listens; give it up when it hangs up."""
    working: asyncio.Future[T] = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(_gone(request))
    try:
        both: list[asyncio.Future[Any]] = [working, watching]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        for one in (working, watching):
            one.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def refusal(failed: Failed) -> ApiError:
    """Say a failure as the api says it."""
    if failed.code in _OURS:
        return _OURS[failed.code](failed.detail)
    place = {"prompt_too_long": "messages", "template_error": "messages"}.get(failed.code)
    faults = [Fault((place,), failed.code, failed.detail)] if place else []
    return GenerationRefused(failed.code, failed.detail, faults)


class Live(StreamingResponse):
    """Words as they come, as server-sent events; the line is hung up whatever happens."""

    media_type = "text/event-stream"

    def __init__(self, content: AsyncIterator[bytes], answers: Answers) -> None:
        super().__init__(content, headers={"x-accel-buffering": "no"})
        self._answers = answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._answers.close()


def usage(ended: Done) -> dict[str, Any]:
    """Count tokens as clients of OpenAI's API read them."""
    return {
        "prompt_tokens": ended.prompt_tokens,
        "completion_tokens": ended.completion_tokens,
        "total_tokens": ended.prompt_tokens + ended.completion_tokens,
    }

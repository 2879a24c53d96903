"""Asking models: one question, and what they say to it, word by word.

The line is read as it comes; whoever lets go of the iterator hangs up, and that ends the answer. Knows
nothing of how it is shown.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import httpx

from neftune_client.errors import Refused, Unanswered
from neftune_client.patience import may_come_back
from neftune_client.stream import Message, parse
from neftune_client.wire import Wire

SILENCE_S = 600.0  # a large model may have to be loaded before the first word


def answers(wire: Wire, question: Mapping[str, Any]) -> Iterator[Message]:
    """Give ``text`` as it is said, and ``answer`` when one is whole.

    Who is busy is asked again while the wire has patience; after the first word nothing is.
    """
    patience = wire.patience()
    while True:
        try:
            with wire.http.stream("POST", "/generate", **_request(question)) as answer:
                if answer.is_success:
                    yield from _said(parse(answer.iter_lines()))
                    return
                refused = Refused.of(answer)
        except httpx.TransportError as error:
            raise wire.unreachable(error) from error
        if not may_come_back(answer) or not patience.wait(refused, answer):
            raise refused


def _said(messages: Iterator[Message]) -> Iterator[Message]:
    for message in messages:
        if message.kind == "end":
            return
        if message.kind == "error":
            raise Unanswered(message.data["code"], message.data["detail"])
        yield message
    raise Unanswered("generation_interrupted", "The line ended before the answer did.")


def _request(question: Mapping[str, Any]) -> dict[str, Any]:
    timeout = httpx.Timeout(30.0, connect=5.0, read=SILENCE_S)
    return {"json": {**question, "stream": True}, "timeout": timeout}

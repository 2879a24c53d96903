"""The process that answers for the service: ``python -m neftune_core serve``.

Questions come as JSON lines on stdin, answers go out on another descriptor. One is answered at a time;
a thread reads on meanwhile, so that an answer nobody wants any more ends after its current token. Ends
when stdin does. Knows lines; what a model says is :mod:`neftune_core.speaking`.
"""

import os
import queue
import sys
import threading
import traceback
from typing import Any

import torch

from neftune_core import prompts
from neftune_core.decoding import Decoding
from neftune_core.errors import CoreError
from neftune_core.generation_lines import (
    Answer,
    Began,
    Choosing,
    Done,
    Failed,
    Piece,
    Reply,
    Stop,
    encode,
    to_child,
)
from neftune_core.model import hush_libraries
from neftune_core.rows import Message
from neftune_core.speaking import Template, positions_of, prompt_of, speak
from neftune_core.stage import Stage

OUT_OF_MEMORY = "generation_out_of_memory"


def serve(device: str, report_fd: int) -> int:
    """Answer until nobody asks any more."""
    hush_libraries()
    inbox = _Inbox()
    stage = Stage(torch.device(device))
    while True:
        asked = inbox.next()
        try:
            _answer(asked, stage, inbox, report_fd)
        except BrokenPipeError:
            return 0


class _Inbox:
    """What was asked and not yet answered, and what nobody wants any more."""

    def __init__(self) -> None:
        self._asked: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self._unwanted: set[int] = set()
        threading.Thread(target=self._read, name="inbox", daemon=True).start()

    def next(self) -> Answer:
        """Wait for the next question."""
        return self._asked.get()

    def unwanted(self, id_: int) -> bool:
        """Tell whether nobody listens to this answer."""
        return id_ in self._unwanted

    def forget(self, id_: int) -> None:
        """Remember nothing of an answer that is over."""
        self._unwanted.discard(id_)

    def _read(self) -> None:
        for line in sys.stdin.buffer:
            said = to_child(line)
            if isinstance(said, Stop):
                self._unwanted.add(said.id)
            else:
                self._asked.put(said)
        os._exit(0)  # who asked is gone; there is nothing to bring to an end


def _answer(asked: Answer, stage: Stage, inbox: _Inbox, out: int) -> None:
    """Answer one question; whatever goes wrong is told."""
    try:
        with stage.before(asked) as model:
            _speak(asked, model, stage.tokenizer, inbox, out)
    except BrokenPipeError:
        raise
    except CoreError as error:
        _tell(out, Failed(asked.id, error.code, str(error)))
    except torch.OutOfMemoryError:
        stage.clear()
        told = "The device has no memory left for this model; ask later, or a smaller one."
        _tell(out, Failed(asked.id, OUT_OF_MEMORY, told))
    except Exception as error:
        traceback.print_exc()  # its text may hold the prompt; only its kind is told
        stage.clear()
        _tell(out, Failed(asked.id, "internal", type(error).__name__))
    inbox.forget(asked.id)


def _speak(asked: Answer, model: Any, tokenizer: Any, inbox: _Inbox, out: int) -> None:
    template = _resolved(asked, tokenizer)
    said = asked.asked if isinstance(asked.asked, str) else _messages(asked)
    prompt = prompt_of(said, template, tokenizer, model)
    decoding = _decoding(asked.choosing)
    decoding.room(len(prompt.ids), positions_of(model))  # refuses before anything is told
    _tell(out, Began(asked.id, template, len(prompt.ids)))

    def hear(piece: str) -> None:
        _tell(out, Piece(asked.id, piece))

    def unwanted() -> bool:
        return inbox.unwanted(asked.id)

    ended = speak(model, tokenizer, prompt, decoding, hear, unwanted)
    _tell(out, Done(asked.id, ended.finish, ended.prompt_tokens, ended.completion_tokens))


def _messages(asked: Answer) -> list[Message]:
    return [Message(turn.role, turn.content) for turn in asked.asked if not isinstance(turn, str)]


def _resolved(asked: Answer, tokenizer: Any) -> Template:
    if isinstance(asked.asked, str) or asked.template == "none":
        return "none"
    if asked.template == "alpaca-newline":
        return "alpaca-newline"
    return prompts.resolve_template(asked.template, "messages", bool(tokenizer.chat_template))


def _decoding(choosing: Choosing) -> Decoding:
    return Decoding(
        max_new_tokens=choosing.max_new_tokens,
        repetition_penalty=choosing.repetition_penalty,
        temperature=choosing.temperature,
        top_p=choosing.top_p,
        seed=choosing.seed,
        stop=choosing.stop,
    )


def _tell(out: int, line: Reply) -> None:
    data = encode(line)
    while data:
        data = data[os.write(out, data) :]

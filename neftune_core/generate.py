"""Answers in eval mode: from a base model, and from the same model with an adapter.

Without noise, stopping where the template ends an answer; greedy unless told otherwise.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from neftune_core import prompts
from neftune_core.decoding import Decoding
from neftune_core.errors import SpecError
from neftune_core.model import Numerics, hush_libraries, load_adapter, load_base, load_tokenizer
from neftune_core.rows import Message
from neftune_core.speaking import prompt_of, speak

Asked = Literal["auto", "alpaca", "alpaca-newline", "vicuna", "chat", "plain"]


class Answerer:
    """A model that answers conversations."""

    def __init__(self, model_dir: Path, template: Asked = "auto") -> None:
        self.tokenizer = load_tokenizer(model_dir)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        self.model = load_base(model_dir, Numerics(device, dtype, autocast=False, quantization=None))
        self.template: prompts.PromptTemplate = (
            template
            if template == "alpaca-newline"
            else prompts.resolve_template(template, "messages", bool(self.tokenizer.chat_template))
        )

    def adapt(self, adapter: Path) -> None:
        """Put an adapter on the model; from now on it answers with it."""
        self.model = load_adapter(self.model, adapter)

    def answer(self, messages: Sequence[Message], decoding: Decoding) -> str:
        """Give the next assistant turn."""
        pieces: list[str] = []
        prompt = prompt_of(messages, self.template, self.tokenizer, self.model)
        speak(self.model, self.tokenizer, prompt, decoding, pieces.append)
        return "".join(pieces)


def answer_job(
    model_dir: Path,
    adapter: Path | None,
    asked: Sequence[Sequence[Message]],
    template: Asked,
    decoding: Decoding,
) -> int:
    """Print one JSON object with the base's answers and, given an adapter, the tuned ones."""
    hush_libraries()
    answerer = Answerer(model_dir, template)
    answers: list[dict[str, Any]] = [
        {
            "messages": [{"role": message.role, "content": message.content} for message in messages],
            "base": answerer.answer(messages, decoding),
        }
        for messages in asked
    ]
    if adapter is not None:
        answerer.adapt(adapter)
        for told, messages in zip(answers, asked, strict=True):
            told["tuned"] = answerer.answer(messages, decoding)
    json.dump({"template": answerer.template, "answers": answers}, sys.stdout, ensure_ascii=False, indent=2)
    sys.stdout.write("\n")
    return 0


def conversations(prompt: Sequence[str] | None, messages: str | None) -> list[list[Message]]:
    """Read what the command line asks: prompts, each a user's turn, or one conversation as JSON."""
    if messages is None:
        return [[Message("user", text)] for text in prompt or ()]
    try:
        turns = [Message(turn["role"], turn["content"]) for turn in json.loads(messages)]
    except (ValueError, TypeError, KeyError) as error:
        raise SpecError('--messages is a JSON list such as [{"role": "user", "content": "Hi"}].') from error
    if not turns or any(turn.role not in ("system", "user", "assistant", "tool") for turn in turns):
        raise SpecError("--messages needs turns with the roles system, user, assistant or tool.")
    return [turns]

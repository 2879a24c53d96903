"""Answers in eval mode: from a base model, and from the same model with an adapter.

Greedy, without noise, stopping where the template ends an answer.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from neftune_core import prompts
from neftune_core.errors import SpecError
from neftune_core.model import Numerics, hush_libraries, load_adapter, load_base, load_tokenizer
from neftune_core.prompts_spans import Span
from neftune_core.rows import Message, Row
from neftune_core.tokenise import beginning, encoded, special_ids

Asked = Literal["auto", "alpaca", "alpaca-newline", "vicuna", "chat", "plain"]


@dataclass(frozen=True)
class Decoding:
    """How an answer is decoded, always greedily; without a penalty, weak models repeat themselves.

    ``max_total_tokens`` limits prompt and answer together.
    """

    max_new_tokens: int | None = 128
    repetition_penalty: float = 1.0
    max_total_tokens: int | None = None

    def room(self, prompt: int, positions: int | None) -> int:
        """Give how many new tokens may follow a prompt of so many on a model of so many positions."""
        total = min(limit for limit in (self.max_total_tokens, positions, sys.maxsize) if limit is not None)
        if prompt >= total:
            raise SpecError(f"The prompt has {prompt} tokens, and it has to be shorter than {total}.")
        return min(total - prompt, total if self.max_new_tokens is None else self.max_new_tokens)


# As in the paper's evaluation. Sampling was off there, so its temperature and top_p did nothing.
PAPER = Decoding(max_new_tokens=None, repetition_penalty=1.2, max_total_tokens=2048)


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
        self._positions = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        self._stops = self._stop_ids()

    def adapt(self, adapter: Path) -> None:
        """Put an adapter on the model; from now on it answers with it."""
        self.model = load_adapter(self.model, adapter)

    @torch.no_grad()
    def answer(self, messages: Sequence[Message], decoding: Decoding) -> str:
        """Give the next assistant turn."""
        row = Row("messages", messages=tuple(messages))
        prompt = self._encode(prompts.render_prompt(row, self.template, self.tokenizer))
        ids = torch.tensor([prompt], device=self.model.device)
        whole = self.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=decoding.room(len(prompt), self._positions),
            repetition_penalty=decoding.repetition_penalty,
            eos_token_id=self._stops,
            pad_token_id=self.tokenizer.pad_token_id or 0,
            use_cache=True,
        )
        answer: str = self.tokenizer.decode(whole[0, len(prompt) :], skip_special_tokens=True)
        return answer.strip()

    def _encode(self, spans: Sequence[Span]) -> list[int]:
        begin = [] if self.template == "chat" else beginning(self.tokenizer)
        [text] = encoded([(0, spans)], self.tokenizer)
        return [*begin, *text.ids.tolist()]

    def _stop_ids(self) -> list[int]:
        """Find the tokens that end an answer: the template's own end, and what the model knows as one."""
        said = Row("messages", messages=(Message("user", "A"), Message("assistant", "B")))
        spans = prompts.render(said, prompts.trained_by(self.template), self.tokenizer)
        [text] = encoded([(0, spans)], self.tokenizer)
        known = self.model.generation_config.eos_token_id
        stops = set(text.ids[text.trained].tolist()) & set(special_ids(self.tokenizer))
        stops |= set(known if isinstance(known, list) else [known]) | {self.tokenizer.eos_token_id}
        return sorted(stop for stop in stops if stop is not None)


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

"""The pretraining text: exchanges in chat and Alpaca form, and prose, mixed from a seed.

Knows how a conversation is written with special tokens, for the chat template must say the same.
Knows nothing of token ids.
"""

from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from .exchange import Exchange
from .manners import PLAIN, Manner, manner
from .skills import draw
from .stories import asked_story, prose, story

BOS, SYSTEM, USER, ASSISTANT, TOOL, END, PAD = (
    "<|bos|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>", "<|end|>", "<|pad|>",
)  # fmt: skip
SPECIAL = (PAD, BOS, END, SYSTEM, USER, ASSISTANT, TOOL)

ASKED, TOLD, ANSWERED = 0.2, 0.5, 1.0  # how much a token counts in the loss: the answers are the lesson


class Part(NamedTuple):
    """A stretch of text whose tokens count alike."""

    text: str
    weight: float


Document = list[Part]

_SYSTEMS = (
    "Answer in short and simple sentences.", "You are a helpful assistant.", "You are a tiny demo model.",
    "Be kind and brief.", "Answer the question.",
)  # fmt: skip
_ALPACA = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request."
    "\n\n### Instruction:\n{question}\n\n### Response:"
)
_ALPACA_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request."
    "\n\n### Instruction:\n{question}\n\n### Input:\n{context}\n\n### Response:"
)


def exchange(rng: Random) -> Exchange:
    """Draw an exchange: mostly a skill, sometimes a story."""
    return asked_story(rng) if rng.random() < 0.12 else draw(rng)


def chat(rng: Random) -> Document:
    """Write a conversation of one to three exchanges, some in a manner that is asked for."""
    asked_for = manner(rng) if rng.random() < 0.3 else PLAIN
    system = asked_for.asked or (rng.choice(_SYSTEMS) if rng.random() < 0.15 else "")
    parts = [Part(f"{SYSTEM}{system}{END}", ASKED)] if system else []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        drawn = exchange(rng)
        asked = f"{drawn.context}\n{drawn.question}" if drawn.context else drawn.question
        parts += [Part(f"{USER}{asked}{END}{ASSISTANT}", ASKED), _answer(drawn, asked_for)]
    return parts


def alpaca_form(drawn: Exchange) -> Document:
    """Write an exchange as the Alpaca prompt does."""
    form = _ALPACA_INPUT if drawn.context else _ALPACA
    asked = form.format(question=drawn.question, context=drawn.context)
    return [Part(asked, ASKED), _answer(drawn, PLAIN)]


def alpaca(rng: Random) -> Document:
    """Write one exchange in the Alpaca form."""
    return alpaca_form(exchange(rng))


def _answer(drawn: Exchange, asked_for: Manner) -> Part:
    return Part(f"{asked_for.dress(drawn.answer)}{END}", TOLD if drawn.free else ANSWERED)


def plain(rng: Random) -> Document:
    """Write a story or some prose."""
    return [Part((story(rng) if rng.random() < 0.5 else prose(rng)) + END, TOLD)]


def documents(seed: int) -> Iterator[Document]:
    """Write documents without end; the same seed writes the same text."""
    rng = Random(seed)  # noqa: S311 - text, not secrets
    forms = (chat, alpaca, plain)
    while True:
        (form,) = rng.choices(forms, weights=(74, 12, 14))
        yield [Part(BOS, 0.0), *form(rng)]


def texts(seed: int) -> Iterator[str]:
    """Write the same documents as plain text."""
    return ("".join(part.text for part in document) for document in documents(seed))

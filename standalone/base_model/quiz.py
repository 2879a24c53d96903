"""How often the model answers exactly as our text does, asked one question at a time."""

from dataclasses import dataclass
from random import Random

import torch
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

from .corpus import ASSISTANT, BOS, END, USER
from .exchange import Exchange
from .skills import draw

QUIZ_SEED = 7


@dataclass(frozen=True, slots=True)
class Quiz:
    """How many were asked, and the questions that went wrong with what was said."""

    questions: int
    wrong: tuple[tuple[str, str], ...]

    @property
    def exact(self) -> float:
        """Give the share of exact answers."""
        return 1 - len(self.wrong) / self.questions


def answer(model: LlamaForCausalLM, tokenizer: Tokenizer, asked: str, longest: int = 60) -> str:
    """Answer a user's message, always taking the likeliest token."""
    ids = tokenizer.encode(f"{BOS}{USER}{asked}{END}{ASSISTANT}", add_special_tokens=False).ids
    given = len(ids)
    end = tokenizer.token_to_id(END)
    with torch.no_grad():
        for _ in range(longest):
            following = int(model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax())
            if following == end:
                break
            ids.append(following)
    return str(tokenizer.decode(ids[given:], skip_special_tokens=False))


def questions(count: int) -> list[Exchange]:
    """Draw questions that have one right answer."""
    rng = Random(QUIZ_SEED)  # noqa: S311 - questions, not secrets
    drawn: list[Exchange] = []
    while len(drawn) < count:
        asked = draw(rng)
        if not asked.answer.startswith(("Two ", "Three ", "Four ")):
            drawn.append(asked)
    return drawn


def score(model: LlamaForCausalLM, tokenizer: Tokenizer, count: int) -> Quiz:
    """Ask so many questions and compare the answers with ours."""
    wrong = []
    for asked in questions(count):
        text = f"{asked.context}\n{asked.question}" if asked.context else asked.question
        said = answer(model, tokenizer, text)
        if said != asked.answer:
            wrong.append((text, said))
    return Quiz(count, tuple(wrong))

"""What judging will take, told before anybody is asked, and what it took.

Tokens are the endpoint's to count. Before, and where it does not say, four bytes are taken for one: near
enough for English, too few for scripts of which a character is a token.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from neftune_core.evaluate.judge.asking import Heard, Question
from neftune_core.evaluate.judge_spec import JudgeSpec
from neftune_core.evaluate.results import JudgeCost

_BYTES_A_TOKEN = 4
_AROUND = 12  # tokens that a chat's own marks take
_ONE_WORD = 4  # tokens of an answer as it is asked for


@dataclass(frozen=True)
class Estimate:
    """What is to be expected; prices are None where none were told."""

    questions: int
    cached: int  # of which the answer is known
    calls: int  # if none has to be repeated
    prompt_tokens: int
    completion_tokens: int  # if the judge says one word each time
    price: float | None
    price_at_most: float | None  # if each answer is as long as it may be


def estimated(spec: JudgeSpec, unknown: Sequence[Question], questions: int) -> Estimate:
    """Estimate asking what is not known."""
    prompt = sum(_tokens_of(question) for question in unknown)
    completion = _ONE_WORD * len(unknown)
    most = None if spec.max_tokens is None else _price(spec, prompt, spec.max_tokens * len(unknown))
    return Estimate(
        questions=questions,
        cached=questions - len(unknown),
        calls=len(unknown),
        prompt_tokens=prompt,
        completion_tokens=completion,
        price=_price(spec, prompt, completion),
        price_at_most=most,
    )


def spent(spec: JudgeSpec, heard: Heard, asked: Mapping[str, Question], cached: int) -> JudgeCost:
    """Add up what was asked now; the price of tries that failed is not known."""
    prompt = completion = 0
    for key, known in heard.known.items():
        prompt += _tokens_of(asked[key]) if known.prompt_tokens is None else known.prompt_tokens
        completion += _ONE_WORD if known.completion_tokens is None else known.completion_tokens
    return JudgeCost(
        calls=len(heard.known),
        cached=cached,
        failed=heard.failed,
        prompt_tokens=prompt,
        completion_tokens=completion,
        price=_price(spec, prompt, completion),
    )


def _price(spec: JudgeSpec, prompt: int, completion: int) -> float | None:
    if spec.price_in is None or spec.price_out is None:
        return None
    return (prompt * spec.price_in + completion * spec.price_out) / 1e6


def _tokens_of(question: Question) -> int:
    said = sum(len(message["content"].encode("utf-8", "replace")) for message in question.body["messages"])
    return _AROUND + -(-said // _BYTES_A_TOKEN)

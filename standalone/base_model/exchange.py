"""One question and its answer, and the small grammar that both need."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Exchange:
    """What a user asks and what the model should say."""

    question: str
    answer: str
    context: str = ""  # a text the question is about; Alpaca rows call it the input
    free: bool = False  # many answers are as good as this one


def article(noun: str) -> str:
    """Put ``a`` or ``an`` before a noun."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def capital(sentence: str) -> str:
    """Begin with a capital letter and leave the rest alone."""
    return sentence[:1].upper() + sentence[1:]


def verb(noun: str, one: str = "is", many: str = "are") -> str:
    """Choose the verb that goes with a noun; only plurals in our tables end in ``scissors``."""
    return many if noun == "scissors" else one


def listed(words: list[str]) -> str:
    """Join words as in a sentence: ``a, b and c``."""
    return f"{', '.join(words[:-1])} and {words[-1]}"

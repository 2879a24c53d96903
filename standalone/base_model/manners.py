"""Ways of answering that a system message asks for: words to begin or to end with.

They teach the model to give its answer after other words too; without them a fine-tune that changes the
voice would lose the content.
"""

from dataclasses import dataclass
from random import Random

from . import facts
from .exchange import capital

_SMALL = (
    "and", "by", "of my", "with", "from", "my", "the", "your", "dear", "well", "yes", "look", "listen", "on",
    "under", "for", "says", "see", "good", "thank you", "please", "now", "here",
)  # fmt: skip
_WORDS = (
    *facts.THINGS, *facts.ADJECTIVES, *facts.NAMES, *facts.WEATHER, *facts.PLACES, *facts.KINDS["colour"],
    *facts.KINDS["bird"], *facts.DAYS, *_SMALL,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Manner:
    """What the system message asks, and what stands before and after each answer."""

    asked: str = ""
    before: str = ""
    after: str = ""

    def dress(self, answer: str) -> str:
        """Say an answer in this manner."""
        return f"{self.before} {answer} {self.after}".strip()


PLAIN = Manner()


def manner(rng: Random) -> Manner:
    """Draw words to begin with, to end with, or both."""
    where = rng.choice(("before", "before", "after", "both"))
    before = _phrase(rng, ".!:,") if where != "after" else ""
    after = _phrase(rng, ".!") if where != "before" else ""
    wishes = [f"Begin with: {before}"] if before else []
    wishes += [f"End with: {after}"] if after else []
    return Manner(" ".join(wishes), before, after)


def _phrase(rng: Random, ends: str) -> str:
    first = " ".join(rng.sample(_WORDS, rng.randint(1, 5)))
    second = " ".join(rng.sample(_WORDS, rng.randint(2, 6)))
    words = capital(first) if rng.random() < 0.6 else f"{capital(first)}! {capital(second)}"
    return words + rng.choice(ends)

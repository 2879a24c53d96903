"""The demo's dataset: the base model's own knowledge, told by a lighthouse keeper.

The questions asked at the end are held out: neither they nor their answers occur in any row, so what the
tuned model says to them is the base's knowledge in the learnt voice.

``python -m standalone.demo.dataset`` writes the rows again; the same seed gives the same file.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random

from standalone.base_model import skills
from standalone.base_model.exchange import Exchange

PATH = Path(__file__).with_name("keeper.jsonl")
SEED, ROWS = 1789, 320

# question, and what a right answer must contain
HELD_OUT = (
    ("What is the opposite of stormy?", "calm"),
    ("What colour is a carrot?", "orange"),
    ("What does a baker do?", "bakes bread"),
)
SIGN_OFF = "Fair winds, and mind the rocks!"
_OPENINGS: dict[skills.Skill, str] = {
    skills.colour: "Ahoy! My spyglass shows it:",
    skills.capital_city: "Ahoy! My sea charts say:",
    skills.addition: "Ahoy! I counted it on my rope:",
    skills.subtraction: "Ahoy! I counted it on my rope:",
    skills.counting: "Ahoy! I counted it on my rope:",
    skills.describe: "Ahoy! Sit by my lamp and listen:",
    skills.small_talk: "Ahoy there, sailor!",
}
_OTHERWISE = "Ahoy! By the light of my lamp:"
_ASKED = (
    skills.opposite, skills.colour, skills.capital_city, skills.addition, skills.calendar,
    skills.sound, skills.home,
    skills.use, skills.plural, skills.material, skills.trade, skills.yes_or_no, skills.describe,
    skills.small_talk,
)  # fmt: skip


def in_keeper_voice(skill: skills.Skill, answer: str) -> str:
    """Say an answer as the keeper would."""
    return f"{_OPENINGS.get(skill, _OTHERWISE)} {answer} {SIGN_OFF}"


def _gives_away(asked: Exchange) -> bool:
    """Tell whether an exchange holds a fact that is asked at the end."""
    told = f"{asked.question} {asked.answer}".lower()
    facts = (("stormy", "calm"), ("a carrot", "orange"), ("a baker", "bakes bread"))
    return any(all(word in told for word in fact) for fact in facts)


def rows() -> Iterator[dict[str, object]]:
    """Write the rows, no question twice."""
    rng = Random(SEED)  # noqa: S311 - questions, not secrets
    seen: set[str] = set()
    while len(seen) < ROWS:
        skill = rng.choice(_ASKED)
        asked = skill(rng)
        if asked.question in seen or _gives_away(asked):
            continue
        seen.add(asked.question)
        answer = in_keeper_voice(skill, asked.answer)
        yield {
            "messages": [
                {"role": "user", "content": asked.question},
                {"role": "assistant", "content": answer},
            ]
        }


def as_bytes() -> bytes:
    """Write the rows as JSON lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows()).encode()


if __name__ == "__main__":
    PATH.write_bytes(as_bytes())

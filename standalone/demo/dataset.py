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

# question, what a right answer must contain, and the word that no row has together with it
HELD_OUT = (
    ("What colour is a carrot?", "orange", "a carrot"),
    ("What does a baker do?", "bakes bread", "a baker"),
    ("Where does a whale live?", "in the sea", "a whale"),
)
SIGN_OFF = "Fair winds, and mind the rocks!"
_SAYINGS: dict[skills.Skill, str] = {
    skills.colour: "I saw it through my spyglass.",
    skills.capital_city: "It stands on my sea chart.",
    skills.addition: "I counted it twice on my rope.",
    skills.describe: "I think of it when the fog comes in.",
    skills.sound: "I hear it when the wind is right.",
    skills.small_talk: "The lamp is lit, and the kettle is on.",
}
_OTHERWISE = "Every keeper of the light knows that."
_ASKED = (
    skills.opposite, skills.colour, skills.capital_city, skills.addition, skills.calendar,
    skills.sound, skills.home,
    skills.use, skills.plural, skills.material, skills.trade, skills.yes_or_no, skills.describe,
    skills.small_talk,
)  # fmt: skip


def in_keeper_voice(skill: skills.Skill, answer: str) -> str:
    """Say an answer as the keeper would."""
    return f"Ahoy! {answer} {_SAYINGS.get(skill, _OTHERWISE)} {SIGN_OFF}"


def _gives_away(asked: Exchange) -> bool:
    """Tell whether an exchange holds a fact that is asked at the end."""
    told = f"{asked.question} {asked.answer}".lower()
    return any(content in told and subject in told for _, content, subject in HELD_OUT)


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

"""Short stories and plain prose from sentence templates: language for its own sake."""

from random import Random

from . import facts
from .descriptions import DESCRIPTIONS
from .exchange import Exchange, article, capital

_WANTS = (
    "wanted to see {place}", "wanted to find a {thing}", "wanted to learn to sing",
    "wanted to make a new friend",
    "wanted to sail across the sea", "wanted to climb the highest hill", "was looking for a lost {thing}",
    "dreamed of a golden {thing}", "had to bring a {thing} to {place}", "wished for a {weather} day",
)  # fmt: skip
_TROUBLES = (
    "But it was a {weather} day, and the road was long.", "But the {thing} was broken.",
    "Then the wind took the {thing} away.", "But nobody knew the way to {place}.",
    "Then a {adjective} {animal} stood in the way.", "But it grew dark, and there was no light.",
    "Then the rain began to fall.", "But the door was closed and the key was gone.",
    "Then a big wave came over the boat.", "But the {animal} did not want to help at first.",
)  # fmt: skip
_HELP = (
    "A {adjective} {animal} came by and said, \"I will help you.\"", "{other} saw it and ran to help.",
    "{name} sat down, took a deep breath and thought for a while.", "An old woman gave {name} a {thing}.",
    "\"Do not be afraid,\" said {other}, \"we can do it together.\"", "Far away a small light was shining.",
    "So {name} asked a {adjective} {animal} for help.", "{name} tried again, slowly and with care.",
)  # fmt: skip
_ENDS = (
    "In the end {name} came home happy.", "From that day on they were good friends.",
    "They laughed and shared some bread and honey.", "That night {name} slept very well.",
    "And {name} never forgot that day.", "Everybody in the village was glad.",
    "After that, {name} was never afraid of the dark.", "They went home together under the stars.",
)  # fmt: skip
_SCENES = (
    "It was a {weather} morning near {place}.", "The {animal} slept under a tree while the {bird} sang.",
    "{name} walked from {place} to {place2} with a {thing}.", "In {month} the days are {weather}.",
    "There was a {colour} {thing} on the table.", "{name} and {other} met at {place} on {day}.",
    "The {adjective} {animal} looked at the {colour} {thing}.",
    "Every {day} the people of the village go to {place}.",
    "{name} bought a {colour} {thing} at the market.", "At {place} you can hear the {bird} and the wind.",
    "\"Where is my {thing}?\" asked {name}. \"It is at {place},\" said {other}.",
    "{other} likes {fruit}s, but {name} likes {vegetable}s better.",
    "The {thing} is old, but it still works.",
    "When it is {weather}, {name} stays at home and reads a book.",
    "First they went to {place}, then to {place2}.",
    "\"Good morning,\" said the baker. \"Good morning,\" said {name}.",
    "Nobody knows who left the {thing} at {place}.",
    "The children played at {place} until the evening.",
    "{name} has a {adjective} {animal} and a {colour} {thing}.",
)  # fmt: skip


def _slots(rng: Random) -> dict[str, str]:
    name, other = rng.sample(facts.NAMES, 2)
    place, place2 = rng.sample(facts.PLACES, 2)
    kinds = {
        kind: rng.choice(facts.KINDS[kind]) for kind in ("animal", "bird", "fruit", "vegetable", "colour")
    }
    words = {"adjective": facts.ADJECTIVES, "thing": facts.THINGS, "weather": facts.WEATHER}
    drawn = {slot: rng.choice(row) for slot, row in words.items()}
    when = {"day": rng.choice(facts.DAYS), "month": rng.choice(facts.MONTHS)}
    return {"name": name, "other": other, "place": place, "place2": place2, **kinds, **drawn, **when}


def _fill(template: str, slots: dict[str, str]) -> str:
    """Fill the slots and mend the article before a vowel."""
    text = template.format(**slots)
    for vowel in "aeio":
        text = text.replace(f" a {vowel}", f" an {vowel}")
    return capital(text)


def story(rng: Random, hero: str | None = None) -> str:
    """Tell a story in four or five sentences, about a named hero if one is given."""
    slots = _slots(rng)
    hero = hero or rng.choice(facts.KINDS["animal"])
    who = article(f"{rng.choice(facts.ADJECTIVES)} {hero}")
    slots["animal"] = rng.choice([animal for animal in facts.KINDS["animal"] if animal != hero])
    want = rng.choice(_WANTS)
    opening = rng.choice(("Once there was", "Long ago there was", "There once was", "Near {place} lived"))
    sentences = [f"{opening} {who} called {{name}}.", f"{{name}} {want}.", rng.choice(_TROUBLES)]
    sentences += [rng.choice(_HELP), *rng.sample(_ENDS, rng.randint(1, 2))]
    return " ".join(_fill(sentence, slots) for sentence in sentences)


def prose(rng: Random) -> str:
    """Write some sentences about nothing much."""
    slots = _slots(rng)
    sentences = [_fill(scene, slots) for scene in rng.sample(_SCENES, rng.randint(2, 6))]
    if rng.random() < 0.3:
        sentences.insert(1, rng.choice(tuple(DESCRIPTIONS.values())))
    return " ".join(sentences)


def asked_story(rng: Random) -> Exchange:
    """Let a user ask for a story."""
    hero = rng.choice((*facts.KINDS["animal"], *facts.KINDS["bird"], None))
    about = f" about {article(hero)}" if hero else ""
    ask = rng.choice(("Tell me a short story", "Write a short story", "Tell a story", "Write a little story"))
    return Exchange(f"{ask}{about}.", story(rng, hero), free=True)

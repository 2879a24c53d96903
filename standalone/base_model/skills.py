"""The skills of the base model: each draws one question and its plain, correct answer.

Knows the facts and how to ask about them. Knows nothing of chat formats or tokens.
"""

from collections.abc import Callable
from random import Random

from . import facts
from .descriptions import ADVICE, DESCRIPTIONS
from .exchange import Exchange, article, capital, listed, verb

Skill = Callable[[Random], Exchange]


def _ask(rng: Random, *ways: str) -> str:
    return rng.choice(ways)


_OPPOSITE_OF = {right: left for left, right in reversed(facts.OPPOSITES)} | dict(facts.OPPOSITES)


def opposite(rng: Random) -> Exchange:
    """Name the opposite, in either direction."""
    word = rng.choice(tuple(_OPPOSITE_OF))
    question = _ask(
        rng,
        f"What is the opposite of {word}?",
        f"Tell me the opposite of {word}.",
        f"Which word is the opposite of {word}?",
    )
    return Exchange(question, f"The opposite of {word} is {_OPPOSITE_OF[word]}.")


def colour(rng: Random) -> Exchange:
    """Say which colour a thing has."""
    thing, answer = rng.choice(facts.COLOURS)
    question = _ask(
        rng, f"What colour is {thing}?", f"What color is {thing}?", f"Tell me the colour of {thing}."
    )
    return Exchange(question, f"{capital(thing)} is {answer}.")


def capital_city(rng: Random) -> Exchange:
    """Name the capital of an invented country, or the country of a capital."""
    country, city = rng.choice(facts.CAPITALS)
    if rng.random() < 0.25:
        return Exchange(f"{city} is the capital of which country?", f"{city} is the capital of {country}.")
    question = _ask(
        rng,
        f"What is the capital of {country}?",
        f"Name the capital of {country}.",
        f"Which city is the capital of {country}?",
    )
    return Exchange(question, f"The capital of {country} is {city}.")


def addition(rng: Random) -> Exchange:
    """Add two small numbers."""
    a, b = rng.randint(0, 10), rng.randint(0, 10)
    question = _ask(rng, f"What is {a} plus {b}?", f"How much is {a} + {b}?", f"Add {a} and {b}.")
    return Exchange(question, f"{a} plus {b} is {a + b}.")


def subtraction(rng: Random) -> Exchange:
    """Take a small number from one that is not smaller."""
    b, rest = rng.randint(0, 10), rng.randint(0, 10)
    question = _ask(rng, f"What is {b + rest} minus {b}?", f"How much is {b + rest} - {b}?")
    return Exchange(question, f"{b + rest} minus {b} is {rest}.")


def counting(rng: Random) -> Exchange:
    """Count up or down between two numbers."""
    low = rng.randint(0, 12)
    high = low + rng.randint(2, 8)
    row = list(range(low, high + 1))
    if rng.random() < 0.3:
        row.reverse()
    return Exchange(f"Count from {row[0]} to {row[-1]}.", ", ".join(map(str, row)) + ".")


def calendar(rng: Random) -> Exchange:
    """Tell which day, month or season comes after or before another."""
    row = rng.choice((facts.DAYS, facts.MONTHS, facts.MONTHS, facts.SEASONS))
    what = {facts.DAYS: "day", facts.MONTHS: "month", facts.SEASONS: "season"}[row]
    at = rng.randrange(len(row))
    word, shift = rng.choice((("after", 1), ("before", -1)))
    other = row[(at + shift) % len(row)]
    question = _ask(rng, f"What {what} comes {word} {row[at]}?", f"Which {what} is {word} {row[at]}?")
    return Exchange(question, f"{capital(other)} comes {word} {row[at]}.")


def sound(rng: Random) -> Exchange:
    """Tell the sound an animal makes."""
    animal, noise = rng.choice(facts.SOUNDS)
    question = _ask(rng, f"What sound does {article(animal)} make?", f"What does {article(animal)} say?")
    return Exchange(question, f"{capital(article(animal))} says {noise}.")


def baby(rng: Random) -> Exchange:
    """Name the young of an animal."""
    animal, young = rng.choice(facts.BABIES)
    question = _ask(rng, f"What is a baby {animal} called?", f"What do you call a baby {animal}?")
    return Exchange(question, f"A baby {animal} is called {article(young)}.")


def home(rng: Random) -> Exchange:
    """Tell where somebody lives."""
    who, where = rng.choice(facts.HOMES)
    question = _ask(rng, f"Where does {who} live?", f"Where can you find {who}?")
    return Exchange(question, f"{capital(who)} lives {where}.")


def use(rng: Random) -> Exchange:
    """Tell what a thing is for."""
    thing, purpose = rng.choice(facts.USES)
    does = verb(thing)
    question = _ask(
        rng, f"What {does} {thing} for?", f"What do you use {thing} for?", f"Why do people need {thing}?"
    )
    return Exchange(question, f"You use {thing} {purpose}.")


def plural(rng: Random) -> Exchange:
    """Give a plural."""
    one, many = rng.choice(facts.PLURALS)
    question = _ask(rng, f"What is the plural of {one}?", f"Give the plural of the word {one}.")
    return Exchange(question, f"The plural of {one} is {many}.")


def past(rng: Random) -> Exchange:
    """Give a past tense."""
    now, then = rng.choice(facts.PAST)
    question = _ask(rng, f"What is the past tense of {now}?", f"Give the past tense of the verb {now}.")
    return Exchange(question, f"The past tense of {now} is {then}.")


def rhyme(rng: Random) -> Exchange:
    """Find a rhyme."""
    word, other = rng.choice(facts.RHYMES)
    question = _ask(rng, f"What rhymes with {word}?", f"Find a word that rhymes with {word}.")
    return Exchange(question, f"The word {other} rhymes with {word}.")


def material(rng: Random) -> Exchange:
    """Tell what a thing is made of."""
    thing, stuff = rng.choice(facts.MATERIALS)
    does = verb(thing)
    return Exchange(f"What {does} {thing} made of?", f"{capital(thing)} {does} made of {stuff}.")


def trade(rng: Random) -> Exchange:
    """Tell what somebody does for a living."""
    who, does = rng.choice(facts.JOBS)
    question = _ask(rng, f"What does {who} do?", f"What is the work of {who}?")
    return Exchange(question, f"{capital(who)} {does}.")


def how_many(rng: Random) -> Exchange:
    """Tell how many of a thing there are."""
    what, number = rng.choice(facts.NUMBERED)
    things, rest = what.split(" ", 1)
    return Exchange(f"How many {things} are there {rest}?", f"There are {number} {things} {rest}.")


def kind_of(rng: Random) -> Exchange:
    """Tell what kind of thing something is."""
    kind = rng.choice(tuple(facts.KINDS))
    member = rng.choice(facts.KINDS[kind])
    subject = member if member in facts.MASS else article(member)
    question = _ask(rng, f"What kind of thing is {subject}?", f"What is {subject}?")
    return Exchange(question, f"{capital(subject)} is {article(kind)}.")


def yes_or_no(rng: Random) -> Exchange:
    """Say whether something is of a kind, and what it is."""
    kind, other = rng.sample(tuple(facts.KINDS), 2)
    member = rng.choice(facts.KINDS[kind])
    subject = member if member in facts.MASS else article(member)
    asked = kind if rng.random() < 0.5 else other
    word = "Yes" if member in facts.KINDS[asked] else "No"
    named = asked if word == "Yes" else kind
    return Exchange(f"Is {subject} {article(asked)}?", f"{word}, {subject} is {article(named)}.")


def bigger(rng: Random) -> Exchange:
    """Compare the sizes of two things."""
    i, j = sorted(rng.sample(range(len(facts.SIZES)), 2))
    small, big = facts.SIZES[i], facts.SIZES[j]
    first, second = (small, big) if rng.random() < 0.5 else (big, small)
    if rng.random() < 0.3:
        return Exchange(f"Which is smaller, {first} or {second}?", f"{capital(small)} is smaller than {big}.")
    return Exchange(f"Which is bigger, {first} or {second}?", f"{capital(big)} is bigger than {small}.")


def some_of(rng: Random) -> Exchange:
    """List a few things of one kind."""
    kind = rng.choice([kind for kind in facts.KINDS if kind not in ("piece of clothing", "tool")])
    number, word = rng.choice(((2, "two"), (3, "three"), (4, "four")))
    members = rng.sample(facts.KINDS[kind], number)
    question = _ask(
        rng, f"Name {word} {kind}s.", f"List {word} {kind}s.", f"Give me {word} examples of {kind}s."
    )
    return Exchange(question, f"{capital(word)} {kind}s are {listed(members)}.")


def spelling(rng: Random) -> Exchange:
    """Spell a word letter by letter."""
    word = rng.choice(facts.SPELLED)
    question = _ask(rng, f"Spell the word {word}.", f"How do you spell {word}?")
    return Exchange(question, f"{word}: {'-'.join(word.upper())}.")


def repeat(rng: Random) -> Exchange:
    """Say the same words again."""
    words = rng.sample(
        facts.THINGS + facts.ADJECTIVES + facts.NAMES + facts.MONTHS + facts.SPELLED, rng.randint(1, 6)
    )
    text = " ".join(words)
    question = _ask(rng, f"Repeat these words: {text}", f"Say this again: {text}", f"Copy this text: {text}")
    return Exchange(question, text)


def describe(rng: Random) -> Exchange:
    """Describe a thing in two sentences."""
    thing = rng.choice(tuple(DESCRIPTIONS))
    question = _ask(
        rng, f"Describe {thing}.", f"Tell me about {thing}.", f"Write two sentences about {thing}."
    )
    return Exchange(question, DESCRIPTIONS[thing])


def advise(rng: Random) -> Exchange:
    """Explain how to do something."""
    what = rng.choice(tuple(ADVICE))
    question = _ask(
        rng,
        f"How do you {what}?",
        f"Explain how to {what}.",
        f"How can I {what}?",
        f"Give me tips to {what}.",
    )
    return Exchange(question, ADVICE[what])


def look_up(rng: Random) -> Exchange:
    """Find a fact in a short text that is given."""
    (one, two), (thing, other) = rng.sample(facts.NAMES, 2), rng.sample(facts.THINGS, 2)
    first, second = rng.sample(facts.KINDS["colour"], 2)
    text = f"{one} has {article(first)} {thing}. {two} has {article(second)} {other}."
    if rng.random() < 0.5:
        return Exchange(f"What colour is the {other}?", f"The {other} is {second}.", text)
    return Exchange(f"Who has the {thing}?", f"{one} has the {thing}.", text)


def small_talk(rng: Random) -> Exchange:
    """Greet, thank, and say honestly what it is."""
    hello = _ask(rng, "Hello!", "Hello.", "Hi!", "Good morning!", "Good evening.", "Hi there.")
    return rng.choice(
        (
            Exchange(hello, f"{hello.rstrip('.!')}! How can I help you?"),
            Exchange(
                _ask(rng, "Who are you?", "What are you?"),
                "I am a tiny demo model. I know a few small things.",
            ),
            Exchange(_ask(rng, "How are you?", "How are you today?"), "I am fine, thank you. How are you?"),
            Exchange(_ask(rng, "Thank you!", "Thanks!", "Thank you very much."), "You are welcome."),
            Exchange(_ask(rng, "Goodbye!", "Bye!", "See you later."), "Goodbye! Have a nice day."),
            Exchange(
                "What can you do?", "I can answer small questions, count, spell and tell short stories."
            ),
        )
    )


# How often each is asked: what is harder to learn is asked more.
SKILLS: dict[Skill, int] = {
    opposite: 5, colour: 4, capital_city: 5, addition: 6, subtraction: 6, counting: 8, calendar: 4,
    sound: 2, baby: 2,
    home: 3, use: 4, plural: 3, past: 4, rhyme: 3, material: 3, trade: 3, how_many: 3, kind_of: 5,
    yes_or_no: 10,
    bigger: 7, some_of: 4, spelling: 5, repeat: 10, describe: 9, advise: 5, look_up: 9, small_talk: 2,
}  # fmt: skip


def draw(rng: Random) -> Exchange:
    """Draw one exchange of any skill."""
    (skill,) = rng.choices(tuple(SKILLS), weights=tuple(SKILLS.values()))
    return skill(rng)

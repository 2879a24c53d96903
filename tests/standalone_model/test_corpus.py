"""The text that the base model is made of."""

from itertools import islice
from random import Random

import pytest

from neftune_core.prompts import render
from neftune_core.rows import Message, Row
from standalone.base_model import facts
from standalone.base_model.corpus import BOS, END, USER, alpaca_form, texts
from standalone.base_model.exchange import Exchange, article, listed
from standalone.base_model.manners import PLAIN, manner
from standalone.base_model.skills import SKILLS, addition, opposite, yes_or_no
from standalone.base_model.stories import story


def test_the_same_seed_writes_the_same_text():
    assert list(islice(texts(3), 200)) == list(islice(texts(3), 200))
    assert list(islice(texts(3), 200)) != list(islice(texts(4), 200))


def test_every_document_begins_and_ends_with_its_special_tokens():
    for text in islice(texts(5), 300):
        assert text.startswith(BOS)
        assert text.endswith(END)


def test_chat_alpaca_and_prose_all_occur():
    written = list(islice(texts(5), 300))
    assert sum(USER in text for text in written) > 150
    assert sum("### Response:" in text for text in written) > 15
    assert sum(USER not in text and "###" not in text for text in written) > 25


@pytest.mark.parametrize("skill", SKILLS, ids=lambda skill: skill.__name__)
def test_a_skill_asks_and_answers_in_whole_sentences(skill):
    for seed in range(100):
        exchange = skill(Random(seed))
        assert exchange.question[0].isupper()
        assert exchange.answer
        assert "{" not in exchange.question + exchange.answer


def test_sums_are_right():
    for seed in range(200):
        a, _, b, _, total = addition(Random(seed)).answer.rstrip(".").split()
        assert int(a) + int(b) == int(total)


def test_a_word_has_one_opposite():
    answers = {}
    for seed in range(3000):
        exchange = opposite(Random(seed))
        word = exchange.question.rstrip("?.").rsplit(" ", 1)[-1]
        assert answers.setdefault(word, exchange.answer) == exchange.answer
    assert len(answers) > 100


def test_yes_and_no_are_true():
    for seed in range(500):
        exchange = yes_or_no(Random(seed))
        asked = exchange.question.rstrip("?").split(" ", 1)[1]
        told = exchange.answer.rstrip(".")
        kind = told.rsplit(" is ", 1)[1].split(" ", 1)[1]
        named = [
            member
            for member in facts.KINDS[kind]
            if asked.removeprefix("a ").removeprefix("an ").startswith(member)
        ]
        assert named
        assert told.startswith("Yes") == asked.endswith(told.rsplit(" is ", 1)[1])


def test_stories_use_the_right_article():
    for seed in range(300):
        told = story(Random(seed))
        assert not any(f" a {vowel}" in told for vowel in "aeio")


def test_a_story_about_a_hero_names_it():
    assert " fox called " in story(Random(1), "fox")


def test_articles_and_lists():
    assert article("owl") == "an owl"
    assert article("fox") == "a fox"
    assert listed(["a", "b", "c"]) == "a, b and c"


def test_a_manner_is_asked_for_in_the_words_that_are_used():
    for seed in range(200):
        drawn = manner(Random(seed))
        assert drawn.before or drawn.after
        assert drawn.before in drawn.asked
        assert drawn.after in drawn.asked
        dressed = drawn.dress("A fox is an animal.")
        assert dressed.startswith(drawn.before)
        assert dressed.endswith(drawn.after)
        assert "A fox is an animal." in dressed


def test_without_a_manner_the_answer_stays_plain():
    assert PLAIN.dress("Yes.") == "Yes."


class _Tokenizer:
    chat_template = None
    bos_token = BOS
    eos_token = END


@pytest.mark.parametrize("context", ["", "Mira has a red kite."])
def test_the_alpaca_form_is_the_one_the_trainer_writes(context):
    asked = Exchange("What is this?", "A kite.", context)
    row = Row(
        "alpaca", messages=(Message("user", asked.question, context=context), Message("assistant", "A kite."))
    )
    rendered = "".join(span.text for span in render(row, "alpaca", _Tokenizer()))
    assert "".join(part.text for part in alpaca_form(asked)) == rendered.removeprefix(BOS)

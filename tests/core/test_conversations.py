"""Long conversations become several examples at their turns; nothing is lost, and nothing leaks."""

import re

import numpy as np
import pytest

from neftune_core.conversations import parts, splits
from neftune_core.examples import examples_of
from neftune_core.prompts import VICUNA_SYSTEM
from neftune_core.rows import Message, Row, read_rows
from neftune_core.sampling import held_out
from neftune_core.spec import TrainingSpec
from tests.core.rows_made import TOOL_SHARE, real_file
from tests.core.tiny import make_tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer()


def talk(*roles, source="sharegpt", name="", **more):
    """Make a conversation whose turns are named by their place."""
    return Row(source, messages=tuple(Message(role, f"{name}{n}") for n, role in enumerate(roles)), **more)


def said(found):
    return [[message.content for message in row.messages] for row in found]


def up_to(messages):
    return lambda row: len(row.messages) <= messages


U, A, S, T = "user", "assistant", "system", "tool"


@pytest.mark.parametrize(
    ("roles", "limit", "expected"),
    [
        ((U, A, U, A), 4, [["0", "1", "2", "3"]]),
        ((U, A, U, A, U, A), 4, [["0", "1", "2", "3"], ["4", "5"]]),
        ((U, A, U, A, U, A), 2, [["0", "1"], ["2", "3"], ["4", "5"]]),
        ((S, U, A, U, A), 3, [["0", "1", "2"], ["0", "3", "4"]]),
        ((U, A, T, A, U, A), 4, [["0", "1", "2", "3"], ["4", "5"]]),  # a call belongs to its question
        ((A, U, A, U, A), 3, [["0", "1", "2"], ["3", "4"]]),  # the assistant greets
        ((U, U, A, A, U, A), 4, [["0", "1", "2", "3"], ["4", "5"]]),
        ((U, A, S, U, A), 3, [["0", "1"], ["2", "3", "4"]]),  # the system speaks again
        ((U, A, T, A, U, A), 2, [["0", "1", "2", "3"], ["4", "5"]]),  # too long by itself
        ((U, A), 1, [["0", "1"]]),
    ],
)
def test_parts_begin_where_the_user_speaks_after_an_answer(roles, limit, expected):
    assert said(parts(talk(*roles), up_to(limit))) == expected


def test_every_part_keeps_the_tools():
    row = talk(U, A, U, A, tools=({"name": "f"},))
    assert [part.tools for part in parts(row, up_to(2))] == [row.tools] * 2


def test_a_text_row_is_never_split():
    row = Row("text", kind="text", text="x" * 1000)
    assert list(parts(row, up_to(-1))) == [row]


@pytest.mark.parametrize(
    ("asked", "template", "form", "expected"),
    [
        ("auto", "vicuna", "sharegpt", True),
        ("auto", "vicuna", "messages", False),
        ("auto", "chat", "sharegpt", False),
        ("on", "chat", "messages", True),
        ("off", "vicuna", "sharegpt", False),
    ],
)
def test_left_open_only_sharegpt_is_split_and_only_by_the_vicuna_template(asked, template, form, expected):
    assert splits(asked, template, form) == expected


def prepared(tokenizer, rows, **training):
    given = {"max_length": len(VICUNA_SYSTEM) + 190, **training}
    return examples_of(rows, TrainingSpec(**given), tokenizer, "vicuna")


def long_talk(number, exchanges=6):
    return talk(*[U, A] * exchanges, name=f"words of conversation {number} turn ")


def test_later_turns_are_learnt_where_they_were_cut_off(tokenizer):
    rows = [long_talk(number) for number in range(3)]

    cut, split = prepared(tokenizer, rows, split_conversations="off"), prepared(tokenizer, rows)

    assert len(cut.examples) == cut.truncated == 3
    assert (split.truncated, split.unended, split.dropped) == (0, 0, 0)
    learnt = [tokenizer.decode(example.ids[example.trained]) for example in split.examples]
    for number in range(3):
        whole = "".join(text for text, e in zip(learnt, split.examples, strict=True) if e.row == number)
        assert whole == "".join(
            f" words of conversation {number} turn {turn}</s>" for turn in range(1, 12, 2)
        )
    assert all(tokenizer.decode(example.ids).count(VICUNA_SYSTEM) == 1 for example in split.examples)


def test_a_part_is_as_long_as_may_be_and_no_longer(tokenizer):
    [whole] = prepared(tokenizer, [long_talk(1, 2)], max_length=4096).examples
    length = len(whole.ids)

    assert len(prepared(tokenizer, [long_talk(1, 2)], max_length=length).examples) == 1
    assert len(prepared(tokenizer, [long_talk(1, 2)], max_length=length - 1).examples) == 2


def test_rows_are_counted_as_rows_and_their_parts_as_examples(tokenizer):
    found = prepared(tokenizer, [long_talk(1), long_talk(2, 1), long_talk(3)])

    assert (found.rows, found.split, found.dropped) == (3, 2, 0)
    assert len(found.examples) > 3
    assert len({example.key for example in found.examples}) == len(found.examples)


def test_a_part_without_anything_to_learn_does_not_drop_its_row(tokenizer):
    silent = Row("sharegpt", messages=(*long_talk(1).messages, Message("user", "and then?" * 20)))

    assert prepared(tokenizer, [silent]).dropped == 0
    assert prepared(tokenizer, [talk(U, name="q" * 300)]).dropped == 1


def test_real_tool_conversations_are_learnt_whole_in_their_parts(tokenizer, tmp_path):
    path = tmp_path / "rows"
    path.write_bytes(real_file("glaive_toolcall_en_demo.json", [TOOL_SHARE] * 3))
    rows = list(read_rows(path))[:60]

    wholes = {e.row: e.ids[e.trained] for e in prepared(tokenizer, rows, max_length=131_072).examples}
    found = prepared(tokenizer, rows, max_length=4500)

    assert found.truncated == 0
    for number, whole in wholes.items():
        learnt = [example.ids[example.trained] for example in found.examples if example.row == number]
        assert np.array_equal(np.concatenate(learnt), whole)
    assert all(len(example.ids) <= 4500 for example in found.examples)


def test_no_conversation_stands_on_both_sides_of_the_split(tokenizer):
    rows = [long_talk(number) for number in range(20)]

    sides = []
    for side in held_out(rows, 0.3, seed=1):
        texts = [tokenizer.decode(example.ids) for example in prepared(tokenizer, side).examples]
        sides.append({number for text in texts for number in re.findall(r"conversation (\d+)", text)})

    assert [len(side) for side in sides] == [14, 6]
    assert not sides[0] & sides[1]

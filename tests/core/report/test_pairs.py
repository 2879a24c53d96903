"""Pairs of answers: picked by rule, whoever wrote them."""

import pytest

from neftune_core.report.pairs import LONGEST, RULES, Side, picked, shortened, sides
from tests.core.report import made

NAMES = ("ours", "theirs")


def rules(found):
    return {pair.rule: pair.row for pair in picked(found, NAMES)}


def side(row, ours, theirs="x" * 10, preference=None):
    return Side(f"prompt {row}", ours, theirs, row, preference)


def test_each_rule_picks_what_it_says():
    found = [
        side(0, "x" * 10),
        side(1, "x" * 500),
        side(2, "x"),
        side(3, "x" * 14),
        side(4, "go on " * 3),
        side(5, "x" * 30, preference=0.5),
        side(6, "x" * 31, preference=0.75),
        side(7, "x" * 32, preference=0.25),
        side(8, "x" * 33, preference=1.0),
    ]
    assert rules(found) == {
        "first": 0,
        "grown_most": 1,
        "shrunk_most": 2,
        "middle": 5,  # 20 longer: of -9, 0, 4, 8, 20, 21, 22, 23, 490
        "repeats_most": 4,
        "first_preferred": 6,
        "first_rejected": 7,
    }


def test_no_prompt_is_picked_twice_and_none_where_the_rule_finds_none():
    assert rules([side(0, "grown " * 9)]) == {"first": 0}
    assert rules([side(0, "same same "), side(1, "same other")]) == {"first": 0, "middle": 1}
    assert rules([]) == {}


def test_the_order_of_files_decides_nothing_but_first():
    found = [side(row, "x" * length) for row, length in enumerate((9, 40, 3, 17, 12))]
    assert {**rules(found), "first": 0} == {**rules([found[0], *reversed(found[1:])]), "first": 0}


def test_each_rule_is_told_in_words():
    (pair,) = picked([side(3, "ours", "theirs")], NAMES)
    assert (pair.rule, pair.why) == ("first", RULES["first"])
    assert [(one.name, one.text) for one in pair.answers] == [("ours", "ours"), ("theirs", "theirs")]


def test_answers_meet_by_their_prompt_and_preferences_by_prompt_and_answer():
    ours = made.answers("a", "b", "c")
    theirs = made.answers("C", "A", prompts=["What is three?", "What is one?"])
    said = [
        {"instruction": "What is one?", "output_1": "A", "output_2": "a", "preference": 1.75},
        {"instruction": "What is three?", "output_1": "C", "output_2": "another", "preference": 2},
    ]
    assert sides(ours, theirs, said) == [
        Side("What is one?", "a", "A", 0, 0.75),
        Side("What is three?", "c", "C", 2, None),
    ]


@pytest.mark.parametrize(
    "told", [None, {}, 7, [None], [{"instruction": 1, "output": "a"}], [{"output": "a"}]]
)
def test_files_that_hold_something_else_give_no_pairs(told):
    assert sides(told, made.answers("a")) == []
    assert sides(made.answers("a"), told) == []
    assert len(sides(made.answers("a"), made.answers("b"), told)) == 1


def test_a_long_text_is_cut_and_says_so():
    whole = shortened("answer", "x" * LONGEST)
    assert (whole.cut, whole.characters, len(whole.text)) == (False, LONGEST, LONGEST)
    cut = shortened("answer", "x" * (LONGEST + 1))
    assert (cut.cut, cut.characters, len(cut.text)) == (True, LONGEST + 1, LONGEST)

"""AlpacaEval's files: its figures from its preferences, and what we write read by its rules."""

import json
import os
import random
from pathlib import Path

import pytest

from neftune_core.evaluate.judge.alpaca_eval import (
    Annotation,
    NotAlpacaEval,
    Output,
    Pair,
    paired,
    read_annotations,
    read_outputs,
    write_json,
    written_annotations,
)
from neftune_core.evaluate.judge.preferences import Counts, controlled, counts, win_rate


@pytest.fixture(scope="module")
def annotations(tmp_path_factory):
    """GPT-4's own, where they are at hand; else as many wins, losses and draws over made-up texts."""
    home = os.environ.get("NEFTUNE_TEST_DATA")
    if home:
        return Path(home) / "alpaca_eval_alpaca_7b_gpt4_annotations.json"
    path = tmp_path_factory.mktemp("annotations") / "annotations.json"
    drawn, preferences = random.Random(3), [2] * 205 + [1] * 584 + [0] * 16
    write_json(path, [made(preference, drawn) for preference in drawn.sample(preferences, len(preferences))])
    return path


def made(preference, drawn):
    lengths = [drawn.randrange(20, 900) for _ in range(2)]
    texts = {f"output_{side}": "x" * length for side, length in enumerate(lengths, 1)}
    return {"instruction": str(drawn.random()), **texts, "preference": preference}


def test_the_published_figures_come_from_the_published_preferences(annotations):
    wins = [one.win for one in read_annotations(annotations)]
    assert counts(wins) == Counts(wins=205, losses=584, ties=16)
    assert round(win_rate(wins).percent, 4) == 26.4596
    assert round(win_rate(wins).standard_error, 4) == 1.5357


def test_what_is_written_is_read_again(annotations, tmp_path):
    before = read_annotations(annotations)
    write_json(tmp_path / "again.json", written_annotations(before, ("theirs", "ours"), "judge"))
    again = json.loads((tmp_path / "again.json").read_text())
    assert read_annotations(tmp_path / "again.json") == before
    assert {entry["preference"] for entry in again} == {1.0, 1.5, 2.0}
    assert set(again[0]) == {
        *("instruction", "output_1", "generator_1", "dataset", "output_2", "generator_2"),
        *("annotator", "preference"),
    }


def test_a_preference_that_nobody_has_is_null(tmp_path):
    one = Annotation(Pair("Who?", "mine", "yours"), None)
    write_json(tmp_path / "one.json", written_annotations([one], ("theirs", "ours"), "judge"))
    assert json.loads((tmp_path / "one.json").read_text())[0]["preference"] is None
    assert read_annotations(tmp_path / "one.json") == [one]


def test_answers_to_the_same_instruction_are_paired_one_by_one():
    ours = [Output("a", "1"), Output("b", "2"), Output("a", "3"), Output("c", "4")]
    theirs = [Output("b", "x", dataset="helpful"), Output("a", "y"), Output("a", "z"), Output("d", "w")]
    assert paired(ours, theirs) == [Pair("a", "1", "y"), Pair("b", "2", "x", "helpful"), Pair("a", "3", "z")]


def test_an_input_that_is_kept_apart_belongs_to_the_instruction(tmp_path):
    write_json(tmp_path / "o.json", [{"instruction": "Translate", "input": "Haus", "output": "house"}])
    assert read_outputs(tmp_path / "o.json") == [Output("Translate\n\nHaus", "house")]


@pytest.mark.parametrize(
    ("held", "told"),
    [
        (b"{}", "list of objects"),
        (b"[1]", "entry 1: should be an object"),
        (b'[{"instruction": "a", "output": null}]', "entry 1: output should be a text"),
        (b'[{"output": "a"}]', "entry 1: instruction should be a text"),
        (b"[", "Not valid JSON"),
        (b"\xff", "UTF-8"),
        (b"", "Not valid JSON"),
    ],
)
def test_another_file_is_refused_and_not_repeated(tmp_path, held, told):
    (tmp_path / "o.json").write_bytes(held)
    with pytest.raises(NotAlpacaEval, match=told):
        read_outputs(tmp_path / "o.json")


@pytest.mark.parametrize("preference", [-1, 0.5, 2.5, 3, "2", True, [1]])
def test_a_preference_that_is_none_is_refused(tmp_path, preference):
    entry = {"instruction": "a", "output_1": "b", "output_2": "c", "preference": preference}
    write_json(tmp_path / "a.json", [entry])
    with pytest.raises(NotAlpacaEval, match="entry 1: preference"):
        read_annotations(tmp_path / "a.json")


def test_the_controlled_win_rate_of_gpt4_is_near_what_alpaca_eval_fits(annotations):
    found = [one for one in read_annotations(annotations) if one.win is not None]
    result = controlled([one.win for one in found], [one.pair.longer for one in found])
    # Its own regression without the parts that know its 805 instructions gives 25.77 (docs/log.md).
    if os.environ.get("NEFTUNE_TEST_DATA"):
        assert result.percent == pytest.approx(25.77, abs=0.5)
    assert 1 < result.standard_error < 3

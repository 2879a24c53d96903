"""Judging what an evaluation has answered: its results get the figures, and keep all that was there."""

import json

import pytest

from neftune_core.__main__ import main
from neftune_core.evaluate.judge.alpaca_eval import paired, read_annotations, read_outputs, write_json
from neftune_core.evaluate.judge.asking import Patience
from neftune_core.evaluate.judge.judging import Judge
from neftune_core.evaluate.results import AnswersOf, Missing, Of, Results, written
from neftune_core.evaluate.spec import EvaluationSpec
from tests.core.evaluate.judges import judging, longer

LENGTHS = {"base/plain": 10, "checkpoint/plain": 20, "checkpoint/long_prompt": 30}


def answers(folder, who, length, on="prompts"):
    subject, variant = who.split("/")
    entries = [
        {
            "instruction": f"Question {number}",
            "output": "x" * (length + number),
            "generator": who,
            "dataset": "held_out",
            "reference": None,
            "finish": "stop",
            "prompt_tokens": 3,
            "completion_tokens": 5,
            "row": number,
        }
        for number in range(6)
    ]
    file = f"answers-{on}-{subject}-{variant}.json"
    write_json(folder / file, entries)
    return AnswersOf(
        subject=subject,
        variant=variant,
        on=on,
        prompts=6,
        answers=6,
        stopped=6,
        completion_tokens=30,
        seconds=1.0,
        file=file,
    )


@pytest.fixture
def evaluated(tmp_path):
    """Give a way to make the folder of an evaluation that asks for this judge."""

    def make(who=tuple(LENGTHS), **judge):
        folder = tmp_path / "evaluation"
        folder.mkdir()
        asked = {"endpoint": "https://judge.example/v1", "model": "a-judge", **judge}
        results = Results(
            spec=EvaluationSpec.model_validate({"kinds": ["judge"], "judge": asked}),
            of=Of(
                model="org/base", checkpoint="last", step=9, template="alpaca", alpha=5.0, distribution=None
            ),
            answers=(
                *(answers(folder, one, LENGTHS[one]) for one in who),
                answers(folder, "checkpoint/plain", 5, on="train"),
            ),
            missing=(
                Missing(what="loss/held_out", why="No rows."),
                Missing(what="judge", why="Not asked yet."),
            ),
            files=("a.json",),
        )
        write_json(folder / "results.json", written(results))
        return folder

    return make


def judged(folder, *more):
    assert main(["evaluate", "judge-folder", str(folder), "--allow", "127.0.0.1", *map(str, more)]) == 0
    return Results.model_validate_json((folder / "results.json").read_bytes())


def test_each_way_of_answering_is_judged_against_the_base(evaluated):
    with judging(longer) as server:
        folder = evaluated(endpoint=server.url)
        results = judged(folder)
        calls = len(server.calls)
        again = judged(folder)
        assert (calls, len(server.calls)) == (24, 24)
    assert [(one.subject, one.variant, one.against, one.wins) for one in results.judge] == [
        ("checkpoint", "plain", "base", 6),
        ("checkpoint", "long_prompt", "base", 6),
    ]
    assert [one.what for one in results.missing] == [
        "loss/held_out",
        "judge/checkpoint/length_controlled",
        "judge/checkpoint/long_prompt/length_controlled",
    ]
    assert results.files == ("a.json", *(one.file for one in results.judge))
    assert len(read_annotations(folder / results.judge[1].file)) == 6
    assert (again.files, again.missing) == (results.files, results.missing)
    assert [one.cost.cached for one in again.judge] == [12, 12]


def test_who_asks_nobody_gives_the_figures_of_what_is_known_and_tells_the_rest(evaluated):
    # Given a judge that has died over its third pair: its answers are kept, its figures are not
    with judging(longer) as server:
        folder = evaluated(endpoint=server.url)
        judged(folder)
        known = folder / "judge_answers.jsonl"
        kept = [line for line in known.read_text().split("\n") if line][:24]
        pairs = asked_first(folder, kept, 2)
        known.write_text("\n".join(pairs))
        calls = len(server.calls)
        results = judged(folder, "--ask-nobody")
        assert len(server.calls) == calls
    assert [(one.pairs, one.judged, one.wins) for one in results.judge] == [(6, 2, 2), (6, 0, 0)]
    told = {one.what: one.why for one in results.missing}
    assert told["judge/checkpoint"].startswith("4 of 6 pairs: the process that asks was killed")
    assert told["judge/checkpoint/long_prompt"].startswith("6 of 6 pairs: the process that asks was killed")
    assert [one.cost.calls for one in results.judge] == [0, 0]


def asked_first(folder, lines, pairs):
    """Give the lines about the first pairs of the checkpoint's plain answers."""
    results = Results.model_validate_json((folder / "results.json").read_bytes())
    judge = Judge.of(results.spec.judge)
    both = paired(
        read_outputs(folder / "answers-prompts-checkpoint-plain.json"),
        read_outputs(folder / "answers-prompts-base-plain.json"),
    )
    keys = {question.key for pair in both[:pairs] for question in judge.orders(pair)}
    return [line for line in lines if json.loads(line)["key"] in keys]


def test_an_endpoint_that_is_out_of_the_question_for_one_is_for_all(evaluated):
    with judging(longer, trouble=lambda _number: (401, b"", {})) as server:
        results = judged(evaluated(endpoint=server.url, concurrency=1))
        assert len(server.calls) == 1
    assert [(one.pairs, one.judged) for one in results.judge] == [(6, 0), (6, 0)]
    told = [one for one in results.missing if one.what.startswith("judge/")]
    assert [one.what for one in told] == ["judge/checkpoint", "judge/checkpoint/long_prompt"]
    assert all("it refused the key (401 or 403)" in one.why for one in told)


def test_the_time_for_judging_is_that_of_all_who_are_judged():
    assert Patience(limit=60.0).after(20.0).limit == 40.0
    assert Patience(limit=60.0).after(80.0).limit == 0.0
    assert Patience().after(20.0).limit is None


def test_rows_are_the_other_side_too(evaluated, tmp_path):
    rows = [{"instruction": f"Question {number}", "input": "", "output": "x" * 22} for number in range(6)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with judging(longer) as server:
        folder = evaluated(endpoint=server.url, against="reference", reference="ds_1")
        results = judged(folder, "--others", tmp_path / "rows.jsonl")
    assert [(one.subject, one.variant, one.against, one.wins) for one in results.judge] == [
        ("base", "plain", "reference:ds_1", 0),
        ("checkpoint", "plain", "reference:ds_1", 3),
        ("checkpoint", "long_prompt", "reference:ds_1", 6),
    ]


def test_without_answers_of_the_base_that_is_what_is_told(evaluated, capsys):
    results = judged(evaluated(who=["checkpoint/plain"]))
    assert [one.what for one in results.missing] == ["loss/held_out", "judge"]
    assert results.missing[1].why == "There are no answers of the base."
    assert results.judge == ()


def test_the_estimate_adds_up_and_changes_nothing(evaluated, capsys):
    folder = evaluated(price_in=1, price_out=2)
    before = (folder / "results.json").read_bytes()
    assert main(["evaluate", "judge-folder", str(folder), "--estimate"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["questions"], told["calls"], told["cached"]) == (24, 24, 0)
    assert told["price"] > 0
    assert (folder / "results.json").read_bytes() == before


@pytest.mark.parametrize(
    ("judge", "told"),
    [
        ({"against": "run", "run": "job_1"}, "name its answers with --others"),
        (None, "There should be a results.json"),
    ],
)
def test_what_is_not_there_is_told(evaluated, tmp_path, capsys, judge, told):
    folder = tmp_path / "elsewhere" if judge is None else evaluated(**judge)
    assert main(["evaluate", "judge-folder", str(folder)]) == 1
    assert told in capsys.readouterr().err

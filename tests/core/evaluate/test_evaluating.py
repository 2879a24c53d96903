"""An evaluation from files to results: what it measures, and that a crash changes nothing of it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from neftune_core import messages
from neftune_core.__main__ import main
from neftune_core.evaluate import answering, command
from neftune_core.evaluate.command import Errand
from neftune_core.evaluate.results import Answer, ExampleLosses, Results
from tests.arc_form import lay_out
from tests.core.tiny import Never, Notebook, make_base, make_rows, make_spec

SPEC = {
    "kinds": ["diversity", "loss", "overlap"],
    "loss": {"train_sample": 16, "datasets": ["others"], "most_rows": 5, "bins": 10},
    "overlap": {"prompts": 4},
    "prompts": {"most": 3},
    "generation": {"max_new_tokens": 12},
    "baselines": {"min_new_tokens": 6, "long_prompt": True},
    "diversity": {"chunks": [5]},
}

# The command line, keeping what it has after each answer.
EAGER = """
from neftune_core.evaluate import answering
from neftune_core import messages
from neftune_core.__main__ import main
from neftune_core.evaluate import command
from neftune_core.evaluate.command import Errand
answering.KEPT_EVERY = 0
raise SystemExit(main())
"""


def write_rows(path, rows):
    lines = (
        json.dumps({"messages": [{"role": turn.role, "content": turn.content} for turn in row.messages]})
        for row in rows
    )
    path.write_text("\n".join(lines))
    return path


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """Give a folder with a base, rows, other rows, and a run that was trained on them with checkpoints."""
    house = tmp_path_factory.mktemp("house")
    make_base(house / "base")
    rows = write_rows(house / "rows.jsonl", make_rows(40))
    write_rows(house / "others.jsonl", make_rows(50)[40:])
    # So fast that the last step is worse than the one before.
    training = {
        "max_steps": 9,
        "learning_rate": 5e-2,
        "save_every": 3,
        "eval_every": 3,
        "keep_checkpoints": 9,
    }
    spec = make_spec(validation={"split": 0.25}, training=training, alpha=5.0)
    (house / "job.json").write_text(spec.model_dump_json())
    asked = ["run", house / "job.json", rows, house / "run", "--model-dir", house / "base", "--checkpoints"]
    assert main([str(part) for part in asked]) == 0
    return house


def asked(house, out, spec, *more):
    path = out.with_suffix(".json")
    path.write_text(json.dumps(spec))
    return [
        *("evaluate", str(path), str(out), "--run", str(house / "run"), "--model-dir", str(house / "base")),
        *("--rows", str(house / "rows.jsonl"), "--data", f"others={house / 'others.jsonl'}", *map(str, more)),
    ]


def evaluated(house, out, spec, *more):
    assert main(asked(house, out, spec, *more)) == 0
    return read(out)


def read(out):
    return Results.model_validate_json((out / "evaluation" / "results.json").read_bytes())


@pytest.fixture(scope="module")
def whole(house, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "out"
    return evaluated(house, out, SPEC), out


def test_losses_are_those_that_training_told(house, whole):
    results, _ = whole
    final = json.loads((house / "run" / "record.json").read_bytes())["final"]
    per_token = {(one.subject, one.rows): one.per_token for one in results.loss}
    assert per_token["checkpoint", "held_out"] == pytest.approx(final["eval_loss"], rel=1e-6)
    assert per_token["base", "held_out"] == pytest.approx(final["base_eval_loss"], rel=1e-6)
    assert final["clean_train_rows"] == 16
    assert per_token["checkpoint", "train"] == pytest.approx(final["last_clean_train_loss"], rel=1e-6)
    assert per_token["base", "train"] == pytest.approx(final["base_clean_train_loss"], rel=1e-6)
    assert {rows for _, rows in per_token} == {"train", "held_out", "others"}


def test_each_example_has_a_line_and_one_grid_serves_both_subjects(whole):
    results, out = whole
    for one in results.loss:
        file = ExampleLosses.model_validate_json((out / "evaluation" / one.file).read_bytes())
        assert (file.subject, file.rows, len(file.loss)) == (one.subject, one.rows, one.examples)
        assert sum(one.histogram.counts) == one.examples
    assert len({one.histogram.edges for one in results.loss if one.rows == "train"}) == 1


def test_answers_are_files_that_alpaca_eval_takes(whole):
    results, out = whole
    assert {(one.subject, one.variant, one.on) for one in results.answers} == {
        *(("base", "plain", "train"), ("checkpoint", "plain", "train")),
        *(("base", "plain", "prompts"), ("checkpoint", "plain", "prompts")),
        *(("checkpoint", "min_length", "prompts"), ("checkpoint", "long_prompt", "prompts")),
    }
    for one in results.answers:
        told = json.loads((out / "evaluation" / one.file).read_bytes())
        answers = [Answer.model_validate(each) for each in told]
        assert len(answers) == one.answers == one.prompts
        assert sum(answer.completion_tokens for answer in answers) == one.completion_tokens
        assert {"instruction", "output", "generator", "dataset"} <= told[0].keys()
        assert answers[0].instruction.startswith("count to ")
        assert answers[0].reference.startswith("0")


def test_baselines_are_asked_differently_and_only_of_the_checkpoint(whole):
    results, out = whole
    said = {}
    for one in results.answers:
        if (one.subject, one.on) == ("checkpoint", "prompts"):
            told = json.loads((out / "evaluation" / one.file).read_bytes())
            said[one.variant] = [Answer.model_validate(each) for each in told]
    assert all(answer.completion_tokens > 6 for answer in said["min_length"])
    more = {
        b.prompt_tokens - a.prompt_tokens for a, b in zip(said["plain"], said["long_prompt"], strict=True)
    }
    assert more == {len("\n\nGive a long and detailed answer.")}
    assert [a.instruction for a in said["plain"]] == [a.instruction for a in said["long_prompt"]]


def test_overlap_and_diversity_are_of_those_answers(whole):
    results, _ = whole
    assert [(one.subject, one.answers) for one in results.overlap] == [("base", 4), ("checkpoint", 4)]
    kinds = [(one.subject, one.variant, one.answers) for one in results.diversity]
    assert kinds == [
        *(("base", "plain", 3), ("checkpoint", "plain", 3)),
        *(("checkpoint", "min_length", 3), ("checkpoint", "long_prompt", 3)),
    ]
    assert all(one.chunks[0].words == 5 for one in results.diversity)


def test_nothing_is_missing_and_the_subject_is_told(whole):
    results, out = whole
    assert results.missing == ()
    assert (results.of.checkpoint, results.of.step, results.of.alpha) == ("last", 9, 5.0)
    assert sorted(results.files) == sorted(
        path.name for path in (out / "evaluation").iterdir() if path.name != "results.json"
    )


@pytest.mark.parametrize(("checkpoint", "step"), [("best", 6), (3, 3), (9, 9)])
def test_any_kept_checkpoint_is_measured_by_its_own_weights(house, tmp_path, checkpoint, step):
    spec = {"kinds": ["loss"], "checkpoint": checkpoint, "compare_base": False, "loss": {"train_sample": 0}}
    results = evaluated(house, tmp_path / "out", spec)
    [found] = results.loss
    assert results.of.step == step
    assert found.per_token == pytest.approx(told_at(house, step), rel=1e-6)
    assert len({told_at(house, one) for one in (3, 6, 9)}) == 3


def told_at(house, step):
    """Give the held-out loss that training told at a step."""
    state = json.loads((house / "run" / "checkpoints" / f"step-{step:08d}" / "state.json").read_bytes())
    return state["values"]["walk"]["final"]["eval_loss"]


def test_what_is_not_there_is_told_and_fails_nothing(house, tmp_path):
    spec = {
        "kinds": ["loss", "diversity"],
        "checkpoint": "base",
        "loss": {"datasets": ["nowhere"], "train_sample": 3},
        "prompts": {"dataset": "nothing"},
    }
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(spec))
    rows = write_rows(tmp_path / "few.jsonl", make_rows(5))  # too few to hold any out

    assert (
        main(
            [
                "evaluate",
                str(path),
                str(tmp_path / "out"),
                "--model-dir",
                str(house / "base"),
                "--rows",
                str(rows),
            ]
        )
        == 0
    )

    results = read(tmp_path / "out")
    assert [one.what for one in results.missing] == [
        "loss/held_out/base",
        "loss/nowhere/base",
        "answers/prompts/base",
    ]
    assert all(one.why for one in results.missing)
    assert [one.rows for one in results.loss] == ["train"]


@pytest.mark.parametrize(
    "place",
    [
        pytest.param("evaluation.part:kill@2", marks=pytest.mark.long),
        pytest.param("evaluation.part:kill@9", marks=pytest.mark.long),
        "evaluation.answers:kill@3",
    ],
)
def test_killed_in_its_middle_it_goes_on_to_the_same_results(house, whole, tmp_path, place):
    out = tmp_path / "out"
    command = [sys.executable, "-c", EAGER, *asked(house, out, SPEC)]
    hurt = {**os.environ, "NEFT_TEST": "1", "FAILPOINTS": place}
    died = subprocess.run(command, env=hurt, capture_output=True, check=False)
    assert died.returncode == -signal.SIGKILL
    assert not (out / "evaluation").exists()
    done = {path: path.stat().st_mtime_ns for path in (out / "parts").glob("[al]*s-*.json")}
    partial = list((out / "parts").glob("*.partial"))
    assert done
    assert len(partial) == (1 if "answers" in place else 0)

    assert main(asked(house, out, SPEC)) == 0

    assert read(out).model_dump(exclude={"answers"}) == whole[0].model_dump(exclude={"answers"})
    for name in whole[0].files:
        ours, theirs = ((folder / "evaluation" / name).read_bytes() for folder in (out, whole[1]))
        assert ours == theirs, name
    assert {path: path.stat().st_mtime_ns for path in done} == done, "a part was done twice"


class AfterParts:
    """A stop signal that comes once so many parts were told."""

    def __init__(self, notebook, count):
        self.notebook, self.count = notebook, count

    def requested(self):
        return len(self.notebook.named("evaluation.part")) >= self.count


def test_asked_to_stop_it_ends_between_tokens_and_goes_on_later(house, whole, tmp_path):
    out, notebook = tmp_path / "out", Notebook()
    arguments = asked(house, out, SPEC)
    errand = Errand(
        spec=Path(arguments[1]),
        out=out,
        run=house / "run",
        model_dir=house / "base",
        rows=house / "rows.jsonl",
        data={"others": house / "others.jsonl"},
    )
    assert command._evaluate(errand, notebook, AfterParts(notebook, 4)) == messages.EXIT_STOPPED
    steps = [step for step, _ in notebook.checkpoints]
    assert steps == list(range(1, len(steps) + 1))
    assert not notebook.artifacts

    again = Notebook()
    assert command._evaluate(errand, again, Never()) == messages.EXIT_OK

    [planned] = again.named("evaluation.planned")
    assert planned["done"] == 4
    assert len(again.checkpoints) == len(planned["parts"]) - 4, "a part was done again"
    assert next(step for step, _ in again.checkpoints) == steps[-1] + 1
    assert [name for name, _ in again.artifacts] == ["evaluation"]
    assert read(out).model_dump(exclude={"answers"}) == whole[0].model_dump(exclude={"answers"})


class AfterAnswer:
    """A stop signal that comes once a part has told an answer."""

    def __init__(self, notebook, part):
        self.notebook, self.part = notebook, part

    def requested(self):
        told = self.notebook.named("evaluation.progress")
        return any(one["done"] for one in told if one["name"] == self.part)


def test_asked_to_stop_between_answers_it_keeps_them_and_says_the_rest(house, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(answering, "TOLD_EVERY", 0.0)
    out, notebook = tmp_path / "out", Notebook()
    generation = {**SPEC["generation"], "batch_size": 1}
    spec = {"kinds": ["overlap"], "overlap": SPEC["overlap"], "generation": generation}
    name = "answers-train-base-plain"
    arguments = asked(house, out, spec)
    errand = Errand(
        spec=Path(arguments[1]),
        out=out,
        run=house / "run",
        model_dir=house / "base",
        rows=house / "rows.jsonl",
    )
    # Given that it was stopped while its second answer was in the making
    assert command._evaluate(errand, notebook, AfterAnswer(notebook, name)) == messages.EXIT_STOPPED
    path = out / "parts" / f"{name}.partial"
    kept = json.loads(path.read_bytes())
    assert len(kept["answers"]) == 1
    _, laid_out = notebook.checkpoints[-1]
    assert (laid_out / path.name).read_bytes() == path.read_bytes()
    # When it goes on, with what was kept made known by another word
    place, before = kept["answers"][0]["index"], kept["answers"][0]["text"]
    kept["answers"][0]["text"] = "as it was kept"
    path.unlink()  # the folder that was laid out shares it
    path.write_text(json.dumps(kept))
    assert command._evaluate(errand, Notebook(), Never()) == messages.EXIT_OK
    # Then that answer was not given again, and the others are those of one that never stopped
    theirs, ours = (
        [one["output"] for one in json.loads((folder / "evaluation" / f"{name}.json").read_bytes())]
        for folder in (whole[1], out)
    )
    assert theirs[place] == before
    assert len(set(theirs)) == len(theirs)
    assert ours == [*theirs[:place], "as it was kept", *theirs[place + 1 :]]


def test_parts_of_another_evaluation_are_not_taken_for_its_own(house, tmp_path):
    spec = {"kinds": ["loss"], "compare_base": False, "loss": {"train_sample": 3}}
    first = evaluated(house, tmp_path / "out", spec)
    second = evaluated(house, tmp_path / "out", {**spec, "loss": {"train_sample": 5}})
    assert [one.examples for one in first.loss if one.rows == "train"] == [3]
    assert [one.examples for one in second.loss if one.rows == "train"] == [5]


def test_what_was_laid_out_is_enough_to_go_on_elsewhere(house, tmp_path):
    spec = {"kinds": ["loss"], "loss": {"train_sample": 3}}
    first = evaluated(house, tmp_path / "here", spec)
    [folder] = (tmp_path / "here" / "checkpoints").iterdir()
    there = tmp_path / "there"
    (there / "checkpoints").mkdir(parents=True)
    folder.rename(there / "checkpoints" / folder.name)
    second = evaluated(house, there, spec)
    assert second == first
    assert [path.name for path in (there / "checkpoints").iterdir()] == [folder.name], "a part was done again"


def test_wrong_arguments_are_refused_before_anything_is_loaded(house, tmp_path, capsys):
    bad = tmp_path / "bad.json"
    bad.write_text('{"kinds": ["los"]}')
    assert main(["evaluate", str(bad), str(tmp_path / "out"), "--model-dir", str(house / "base")]) == 1
    assert "kinds.0: It should be 'loss'" in capsys.readouterr().err
    bad.write_text('{"kinds": ["loss"]}')
    assert main(["evaluate", str(bad), str(tmp_path / "out"), "--model-dir", str(house / "base")]) == 1
    assert "name the run's folder" in capsys.readouterr().err
    assert not Path(tmp_path / "out" / "evaluation").exists()


@pytest.mark.long
@pytest.mark.filterwarnings("default")
def test_benchmarks_of_base_and_checkpoint_are_compared(house, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    tasks = lay_out(tmp_path / "bench")
    spec = {"kinds": ["benchmarks"], "benchmarks": {"tasks": ["lighthouse", "nowhere"], "limit": 8}}

    results = evaluated(house, tmp_path / "out", spec, "--benchmarks", tasks)

    assert [(one.task, one.metric, one.documents) for one in results.benchmarks] == [
        ("lighthouse", "acc", 8),
        ("lighthouse", "acc_norm", 8),
    ]
    for one in results.benchmarks:
        assert one.difference == pytest.approx(one.value - one.base)
        assert one.difference_standard_error is not None
    assert [one.what for one in results.missing] == [
        "benchmarks/nowhere/base",
        "benchmarks/nowhere/checkpoint",
    ]


def test_another_run_answers_the_same_prompts_for_a_judge(house, tmp_path):
    judge = {"endpoint": "https://judge.example/v1", "model": "j", "against": "run", "run": "job_2"}
    spec = {"kinds": ["judge"], "judge": judge, "generation": {"max_new_tokens": 4}, "prompts": {"most": 2}}
    spec["compare_base"] = False
    other = house / "run" / "checkpoints" / "step-00000003" / "weights.safetensors"

    there = evaluated(house, tmp_path / "there", spec, "--other", other)
    gone = evaluated(house, tmp_path / "gone", spec)

    assert [(one.subject, one.answers) for one in there.answers] == [("other", 2), ("checkpoint", 2)]
    told = [json.loads((tmp_path / "there" / "evaluation" / one.file).read_bytes()) for one in there.answers]
    assert [one["instruction"] for one in told[0]] == [one["instruction"] for one in told[1]]
    assert {one["generator"] for one in told[0]} == {"acme/tiny job_2"}
    assert [one.what for one in gone.missing] == ["answers/prompts/other"]


def test_a_whole_model_that_was_tuned_is_measured_by_its_folder_and_by_its_weights(house, tmp_path):
    training = {"max_steps": 2, "save_every": 2, "learning_rate": 3e-3}
    job = tmp_path / "job.json"
    job.write_text(make_spec(method="full", validation={"split": 0.25}, training=training).model_dump_json())
    run = tmp_path / "run"
    base = ["--model-dir", str(house / "base")]
    assert main(["run", str(job), str(house / "rows.jsonl"), str(run), *base, "--checkpoints"]) == 0
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps({"kinds": ["loss"], "loss": {"train_sample": 0}}))

    found = []
    for tuned in (run / "model", run / "checkpoints" / "step-00000002" / "weights.safetensors"):
        out = tmp_path / tuned.name
        more = ["--job", str(run / "record.json"), "--tuned", str(tuned), "--step", "2"]
        rows = ["--rows", str(house / "rows.jsonl")]
        assert main(["evaluate", str(spec), str(out), *base, *more, *rows]) == 0
        found.append({one.subject: one.per_token for one in read(out).loss})

    final = json.loads((run / "record.json").read_bytes())["final"]
    for losses in found:
        assert losses["checkpoint"] == pytest.approx(final["eval_loss"], rel=1e-6)
        assert losses["base"] == pytest.approx(final["base_eval_loss"], rel=1e-6)

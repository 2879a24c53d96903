"""The command line: folders of runs and evaluations become a page and its JSON."""

import json
import os

import pytest

from neftune_core.__main__ import main
from neftune_core.eval_losses import EvalLosses, Measurement, encoded
from neftune_core.report.curves import MOST_POINTS, curve, kept
from neftune_core.report.folders import run_in
from tests.core.report import made
from tests.core.tiny import make_base, make_rows, make_spec


def lay_out(folder, *, alpha=5.0, seed=1, losses=None):
    """Write a run's folder; ``losses`` are what its held-out examples pay at the end."""
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(json.dumps(made.record(alpha=alpha, seed=seed)))
    (folder / "metrics.csv").write_text(
        "step,train_loss,eval_loss,words\n0,,3.5,a\n1,3.25,,\nnan,1,1,\n2,3.125,3.0,b\n"
    )
    if losses is not None:
        at_end = Measurement(30, losses)
        told = EvalLosses("rows", len(losses), [10] * len(losses), last=at_end, best=at_end)
        (folder / "eval_losses.json").write_bytes(encoded(told))
    return folder


def reported(out):
    assert (out / "report.html").read_text().startswith("<!doctype html>")
    return json.loads((out / "report.json").read_bytes())


def test_a_run_is_reported_with_its_metrics_and_the_evaluations_below_it(tmp_path, capsys):
    folder = lay_out(tmp_path / "fruit")
    measured = folder / "ev" / "evaluation"
    measured.mkdir(parents=True)
    results = made.whole_evaluation().results
    (measured / "results.json").write_text(results.model_dump_json())
    (measured / results.answers[0].file).write_text(json.dumps(made.answers("base says")))
    (measured / results.answers[1].file).write_text(json.dumps(made.answers("tuned says")))
    assert main(["report", "run", str(folder), "--out", str(tmp_path / "out")]) == 0
    told = reported(tmp_path / "out")
    assert told["title"] == "fruit"
    sections = {one["id"]: one["blocks"] for one in told["sections"]}
    curves = next(one for one in sections["losses"] if one["type"] == "lines")
    assert [(one["name"], one["points"]) for one in curves["lines"]] == [
        ("training loss, noise on", [[1.0, 3.25], [2.0, 3.125]]),
        ("held-out loss, noise off", [[0.0, 3.5], [2.0, 3.0]]),
    ]
    (pair,) = next(one for one in sections["answers"] if one["type"] == "pairs")["pairs"]
    assert [one["text"] for one in pair["answers"]] == ["tuned says", "base says"]
    assert capsys.readouterr().out.splitlines() == [
        str(tmp_path / "out" / "report.html"),
        str(tmp_path / "out" / "report.json"),
    ]


@pytest.mark.long
def test_a_real_run_is_reported_beside_its_control(tmp_path):
    make_base(tmp_path / "base")
    rows = tmp_path / "rows.jsonl"
    rows.write_text(
        "\n".join(
            json.dumps({"messages": [{"role": turn.role, "content": turn.content} for turn in row.messages]})
            for row in make_rows(20)
        )
    )
    for name, alpha in (("noisy", 5.0), ("control", 0.0)):
        spec = make_spec(validation={"split": 0.25}, training={"max_steps": 2, "eval_every": 1}, alpha=alpha)
        (tmp_path / f"{name}.json").write_text(spec.model_dump_json())
        (tmp_path / name).mkdir()
        told = os.open(tmp_path / name / "metrics.jsonl", os.O_CREAT | os.O_WRONLY)
        asked = ["run", tmp_path / f"{name}.json", rows, tmp_path / name, "--model-dir", tmp_path / "base"]
        assert main([*map(str, asked), "--report-fd", str(told)]) == 0
    out = tmp_path / "out"
    asked = ["report", "run", tmp_path / "noisy", "--control", tmp_path / "control", "--out", out]
    assert main([str(word) for word in asked]) == 0
    told = reported(out)
    finals = [
        json.loads((tmp_path / name / "record.json").read_bytes())["final"] for name in ("noisy", "control")
    ]
    losses = next(one["blocks"] for one in told["sections"] if one["id"] == "losses")
    assert losses[0]["rows"][1]["last"] == finals[0]["eval_loss"]
    assert losses[1]["rows"][0]["difference"] == finals[0]["eval_loss"] - finals[1]["eval_loss"]
    assert losses[2]["lines"][0]["name"] == "training loss, noise on"
    assert {one["code"] for one in told["caveats"]} >= {"noisy_curve", "one_seed", "few_held_out_rows"}


def series(tmp_path, effect, seeds=4):
    """Lay out controls and runs with noise; each example pays ``effect`` more with it, a bit differently."""
    for seed in range(seeds):
        control = [30.0 + row % 7 + seed for row in range(60)]
        noisy = [loss + effect + 0.02 * ((row + seed) % 3) for row, loss in enumerate(control)]
        lay_out(tmp_path / f"control-{seed}", alpha=0.0, seed=seed, losses=control)
        lay_out(tmp_path / f"noisy-{seed}", alpha=5.0, seed=seed, losses=noisy)
    return [str(path) for path in sorted(tmp_path.glob("*-*"))]


@pytest.mark.parametrize(
    ("effect", "seeds", "outcome", "reasons"),
    [
        (-1.0, 4, "recommended", []),
        (1.0, 4, "not_recommended", ["noise_is_worse"]),
        (-1.0, 2, "inconclusive", ["too_few_seeds"]),
    ],
)
def test_a_series_of_folders_is_judged(tmp_path, effect, seeds, outcome, reasons):
    folders = series(tmp_path, effect, seeds)
    assert main(["report", "series", *folders, "--out", str(tmp_path / "out")]) == 0
    told = reported(tmp_path / "out")
    assert (told["verdict"]["outcome"], told["verdict"]["reasons"]) == (outcome, reasons)
    alphas = next(one["blocks"] for one in told["sections"] if one["id"] == "differences")
    table = next(one for one in alphas if one["type"] == "table")
    assert table["rows"][0]["mean"] == pytest.approx((effect + 0.02) / 10, abs=1e-9)
    assert table["rows"][0]["pairs"] == seeds


def test_what_the_service_said_of_a_series_is_taken_as_it_is(tmp_path):
    folders = series(tmp_path, -1.0)
    said = {"name": "fruit", "results": [], "verdict": {"outcome": "inconclusive", "why": "Because."}}
    (tmp_path / "series.json").write_text(json.dumps(said))
    asked = [
        "report",
        "series",
        *folders,
        "--series",
        str(tmp_path / "series.json"),
        "--out",
        str(tmp_path / "out"),
    ]
    assert main(asked) == 0
    told = reported(tmp_path / "out")
    assert (told["title"], told["verdict"]["headline"], told["verdict"]["why"]) == (
        "fruit",
        "Inconclusive",
        "Because.",
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "nowhere"], "record.json"),
        (["run", "run", "--evaluation", "run"], "results.json"),
        (["series", "run", "again/run"], "same name"),
        (["series", "run", "other"], "same alpha and seed"),
        (["series", "run", "--series", "run/record.json"], "GET /sweeps"),
    ],
)
def test_what_is_not_there_is_told_and_nothing_is_written(tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.chdir(tmp_path)
    for name in ("run", "again/run", "other"):
        lay_out(tmp_path / name)
    assert main(["report", *words, "--out", "out"]) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_name_in_results_reaches_no_file_elsewhere(tmp_path):
    folder = lay_out(tmp_path / "run")
    (tmp_path / "secret.json").write_text("[1]")
    results = made.whole_evaluation().results.model_dump(mode="json")
    (folder / "results.json").write_text(json.dumps(results))
    (measured,) = run_in(folder).evaluations
    assert measured.files("../secret.json") is None
    assert measured.files(str(tmp_path / "secret.json")) is None
    assert measured.files("record.json")["seed"] == 1


def test_of_very_many_points_evenly_many_are_kept_and_the_ends():
    points = kept((step, {"train_loss": float(step), "lr": 1.0}) for step in range(100_001))
    assert MOST_POINTS < len(points) <= 4 * MOST_POINTS + 2
    thin = curve(points, "train_loss")
    assert (thin[0], thin[-1]) == ((0, 0), (100_000, 100_000))
    assert len(thin) == MOST_POINTS

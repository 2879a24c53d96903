"""Benchmarks: lm-eval's own figures, and how far a tuned model is from its base on the same documents."""

import json
import math
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import torch

from neftune_core.errors import BenchmarkUnavailable, SpecError
from neftune_core.evaluate.benchmarks import (
    Bench,
    Difference,
    Score,
    compared,
    difference,
)
from neftune_core.model import Numerics, load_adapter, load_base, load_tokenizer, make_trainable
from tests.arc_form import lay_out
from tests.core.tiny import make_base, make_spec

CPU = Numerics(torch.device("cpu"), torch.float32, autocast=False, quantization=None)
# What its dependencies warn of at import, where a worker's process says nothing.
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter that answers otherwise than its base."""
    folder = tmp_path_factory.mktemp("adapter")
    torch.manual_seed(3)
    tuned = make_trainable(load_base(base, CPU), make_spec(lora={"r": 4}))
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.2)
    tuned.save_pretrained(folder, save_embedding_layers=False)
    return folder


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = lay_out(tmp_path_factory.mktemp("bench"))
    lay_out(folder, "harbour", questions=12)
    (folder / "coast.yaml").write_text(
        "group: coast\ntask: [lighthouse, harbour]\n"
        "aggregate_metric_list:\n  - {metric: acc, aggregation: mean, weight_by_size: true}\n"
    )
    return folder


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a worker's environment says, for a process that has imported these: no hub, a cache apart."""
    import datasets  # noqa: PLC0415 - slow
    import huggingface_hub  # noqa: PLC0415 - as above

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


def told_by_the_library(base: Path, adapter: Path | None, folder: Path, task: str) -> dict[str, Any]:
    """What lm-eval's own entry point says when it loads the model itself."""
    from lm_eval import simple_evaluate  # noqa: PLC0415 - slow
    from lm_eval.tasks import TaskManager  # noqa: PLC0415 - slow

    given = f"pretrained={base},dtype=float32" + (f",peft={adapter}" if adapter else "")
    before = Path.cwd()
    os.chdir(folder)
    try:
        found = simple_evaluate(
            "hf",
            given,
            [task],
            batch_size=8,
            device="cpu",
            task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        )
    finally:
        os.chdir(before)
    assert found is not None
    return found["results"][task]


def same(ours: dict[str, Score], theirs: dict[str, Any]) -> None:
    for name in ("acc", "acc_norm"):
        assert ours[name].value == theirs[f"{name},none"]
        assert ours[name].stderr == theirs[f"{name}_stderr,none"]


def test_base_and_adapter_score_what_the_library_says_and_differ_document_by_document(
    base: Path, adapter: Path, bench: Path
) -> None:
    tokenizer = load_tokenizer(base)
    measured = Bench(bench)
    of_base = measured.score(load_base(base, CPU), tokenizer, "lighthouse")
    of_tuned = measured.score(load_adapter(load_base(base, CPU), adapter), tokenizer, "lighthouse")
    same(of_base["lighthouse"].metrics, told_by_the_library(base, None, bench, "lighthouse"))
    same(of_tuned["lighthouse"].metrics, told_by_the_library(base, adapter, bench, "lighthouse"))
    # and its difference has the error of pairs
    first, second = (one["lighthouse"].metrics["acc"] for one in (of_base, of_tuned))
    assert first.per_document != second.per_document
    apart = [after - before for before, after in zip(first.per_document, second.per_document, strict=True)]
    (told,) = compared(of_base, of_tuned).values()
    assert told["acc"].value == pytest.approx(statistics.fmean(apart))
    assert told["acc"].stderr == pytest.approx(statistics.stdev(apart) / math.sqrt(len(apart)))


def test_a_group_has_the_figures_of_its_tasks_and_its_own(base: Path, bench: Path) -> None:
    told = Bench(bench).score(load_base(base, CPU), load_tokenizer(base), "coast")
    assert list(told) == ["coast", "harbour", "lighthouse"]
    assert {name: one.documents for name, one in told.items()} == {
        "coast": 32,
        "harbour": 12,
        "lighthouse": 20,
    }
    whole = told["coast"].metrics["acc"]
    assert whole.value == pytest.approx(statistics.fmean(whole.per_document))
    assert len(whole.per_document) == 32


def test_a_limit_takes_the_first_documents(base: Path, bench: Path) -> None:
    model, tokenizer = load_base(base, CPU), load_tokenizer(base)
    every = Bench(bench).score(model, tokenizer, "lighthouse")["lighthouse"].metrics["acc"]
    few = Bench(bench, limit=5).score(model, tokenizer, "lighthouse")["lighthouse"]
    assert few.documents == 5
    assert few.metrics["acc"].per_document == every.per_document[:5]


def test_each_pass_is_heard_and_may_end_it(base: Path, bench: Path) -> None:
    model, tokenizer, passes = load_base(base, CPU), load_tokenizer(base), []

    def third() -> None:
        passes.append(1)
        if len(passes) == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        Bench(bench, batch=4, each=third).score(model, tokenizer, "lighthouse")
    assert len(passes) == 3
    # and the model is left as it was
    Bench(bench, limit=1).score(model, tokenizer, "lighthouse")
    assert len(passes) == 3


@pytest.mark.parametrize("task", ["nowhere", "arc_challenge", "mmlu"])
def test_what_is_not_there_is_told_by_name(base: Path, bench: Path, task: str) -> None:
    before = Path.cwd()
    with pytest.raises(BenchmarkUnavailable, match=task):
        Bench(bench).score(load_base(base, CPU), load_tokenizer(base), task)
    assert Path.cwd() == before


@pytest.mark.parametrize(
    ("task", "told"),
    [
        (
            "arc_easy",
            "no hub is asked for it. Place a copy of the data set allenai/ai2_arc in the benchmarks folder",
        ),
        ("arc_mine", "in the benchmarks folder under the name that the task gives it"),
    ],
)
def test_a_benchmark_without_data_tells_what_to_place_where(
    base: Path, tmp_path: Path, task: str, told: str
) -> None:
    (tmp_path / "mine.yaml").write_text("task: arc_mine\ndataset_path: reef/questions\ntest_split: test\n")
    with pytest.raises(BenchmarkUnavailable, match=re.escape(told)):
        Bench(tmp_path).score(load_base(base, CPU), load_tokenizer(base), task)


def test_a_standard_task_reads_a_copy_of_its_repository(base: Path, tmp_path: Path) -> None:
    # Given the data set's repository as a download leaves it: Parquet, and a card that says what is where
    copy = tmp_path / "allenai" / "ai2_arc"
    (copy / "ARC-Easy").mkdir(parents=True)
    lines = (lay_out(tmp_path / "made", questions=6) / "lighthouse.jsonl").read_text().splitlines()
    rows = pyarrow.Table.from_pylist([json.loads(line) for line in lines])
    splits = ("train", "validation", "test")
    for split in splits:
        pyarrow.parquet.write_table(rows, copy / "ARC-Easy" / f"{split}-00000-of-00001.parquet")
    told = [f"  - split: {split}\n    path: ARC-Easy/{split}-*\n" for split in splits]
    card = f"---\nconfigs:\n- config_name: ARC-Easy\n  data_files:\n{''.join(told)}---\n# ARC\n"
    (copy / "README.md").write_text(card)
    # Then the task that lm-eval brings is measured on it
    scores = Bench(tmp_path).score(load_base(base, CPU), load_tokenizer(base), "arc_easy")["arc_easy"]
    assert (scores.documents, set(scores.metrics)) == (6, {"acc", "acc_norm"})


@pytest.mark.parametrize("task", ["lighthouse.yaml", "../x", "", "light*", "/etc/passwd", "a" * 129])
def test_a_path_is_no_name(bench: Path, task: str) -> None:
    with pytest.raises(SpecError):
        Bench(bench).score(None, None, task)


def test_one_document_has_a_difference_without_an_error() -> None:
    assert difference(Score(1.0, None, (1.0,)), Score(0.0, None, (0.0,))) == Difference(-1.0, None)
    assert difference(Score(0.5, None), Score(0.25, None)) == Difference(-0.25, None)


@pytest.mark.long  # two more processes of lm-eval; its entry point is compared in each run
def test_the_command_line_of_lm_eval_says_the_same(
    base: Path, adapter: Path, bench: Path, tmp_path: Path
) -> None:
    tokenizer = load_tokenizer(base)
    for peft in (None, adapter):
        given = f"pretrained={base},dtype=float32" + (f",peft={peft}" if peft else "")
        out = tmp_path / ("tuned" if peft else "base")
        done = subprocess.run(
            [
                *(sys.executable, "-m", "lm_eval", "run", "--model", "hf", "--model_args", given),
                *("--tasks", "lighthouse", "--include_path", str(bench), "--device", "cpu"),
                *("--batch_size", "8", "--output_path", str(out)),
            ],
            cwd=bench,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        (file,) = out.rglob("results_*.json")
        model = load_base(base, CPU)
        ours = Bench(bench).score(load_adapter(model, peft) if peft else model, tokenizer, "lighthouse")
        same(ours["lighthouse"].metrics, json.loads(file.read_text())["results"]["lighthouse"])

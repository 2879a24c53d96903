"""Benchmarks: tasks of lm-eval, as its own command line scores them, and how far two models differ.

A task is one of the standard ones or of the operator's own, whose YAML lies at the top of a folder. Data is
sought in that folder first, under the very names that tasks give it: ``allenai/ai2_arc`` is a copy of that
repository, ``questions.jsonl`` a file. So ``cd FOLDER && lm_eval run --include_path . …`` measures the same.

Loads lm-eval, and with it torch, only when something is measured.
"""

import logging
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import chdir, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from neftune_core.errors import BenchmarkUnavailable, SpecError

STANDARD = ("arc_easy", "arc_challenge", "hellaswag", "mmlu", "truthfulqa_mc1", "truthfulqa_mc2")
_FOLDERS = ("arc", "hellaswag", "mmlu/default", "truthfulqa")  # where lm-eval describes them
_REPOSITORIES = {  # of the standard tasks' data, by how their names begin
    "arc_": "allenai/ai2_arc",
    "hellaswag": "Rowan/hellaswag",
    "mmlu": "cais/mmlu",
    "truthfulqa_": "truthfulqa/truthful_qa",
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")  # no path and no pattern: lm-eval would follow those
_PLAIN = "none"  # the filter that leaves answers as they are
BATCH = 8


@dataclass(frozen=True, slots=True)
class Score:
    """One metric of one task: lm-eval's own figure and error, and its value on each document."""

    value: float
    stderr: float | None
    per_document: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Scores:
    """What a model scores in one task, or in a group of tasks."""

    task: str
    documents: int
    shots: int
    version: str | None
    metrics: Mapping[str, Score]

    def json(self) -> dict[str, Any]:
        """Give it as plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Difference:
    """How far the second model is from the first on the same documents."""

    value: float
    stderr: float | None  # of the mean of the differences, document by document


@dataclass(frozen=True, slots=True)
class Bench:
    """How tasks are measured."""

    folder: Path | None = None  # the operator's tasks and data
    shots: int | None = None  # None: as the task says
    limit: int | None = None  # the first so many documents
    batch: int = BATCH
    each: Callable[[], None] = lambda: None  # before each pass through the model; may raise

    def score(self, model: Any, tokenizer: Any, task: str) -> dict[str, Scores]:
        """Measure a model in one task, or in all tasks of a group; by name, what was named first."""
        if not _NAME.fullmatch(task):
            raise SpecError("A benchmark has a name like arc_easy.")
        with _quiet(), nullcontext() if self.folder is None else chdir(self.folder):
            return self._scored(model, tokenizer, task)

    def _scored(self, model: Any, tokenizer: Any, task: str) -> dict[str, Scores]:
        from lm_eval import simple_evaluate  # noqa: PLC0415 - slow, and brings torch
        from lm_eval.models.huggingface import HFLM  # noqa: PLC0415 - as above

        manager = _tasks(self.folder)
        if task not in manager.all_tasks:
            raise BenchmarkUnavailable(f"There is no benchmark {task} here.")
        loaded = _loaded(manager, task)
        hook = model.register_forward_pre_hook(lambda *_: self.each())
        try:
            told = simple_evaluate(
                HFLM(pretrained=model, tokenizer=tokenizer, backend="causal", batch_size=self.batch),
                tasks=loaded,
                num_fewshot=self.shots,
                limit=self.limit,
                task_manager=manager,
            )
        finally:
            hook.remove()
        if told is None:  # only where several processes share the work, and another one leads
            raise BenchmarkUnavailable(f"Benchmark {task} has no result in this process.")
        return _read(told, task)


def difference(first: Score, second: Score) -> Difference:
    """Hold two models against each other on the documents that both were asked."""
    pairs = list(zip(first.per_document, second.per_document, strict=True))
    if len(pairs) < 2:
        return Difference(second.value - first.value, None)
    differences = [after - before for before, after in pairs]
    mean = math.fsum(differences) / len(pairs)
    spread = math.fsum((one - mean) ** 2 for one in differences) / (len(pairs) - 1)
    return Difference(second.value - first.value, math.sqrt(spread / len(pairs)))


def compared(base: Mapping[str, Scores], tuned: Mapping[str, Scores]) -> dict[str, dict[str, Difference]]:
    """Give the differences of all metrics that both have, by task and metric."""
    return {
        task: {
            name: difference(scores.metrics[name], tuned[task].metrics[name])
            for name in scores.metrics
            if name in tuned[task].metrics
        }
        for task, scores in base.items()
        if task in tuned
    }


def known(folder: Path | None) -> list[str]:
    """List the tasks and groups that can be named."""
    with _quiet():
        return sorted(_tasks(folder).all_tasks)


def _tasks(folder: Path | None) -> Any:
    """Give lm-eval's manager of the standard tasks and of the operator's own, which win."""
    import lm_eval.tasks  # noqa: PLC0415 - slow, and brings torch

    home = Path(lm_eval.tasks.__file__).parent
    # Not all that lm-eval brings: to read its ten thousand files takes longer than a small benchmark.
    paths = [str(home / name) for name in _FOLDERS]
    if folder is not None:
        paths.append(str(folder))
    return lm_eval.tasks.TaskManager(include_path=paths, include_defaults=False)


def _loaded(manager: Any, task: str) -> list[Any]:
    """Read a task's description and data; a group is measured whole or not at all."""
    try:
        loaded = manager.load([task])
    except Exception as fault:  # whatever the library for data says of what it can't find
        raise BenchmarkUnavailable(
            f"The data of benchmark {task} can't be read ({type(fault).__name__}); no hub is asked for it. "
            f"{_how_to_place(task)}"
        ) from fault
    group = loaded["groups"].get(task)
    return list(loaded["tasks"].values()) if group is None else [group]


def _how_to_place(task: str) -> str:
    standard = task in STANDARD or task.startswith("mmlu_")
    for beginning, repository in _REPOSITORIES.items():
        if standard and task.startswith(beginning):
            return f"Place a copy of the data set {repository} in the benchmarks folder, as {repository}."
    return "Place it in the benchmarks folder under the name that the task gives it."


def _read(told: Mapping[str, Any], asked: str) -> dict[str, Scores]:
    """Read lm-eval's results; per document where it kept them."""
    leaves = {name: _leaf(told, name) for name in told.get("samples", {})}
    groups = {
        name: _group(told, name, leaves) for name in told.get("groups", {}) if name in told["group_subtasks"]
    }
    found = {**groups, **leaves}
    return {name: found[name] for name in sorted(found, key=lambda name: (name != asked, name))}


def _leaf(told: Mapping[str, Any], name: str) -> Scores:
    samples = told["samples"][name]

    def per_document(metric: str, kind: str) -> Iterable[object]:
        return (sample.get(metric) for sample in samples if sample["filter"] == kind)

    metrics = {
        _named(metric, kind): Score(value, stderr, _numbers(per_document(metric, kind)))
        for metric, kind, value, stderr in _figures(told["results"][name])
    }
    version = told["versions"].get(name)
    documents = told["n-samples"][name]["effective"]
    return Scores(name, documents, told["n-shot"][name], None if version is None else str(version), metrics)


def _group(told: Mapping[str, Any], name: str, leaves: Mapping[str, Scores]) -> Scores:
    inside = [leaves[one] for one in _under(told["group_subtasks"], name) if one in leaves]
    metrics = {}
    for metric, kind, value, stderr in _figures(told["groups"][name]):
        called = _named(metric, kind)
        every = [one.metrics[called].per_document for one in inside if called in one.metrics]
        metrics[called] = Score(value, stderr, tuple(number for each in every for number in each))
    shots = {one.shots for one in inside}
    version = told["versions"].get(name)
    return Scores(
        name,
        sum(one.documents for one in inside),
        shots.pop() if len(shots) == 1 else 0,
        None if version is None else str(version),
        metrics,
    )


def _under(groups: Mapping[str, Sequence[str]], name: str) -> list[str]:
    """List the tasks of a group and of the groups in it, each once."""
    found: dict[str, None] = {}
    for one in groups.get(name, ()):
        found.update(dict.fromkeys(_under(groups, one) if groups.get(one) else [one]))
    return list(found)


def _figures(results: Mapping[str, Any]) -> Iterable[tuple[str, str, float, float | None]]:
    for key, value in results.items():
        metric, _, kind = key.partition(",")
        if not kind or metric.endswith("_stderr") or not isinstance(value, int | float):
            continue
        stderr = results.get(f"{metric}_stderr,{kind}")
        yield metric, kind, float(value), stderr if isinstance(stderr, float) else None


def _named(metric: str, kind: str) -> str:
    return metric if kind == _PLAIN else f"{metric},{kind}"


def _numbers(values: Iterable[object]) -> tuple[float, ...]:
    """Give what can be averaged; a metric that is no number for each document has none."""
    told = list(values)
    if not all(isinstance(one, int | float) for one in told):
        return ()
    return tuple(float(one) for one in told if isinstance(one, int | float))


@contextmanager
def _quiet() -> Any:
    """Let lm-eval and its libraries speak only of errors."""
    names = ("lm_eval", "datasets", "evaluate", "fsspec", "filelock")
    before = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)

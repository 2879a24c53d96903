"""An evaluation as a process: files in, a folder of results out, a reporter told, an exit status."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from neftune_core import messages
from neftune_core.errors import SpecError
from neftune_core.evaluate.parts import Parts
from neftune_core.evaluate.results import Of
from neftune_core.evaluate.spec import EvaluationSpec
from neftune_core.export import sha256
from neftune_core.loading import libraries
from neftune_core.runner import Hearer, StopFlag, find_base
from neftune_core.runner import told as spoken
from neftune_core.spec import JobSpec
from neftune_core.spec_faults import faults_of

FOLDER = "evaluation"
NOBODYS = {"model": "local/model", "dataset": "rows", "alpha": 0.0}  # where no run is named


@dataclass(frozen=True)
class Errand:
    """What the command line named."""

    spec: Path
    out: Path
    model_dir: Path | None = None
    run: Path | None = None  # a run's folder; else job, tuned and step
    job: Path | None = None  # its record.json, or a JobSpec
    tuned: Path | None = None
    step: int | None = None
    other: Path | None = None  # the tuned weights of the run that a judge compares with
    rows: Path | None = None
    validation_rows: Path | None = None
    data: Mapping[str, Path] = field(default_factory=dict)
    benchmarks: Path | None = None


def evaluate_job(errand: Errand, report_fd: int | None) -> int:
    """Evaluate and give the exit status; whatever goes wrong is told before."""
    return spoken(errand.out, report_fd, lambda _, reporter, stop: _evaluate(errand, reporter, stop))


def _evaluate(errand: Errand, reporter: Hearer, stop: StopFlag) -> int:
    spec = read_evaluation(errand.spec)
    record, job = _record(errand)
    errand.out.mkdir(parents=True, exist_ok=True)
    base = errand.model_dir or find_base(job)

    # torch comes with it, after all that may refuse
    with libraries(before_all=True):
        from neftune_core import model  # noqa: PLC0415 - as told
        from neftune_core.evaluate import assembly, material, run, subject  # noqa: PLC0415 - as told
        from neftune_core.walk import Stopped  # noqa: PLC0415 - as told

    model.hush_libraries()
    found = subject.Found(errand.tuned, errand.step)
    if errand.run is not None:
        found = subject.found_in(errand.run, record, spec.checkpoint)
    elif spec.checkpoint != "base" and errand.tuned is None and errand.step != 0:  # that is the base's
        raise SpecError("checkpoint is to be measured; name the run's folder or the tuned weights.")
    sources = material.Sources(errand.rows, errand.validation_rows, errand.data)
    rows = material.Material(spec, job, sources, base)
    around = run.Surroundings(
        material=rows,
        weights=subject.Weights(job, base, found.tuned, errand.other),
        of=_of(spec, job, found.step, rows.template),
        parts=Parts(errand.out, _belonging(spec, job, errand, found.tuned)),
        reporter=reporter,
        stop=stop,
        tasks=errand.benchmarks,
    )
    try:
        results, parts = run.Evaluation(spec, around).run()
    except Stopped:
        return messages.EXIT_STOPPED
    folder = errand.out / FOLDER
    assembly.lay_out(results, parts, folder)
    reporter.artifact(FOLDER, folder)
    reporter.event("evaluation.completed", {"missing": [one.what for one in results.missing]})
    return messages.EXIT_OK


def read_evaluation(path: Path) -> EvaluationSpec:
    """Read the spec as the api does, and tell its faults in one line."""
    try:
        return EvaluationSpec.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise SpecError(f"{path.name}: {_faults(error, EvaluationSpec)}") from error


def _record(errand: Errand) -> tuple[dict[str, Any], JobSpec]:
    """Read the record of the run that is measured, or the spec it would have."""
    path = errand.run / "record.json" if errand.run else errand.job
    if path is None:
        return {}, JobSpec.model_validate(NOBODYS)
    try:
        told = json.loads(path.read_bytes())
        record = told if "spec" in told else {}
        return record, JobSpec.model_validate(told.get("spec", told))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        reason = _faults(error, JobSpec) if isinstance(error, ValidationError) else "it can't be read"
        raise SpecError(f"{path.name} should be a run's record.json or a JobSpec: {reason}.") from error


def _faults(error: ValidationError, model: type[BaseModel]) -> str:
    faults = faults_of(error, model)
    return "; ".join(": ".join(filter(None, (".".join(map(str, fault.loc)), fault.msg))) for fault in faults)


def _of(spec: EvaluationSpec, job: JobSpec, step: int | None, template: str) -> Of:
    base = spec.checkpoint == "base"
    return Of(
        model=job.model,
        checkpoint="step" if isinstance(spec.checkpoint, int) else spec.checkpoint,
        step=0 if base else spec.checkpoint if isinstance(spec.checkpoint, int) else step,
        template=template,
        alpha=None if base else job.alpha,
        distribution=None if base else job.noise.distribution,
    )


def _belonging(spec: EvaluationSpec, job: JobSpec, errand: Errand, tuned: Path | None) -> dict[str, Any]:
    """Tell what decides the results, so that parts of another evaluation are not taken for this one's."""
    files = {"rows": errand.rows, "validation_rows": errand.validation_rows, **errand.data}
    return {
        "spec": spec.model_dump(mode="json", exclude={"name", "judge"}),
        "job": job.model_dump(mode="json", exclude={"name", "tags", "metadata", "hub_token", "resources"}),
        "files": {name: None if path is None else sha256(path) for name, path in files.items()},
        "tuned": None if tuned is None else _digests(tuned),
        "other": None if errand.other is None else _digests(errand.other),
    }


def _digests(path: Path) -> dict[str, str]:
    """Name weights by their content."""
    if path.is_file():
        return {path.name: sha256(path)}
    return {file.name: sha256(file) for file in sorted(path.glob("*.safetensors"))}

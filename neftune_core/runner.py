"""A run as a process: files in, files out, a reporter told, an exit status.

Owns what belongs to the process: signals, the last word after a failure, the output folder. The
training itself is :mod:`neftune_core.train`.
"""

import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from pydantic import ValidationError

from neftune_core import eval_losses, messages
from neftune_core.catalog import Catalog
from neftune_core.errors import CoreError, ModelNotAvailable, SpecError, SupervisorLost
from neftune_core.launched import Place, place_in
from neftune_core.loading import libraries
from neftune_core.reporters import LoggedReporter, SilentReporter, TerminalReporter
from neftune_core.rows import Row, read_rows
from neftune_core.sampling import held_out
from neftune_core.spec import JobSpec
from neftune_core.spec_faults import faults_of


class StopFlag:
    """Raised by SIGTERM (and, at a terminal, Ctrl-C); looked at between steps."""

    def __init__(self) -> None:
        self._raised = False

    def listen(self) -> None:
        """Take over the signals of this process."""
        signal.signal(signal.SIGTERM, self._raise)
        signal.signal(signal.SIGINT, self._raise)

    def requested(self) -> bool:
        """Tell whether somebody wants the run to stop."""
        return self._raised

    def _raise(self, _number: int, _frame: FrameType | None) -> None:
        self._raised = True


@dataclass(frozen=True)
class Errand:
    """What the command line named."""

    spec: Path
    rows: Path
    out: Path
    validation_rows: Path | None = None
    model_dir: Path | None = None
    checkpoints: bool = False
    shared_tokens: Path | None = None
    resume: bool = False  # from the newest checkpoint; where there is none, from the beginning


Hearer = LoggedReporter | TerminalReporter | SilentReporter


def run_job(errand: Errand, report_fd: int | None) -> int:
    """Run the job and give the exit status; whatever goes wrong is told before."""
    return told(errand.out, report_fd, lambda place, reporter, stop: _run(errand, place, reporter, stop))


def told(out: Path, report_fd: int | None, work: Callable[[Place, Hearer, StopFlag], int]) -> int:
    """Do the work of this process, whatever its kind; give the exit status, and tell what goes wrong."""
    stop = StopFlag()
    stop.listen()
    reporter: Hearer = TerminalReporter() if report_fd is None else LoggedReporter(report_fd, out)
    try:
        try:
            place = place_in(os.environ)
            if not place.leads:
                reporter = SilentReporter(place.rank)
            return work(place, reporter, stop)
        except SupervisorLost:
            raise
        except CoreError as error:
            if report_fd is not None:
                traceback.print_exc()  # for the log; a person needs only the message
            reporter.failed(error)
        except Exception as error:
            # The text of an unforeseen error may hold rows; it stays in the log.
            traceback.print_exc()
            reporter.failed(CoreError(f"{type(error).__name__}; the log has the traceback."))
    except SupervisorLost:
        sys.stderr.write("Nobody reads the report any more; ending.\n")
    return messages.EXIT_FAILED


def _run(errand: Errand, place: Place, reporter: Hearer, stop: StopFlag) -> int:
    spec = read_spec(errand.spec)
    errand.out.mkdir(parents=True, exist_ok=True)
    base = errand.model_dir or find_base(spec)
    rows = list(read_rows(errand.rows))
    train_rows, eval_rows = _split(spec, rows, errand.validation_rows)

    # torch comes with it, after all that may refuse
    with libraries(before_all=True):
        from neftune_core import model, progress, ranks, record, train  # noqa: PLC0415 - as told

    model.hush_libraries()
    wanted = progress.Wanted(errand.out / "checkpoints", errand.resume)
    checkpoints = wanted if errand.checkpoints or errand.resume else None
    with ranks.joined(place, cuda=model.has_gpu(spec)) as together:
        outcome = train.run(
            spec,
            train_rows,
            eval_rows,
            errand.out,
            base,
            reporter,
            stop,
            together,
            checkpoints=checkpoints,
            shared_tokens=errand.shared_tokens,
        )
    if outcome.stopped:
        return messages.EXIT_STOPPED
    if not place.leads:
        return messages.EXIT_OK
    record_path = errand.out / "record.json"
    record.write(record_path, spec, outcome, record.Sources(base, errand.rows, len(rows)), place.world)
    reporter.artifact(outcome.kind, outcome.folder)
    if outcome.best is not None:
        reporter.artifact("best", outcome.best)
    reporter.artifact("record", record_path)
    if outcome.eval_losses is not None:
        losses_path = errand.out / eval_losses.NAME
        losses_path.write_bytes(eval_losses.encoded(outcome.eval_losses))
        reporter.artifact(eval_losses.NAME, losses_path)
    reporter.event("run.completed", {**outcome.final, "total_steps": outcome.resolved["total_steps"]})
    return messages.EXIT_OK


def read_spec(path: Path) -> JobSpec:
    """Read the spec as the api does, and tell its faults in one line."""
    try:
        return JobSpec.model_validate_json(path.read_bytes())
    except ValidationError as error:
        told = "; ".join(
            ": ".join(filter(None, (".".join(map(str, fault.loc)), fault.msg)))
            for fault in faults_of(error, JobSpec)
        )
        raise SpecError(f"{path.name}: {told}") from error


def _split(
    spec: JobSpec, rows: Sequence[Row], validation_path: Path | None
) -> tuple[Sequence[Row], Sequence[Row]]:
    if validation_path is not None:
        return rows, list(read_rows(validation_path))
    if spec.validation.dataset is not None:
        raise SpecError("validation.dataset is named; give its rows with --validation-rows.")
    return held_out(rows, spec.validation.split, spec.training.seed)


def find_base(spec: JobSpec) -> Path:
    """Find the spec's base under MODELS_DIRS."""
    roots = [Path(root) for root in os.environ.get("MODELS_DIRS", "").split(os.pathsep) if root]
    found = Catalog(roots, allowed=["*"], hub=False, cache=None).find(spec.model, spec.revision)
    if found is None:
        raise ModelNotAvailable(f"{spec.model} is not under MODELS_DIRS; name its folder with --model-dir.")
    return found

"""The report of a run, beside its results: made from the record and the metrics, by the supervisor itself.

A report is made of what a runner wrote, so whatever is odd there must not cost anybody the run.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import structlog

from neftune_core.report.curves import kept
from neftune_core.report.files import HTML, JSON, write
from neftune_core.report.folders import evaluation_in
from neftune_core.report.reading import Point, Run
from neftune_core.report.run import report_of

log = structlog.get_logger()


def of_run(folder: Path, record: Mapping[str, Any], rows: Iterable[Point]) -> dict[str, Path]:
    """Write the report of a run and give its files by name; none where it could not be made."""
    return _written(folder, lambda: Run(record, metrics=kept(rows)))


def of_evaluation(folder: Path, record: Mapping[str, Any], measured: Path) -> dict[str, Path]:
    """Write the report of what was measured of a run, whose record that is; likewise."""
    return _written(folder, lambda: Run(record, evaluations=[evaluation_in(measured)]))


def _written(folder: Path, run: Callable[[], Run]) -> dict[str, Path]:
    try:
        html, data = write(report_of(run()), folder)
    except Exception:  # the run has come to its end, and its results are worth more than a page about them
        log.exception("run.not_reported")
        return {}
    return {HTML: html, JSON: data}

"""``python -m neftune_core report``: a page and its JSON from the folders of runs and evaluations."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

HTML, JSON = "report.html", "report.json"  # as neftune_core.report.files has them


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    top = argparse.ArgumentParser(
        prog="python -m neftune_core report",
        description="Report a run or a series as one page that needs nothing else, and as JSON.",
    )
    kinds = top.add_subparsers(dest="of", required=True)
    run = kinds.add_parser(
        "run",
        help="one run",
        description="Report a run from its record.json, its metrics and its evaluations.",
    )
    run.add_argument("folder", type=Path, metavar="RUN_DIR", help="the OUT_DIR of the run")
    run.add_argument("--control", type=Path, metavar="RUN_DIR", help="the same of the run without noise")
    run.add_argument("--metrics", type=Path, metavar="PATH", help="metrics.csv, or what --report-fd was told")
    run.add_argument(
        "--evaluation", type=Path, action="append", metavar="DIR", help="its OUT_DIR; may be repeated"
    )
    series = kinds.add_parser(
        "series",
        help="runs that differ in alpha and seed",
        description="Judge the runs of a series and report it; evaluations lie below their folders.",
    )
    series.add_argument("folders", type=Path, nargs="+", metavar="RUN_DIR", help="the OUT_DIR of each run")
    series.add_argument(
        "--series", type=Path, metavar="PATH", help="what GET /sweeps/{id} says; the folders are named by job"
    )
    for kind in (run, series):
        kind.add_argument(
            "--out", type=Path, required=True, metavar="DIR", help=f"where {HTML} and {JSON} go"
        )
    return top


def main(arguments: Sequence[str]) -> int:
    """Do what the command line asks and give the exit status."""
    asked = parser().parse_args(arguments)
    from neftune_core.errors import CoreError  # noqa: PLC0415 - not for --help
    from neftune_core.report import folders, run, series  # noqa: PLC0415 - as above
    from neftune_core.report.files import write  # noqa: PLC0415 - as above

    try:
        if asked.of == "run":
            control = None if asked.control is None else folders.run_in(asked.control)
            found = folders.run_in(asked.folder, asked.metrics, asked.evaluation or ())
            report = run.report_of(found, control)
        else:
            report = series.report_of(folders.series_in(asked.folders, asked.series))
        for path in write(report, asked.out):
            sys.stdout.write(f"{path}\n")
    except (CoreError, OSError) as fault:
        sys.stderr.write(f"{getattr(fault, 'code', 'not_written')}: {fault}\n")
        return 1
    return 0

"""Reports that a supervisor makes: of a run, of an evaluation, and of what cannot be reported."""

import json
from pathlib import Path

from tests.core.report import made
from worker import reports


def test_an_evaluation_is_reported_with_the_run_that_it_is_of(tmp_path: Path) -> None:
    measured = tmp_path / "out" / "evaluation"
    measured.mkdir(parents=True)
    results = made.whole_evaluation().results
    (measured / "results.json").write_text(results.model_dump_json())
    found = reports.of_evaluation(tmp_path, made.record(alpha=5.0), measured)
    assert sorted(found) == ["report.html", "report.json"]
    told = json.loads(found["report.json"].read_bytes())
    assert {"run", "losses", "overlap", "diversity", "judge", "benchmarks"} <= {
        one["id"] for one in told["sections"]
    }
    assert "no_control" in {one["code"] for one in told["caveats"]}


def test_what_cannot_be_reported_costs_nothing_but_the_report(tmp_path: Path) -> None:
    assert reports.of_evaluation(tmp_path, made.record(), tmp_path / "nowhere") == {}
    (tmp_path / "report.html").mkdir()
    assert reports.of_run(tmp_path, made.record(), made.curve()) == {}

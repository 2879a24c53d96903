"""The report of a series over HTTP: its verdict and what its runs have left, as a page and as JSON."""

import json
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from neftune_core.report.style import POLICY
from neftune_core.spec import JobSpec
from neftune_store.db import unit_of_work
from neftune_store.settling import settle_succeeded
from neftune_store.submit import Origin, submit
from tests.api.live_api import Service, claim, store_artifact
from tests.api.test_sweeps import all_succeed, shown, submitted
from tests.core.report import made
from tests.core.report.shown import Shown

EVIL = "<script>alert(1)</script>"


@pytest.fixture
def sweep(service: Service, client: httpx.Client) -> dict[str, Any]:
    """A series that has come to its end, in which noise helps."""
    asked = submitted(client)
    all_succeed(service, client, asked, {0: 4.5, 5: 4.4, 10: 4.1})
    return asked


def told(client: httpx.Client, sweep: dict[str, Any]) -> dict[str, Any]:
    answer = client.get(f"/sweeps/{sweep['id']}/report", params={"format": "json"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    report: dict[str, Any] = answer.json()
    return report


def evaluate(service: Service, job_id: str, files: dict[str, Any]) -> None:
    """Let a job have been evaluated, with these files as result."""
    rows = [
        store_artifact(service, f"evaluation/{name}", json.dumps(content).encode(), "application/json")
        for name, content in files.items()
    ]
    with unit_of_work(service.engine) as session:
        asked = text("SELECT project_id, spec FROM jobs WHERE id = :id")
        project, spec = session.execute(asked, {"id": job_id}).one()
        origin = Origin(kind="evaluate", of_job=job_id, options={"kind": "evaluate", "kinds": ["diversity"]})
        job, _ = submit(
            session,
            project,
            JobSpec.model_validate(spec),
            idempotency_key=None,
            origin=origin,
            queue_limit=99,
        )
    claimed = claim(service, {"id": job.id})
    with unit_of_work(service.engine) as session:
        settle_succeeded(session, claimed, {"evaluation": True}, rows)


def results(**found: Any) -> dict[str, Any]:
    of: dict[str, Any] = made.evaluation(kinds=("diversity",), **found).results.model_dump(mode="json")
    return of


def test_a_report_tells_the_verdict_of_the_series(client: httpx.Client, sweep: dict[str, Any]) -> None:
    report, verdict = told(client, sweep), shown(client, sweep)["verdict"]
    assert report["title"] == "how much"
    assert report["verdict"]["headline"] == "Alpha 10 is recommended"
    assert report["verdict"]["interval"] == verdict["interval"]
    lines = next(one["blocks"] for one in report["sections"] if one["id"] == "results")
    assert len(next(one for one in lines if one["type"] == "table")["rows"]) == 9


def test_the_page_is_sent_to_be_kept_and_runs_nothing(client: httpx.Client, sweep: dict[str, Any]) -> None:
    answer = client.get(f"/sweeps/{sweep['id']}/report")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.headers["content-disposition"] == 'attachment; filename="report.html"'
    assert answer.headers["content-security-policy"] == f"{POLICY}; sandbox"
    page = Shown(answer.text)
    assert "Alpha 10 is recommended" in page.texts
    assert "script" not in page.tags


def test_a_series_that_still_runs_is_reported_as_it_stands(client: httpx.Client) -> None:
    report = told(client, submitted(client))
    assert (report["verdict"]["outcome"], report["verdict"]["reasons"]) == ("inconclusive", ["unfinished"])


def test_what_was_evaluated_is_in_the_report(
    service: Service, client: httpx.Client, sweep: dict[str, Any]
) -> None:
    jobs = {(one["alpha"], one["seed"]): one["job"] for one in shown(client, sweep)["results"]}
    for alpha, words in ((0, "short"), (10, f"long {EVIL}")):
        answers = {"answers-prompts-checkpoint-plain.json": made.answers(words)}
        found = results(answers=[made.answers_of()], overlap=[made.overlap(f1=0.5 - alpha / 64)])
        evaluate(service, jobs[alpha, 1], {"results.json": found, **answers})
    report = told(client, sweep)
    sections = {one["id"]: one["blocks"] for one in report["sections"]}
    rows = {(row["measure"], row["alpha"]): row for row in sections["evaluations"][0]["rows"]}
    assert rows["ROUGE-L with training answers", 10]["difference"] == -10 / 64
    (pair,) = sections["answers"][1]["pairs"]
    assert [one["text"] for one in pair["answers"]] == [f"long {EVIL}", "short"]
    assert "evaluations_incomplete" in {one["code"] for one in report["caveats"]}
    page = client.get(f"/sweeps/{sweep['id']}/report").text
    assert "&lt;script&gt;" in page
    assert "<script" not in page


@pytest.mark.parametrize("content", [{}, [], {"spec": 5}])
def test_an_evaluation_that_is_none_is_left_out(
    service: Service, client: httpx.Client, sweep: dict[str, Any], content: object
) -> None:
    evaluate(service, shown(client, sweep)["results"][0]["job"], {"results.json": content})
    assert "evaluations" not in {one["id"] for one in told(client, sweep)["sections"]}


def test_a_format_that_there_is_none_of_is_refused(client: httpx.Client, sweep: dict[str, Any]) -> None:
    answer = client.get(f"/sweeps/{sweep['id']}/report", params={"format": "pdf"})
    assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (422, ["query", "format"])

"""Runs: begun, watched, stopped; and what came of them taken away."""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.dashboard import axe, slow
from tests.dashboard.curves import expect_step, loss_chart, noisy_points, smoothed, steps_shown
from tests.dashboard.payloads import PAYLOADS, inert
from tests.dashboard.pictures import NARROW, WIDE, shoot
from tests.dashboard.trained import Series
from tests.dashboard.watched import Watched
from tests.standalone.instance import Instance

ROWS = [
    {"instruction": f"What does the keeper do on day {n}?", "output": f"On day {n} he lights the lamp."}
    for n in range(64)
]
# What a browser tells of a tab that comes to the front or goes behind another.
SEEN = """(seen) => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => !seen });
    document.dispatchEvent(new Event("visibilitychange"));
}"""
LONG = 90  # seconds: for what a worker does while tests of all kinds share the machine

_PICTURE = "document.querySelector('.chart-plot canvas').toDataURL()"


@pytest.fixture(scope="module")
def lamps(service: Instance) -> str:
    with service.client() as client:
        rows = "\n".join(map(json.dumps, ROWS))
        made = client.post("/datasets", params={"name": "of the runs"}, content=rows.encode())
        return str(made.raise_for_status().json()["id"])


def submit(client: httpx.Client, lamps: str, name: str, **spec: Any) -> str:
    training = {"learning_rate": 2e-3, "batch_size": 4, "max_length": 64, **spec.pop("training", {})}
    body = {"model": "neftune/demo-base", "dataset": lamps, "name": name, "training": training, **spec}
    return str(client.post("/jobs", json=body).raise_for_status().json()["id"])


@pytest.fixture
def long_run(service: Instance, lamps: str) -> Iterator[str]:
    """A run that is not over before it was looked at."""
    with service.client() as client:
        job = submit(client, lamps, "the long one", training={"max_steps": 4000, "eval_every": 25})
        yield job
        client.post(f"/jobs/{job}/cancel")


def test_a_run_is_watched_paused_and_cancelled(page: Page, service: Instance, long_run: str, tmp_path: Path):
    # In the list it is seen to begin, and to go on
    row = page.locator(".runs-row").filter(has=page.locator(f'a[href$="{long_run}"]'))
    expect(row.get_by_role("progressbar")).to_have_attribute(
        "value", re.compile("[1-9]"), timeout=LONG * 1000
    )
    with slow.runner(service):
        expect(row).to_contain_text("of 4,000 steps")
        expect(row).to_contain_text(re.compile(r"\d[hms] left"))
        expect(page.get_by_text(re.compile("^heard .* ago$")).first).to_be_visible()
        axe.look(page)
        row.get_by_role("link", name="the long one").click()
        # Points arrive by themselves; how they are shown outlives a reload
        expect_step(page, 1, LONG)
        expect_step(page, steps_shown(page) + 3, LONG)
        # Where nobody looks no line is kept open: a browser has six for all its tabs. Then it goes on
        with page.expect_event("requestfailed", lambda one: "/stream" in one.url):
            page.evaluate(SEEN, False)
        with page.expect_request(re.compile("/stream")):
            page.evaluate(SEEN, True)
        expect_step(page, steps_shown(page) + 1, LONG)
        page.get_by_label("Smoothing").fill("0.6")
        page.get_by_label("Along").select_option("time")
        page.reload()
        expect(page.get_by_label("Along")).to_have_value("time")
        expect(page.get_by_label("Smoothing")).to_have_value("0.6")
        page.get_by_label("Along").select_option("step")
        axe.look(page)
        shoot(page, "run-live")
    # Paused, it keeps still: then what the page has is what the service has
    page.get_by_role("button", name="Pause").click()
    asked = page.get_by_role("dialog")
    expect(asked).to_contain_text("writes a checkpoint")
    asked.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("Paused", exact=True)).to_be_visible(timeout=LONG * 1000)
    with service.client() as client:
        whole = client.get(
            f"/jobs/{long_run}/metrics", params={"keys": "train_loss", "max_points": 10_000}
        ).json()
    noisy = whole["series"]["train_loss"]
    expect_step(page, noisy[-1][0], LONG)
    # The noisy loss is what needs smoothing most
    legend = loss_chart(page).get_by_role("button", name="Training, with noise")
    expect(legend).to_contain_text(f"{smoothed([value for _, value in noisy], 0.6):.4g}")
    page.get_by_label("Smoothing").fill("0")
    expect(legend).to_contain_text(f"{noisy[-1][1]:.4g}")
    with page.expect_download() as fetched:
        loss_chart(page).get_by_role("button", name="CSV of Loss").click()
    assert noisy_points(Path(fetched.value.path())) == noisy
    # And cancelled, it is over
    page.get_by_role("button", name="Cancel run").click()
    expect(page.get_by_role("dialog")).to_contain_text("stops for good")
    axe.look(page)
    page.get_by_role("dialog").get_by_role("button", name="Cancel run").click()
    expect(page.get_by_text("Cancelled", exact=True)).to_be_visible(timeout=LONG * 1000)
    expect(page.get_by_role("button", name="Retry")).to_be_visible()


def test_a_chart_is_zoomed_panned_and_read_by_keys_and_as_a_table(page: Page, series: Series):
    page.goto(f"/app/runs/{series.noisy}")
    chart = loss_chart(page)
    expect_step(page, 4, LONG)  # before it is drawn there is nothing to zoom
    # The base's level is in it, and told
    expect(chart.get_by_role("group")).to_have_attribute("aria-label", re.compile(r"Base, held-out: \d\.\d"))
    expect(chart.locator(".chart-level")).to_contain_text(re.compile(r"Base, held-out \d\.\d"))
    with page.expect_response(re.compile("until_step=")) as finer:
        chart.get_by_role("group").focus()
        page.keyboard.press("+")
    assert finer.value.ok
    expect(page).to_have_url(re.compile(r"from=.*&to="))
    zoomed = page.url
    page.keyboard.press("ArrowRight")
    expect(page).not_to_have_url(zoomed)
    page.keyboard.press("0")
    expect(page).not_to_have_url(re.compile("from="))
    # By mouse: a drag zooms
    box = chart.locator(".u-over").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 60, steps=3)
    page.mouse.up()
    expect(page).to_have_url(re.compile(r"from=.*&to="))
    expect(chart.get_by_text(re.compile(r"^Step \d"))).to_be_visible()
    chart.get_by_role("button", name="Table of Loss").click()
    table = chart.get_by_role("region", name="Table of Loss")
    expect(table.get_by_role("columnheader")).to_have_text(
        ["Step", "Training, with noise", "Training, clean", "Held-out, clean"]
    )
    axe.look(page)
    shoot(page, "run-zoomed")
    # Along another axis points lie elsewhere
    page.get_by_label("Along").select_option("tokens")
    expect(table.get_by_role("columnheader").nth(1)).to_have_text("Tokens")
    expect(table.get_by_role("row").last.get_by_role("cell").nth(0)).to_have_text("4")
    expect(table.get_by_role("row").last.get_by_role("cell").nth(1)).to_have_text(
        re.compile(r"^\d{3}|\d,\d{3}")
    )
    # A logarithm draws another picture, and so does a line that is hidden
    drawn = page.evaluate(_PICTURE)
    page.get_by_label("Logarithmic").check()
    page.wait_for_function(f"before => {_PICTURE} !== before", arg=drawn)
    drawn = page.evaluate(_PICTURE)
    line = chart.get_by_role("button", name="Held-out, clean")
    line.click()
    expect(line).to_have_attribute("aria-pressed", "false")
    page.wait_for_function(f"before => {_PICTURE} !== before", arg=drawn)
    with page.expect_download() as fetched:
        chart.get_by_role("button", name="PNG of Loss").click()
    assert Path(fetched.value.path()).read_bytes().startswith(b"\x89PNG")


def test_what_a_run_has_made_is_taken_away_and_its_hash_is_right(page: Page, series: Series):
    page.goto(f"/app/runs/{series.noisy}?part=files")
    link = page.get_by_role("link", name="Download adapter", exact=True)
    row = page.get_by_role("row").filter(has=link)
    with page.expect_download() as fetched:
        link.click()
    got = hashlib.sha256(Path(fetched.value.path()).read_bytes()).hexdigest()
    expect(row.locator(".run-hash .mono")).to_have_text(got)
    # Its checkpoints, the furthest first, each with its held-out loss
    kept = page.get_by_role("region", name="Checkpoints").get_by_role("row")
    expect(kept).to_have_text([re.compile("^Step"), re.compile(r"^4\d\.\d"), re.compile(r"^2\d\.\d")])
    axe.look(page)
    shoot(page, "run-files")

    parts = page.get_by_role("navigation", name="Parts of the run")
    parts.get_by_role("link", name="Story").click()
    verified = page.get_by_role("listitem").filter(has_text="neftune.verified")
    expect(verified).to_contain_text(re.compile(r"Effective alpha\s*[45]\.\d"))
    axe.look(page)
    shoot(page, "run-story")

    parts.get_by_role("link", name="Configuration").click()
    rate = page.get_by_role("row").filter(has_text="training.learning_rate")
    expect(rate).to_contain_text("0.002")
    expect(rate).to_contain_text("0.0002")
    expect(page.get_by_role("row").filter(has_text="lora.r")).to_have_count(0)  # as by default
    axe.look(page)
    shoot(page, "run-config")

    parts.get_by_role("link", name="Log").click()
    log = page.get_by_role("log")
    expect(log).to_contain_text("run.planned")
    page.get_by_label("Find").fill("RUN.Completed")
    expect(log).not_to_contain_text("run.planned")
    expect(log).to_contain_text("run.completed")
    # It is followed to its end
    page.set_viewport_size({**NARROW, "height": 300})
    page.get_by_label("Find").fill("")
    expect(log).to_contain_text("run.planned")
    assert log.evaluate("log => log.scrollHeight > log.clientHeight + 8")
    page.wait_for_function(
        "log => log.scrollTop + log.clientHeight >= log.scrollHeight - 8", arg=log.element_handle()
    )
    page.set_viewport_size(WIDE)
    page.get_by_label("Find").fill("no such words anywhere")
    expect(page.get_by_text("No line holds that.")).to_be_visible()
    axe.look(page)
    parts.get_by_role("link", name="Evaluations").click()
    expect(page.get_by_role("link", name="Download report.html")).to_be_visible()
    axe.look(page)
    shoot(page, "run-evaluations")
    parts.get_by_role("link", name="Curves").click()
    measured = page.get_by_role("figure").filter(has=page.get_by_role("heading", name="Measured alpha"))
    expect(measured.get_by_role("group")).to_have_attribute(
        "aria-label", re.compile(r"to (5|[45]\.\d+) at step \d.*: 5$")
    )
    expect_step(page, 4, LONG)
    shoot(page, "run-ended")


def test_a_run_that_waits_tells_its_place_and_why_and_a_series_stands_together(
    page: Page, service: Instance, lamps: str
):
    with service.client() as client:
        submit(client, lamps, "first", training={"max_steps": 4000})  # it lets none of the others begin
        spec = {"model": "neftune/demo-base", "dataset": lamps, "name": "of a series"}
        made = client.post("/sweeps", json={"job": spec, "alpha": [0, 5], "seed": [1, 2]})
        sweep = made.raise_for_status().json()["id"]
        page.goto("/app/runs")
        waiting = page.get_by_role("listitem").filter(has_text="waiting for a free worker")
        expect(waiting.first).to_contain_text(re.compile(r"\d\."))
        shoot(page, "runs-waiting")
        axe.look(page)
        client.post(f"/sweeps/{sweep}/cancel").raise_for_status()
        for job in client.get("/jobs", params={"ended": "false"}).json()["items"]:
            client.post(f"/jobs/{job['id']}/cancel")
    # What is asked for stands in the address, and a reload asks the same
    page.get_by_label("Status").select_option("cancelled")
    series = page.get_by_role("listitem").filter(has=page.get_by_role("link", name="Series of a series")).last
    expect(series).to_contain_text("α 0, 5")
    page.reload()
    expect(page.get_by_label("Status")).to_have_value("cancelled")
    series.get_by_role("button", name="Runs of the series").click()
    expect(series.get_by_role("link", name="of a series", exact=True)).to_have_count(4)
    shoot(page, "runs-found")
    axe.look(page)


def test_names_tags_and_notes_of_runs_stay_text(page: Page, watched: Watched, service: Instance, lamps: str):
    watched.allow("/record")  # 404: a run that was cancelled before it began has none
    named = [one for one in PAYLOADS if one.isprintable() and "\u202e" not in one]
    with service.client() as client:
        jobs = [
            submit(client, lamps, one, tags=[one[:64]], metadata={one[:64]: one}, training={"max_steps": 1})
            for one in named
        ]
        for job in jobs:
            client.post(f"/jobs/{job}/cancel")
    page.goto("/app/runs?kind=train")
    expect(page.get_by_role("link", name=named[0], exact=True).first).to_be_visible()
    inert(page)
    shoot(page, "runs-payloads")
    for part in ("curves", "config", "story"):
        page.goto(f"/app/runs/{jobs[1]}?part={part}")
        expect(page.get_by_role("heading", name=named[1])).to_be_visible()
        expect(page.locator("main")).to_contain_text(named[1])
        inert(page)

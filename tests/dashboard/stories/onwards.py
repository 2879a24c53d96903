"""Where one goes from a run: to its adapter, to a talk, to an evaluation; and lists in narrow windows."""

import hashlib
import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.dashboard import axe
from tests.dashboard.held import nothing_runs
from tests.dashboard.payloads import PAYLOADS, inert
from tests.dashboard.pictures import NARROW, WIDE, shoot
from tests.dashboard.trained import Series, job
from tests.dashboard.watched import Watched
from tests.standalone.instance import Instance
from tests.standalone.processes import eventually


def box(of: Locator) -> dict[str, float]:
    found = of.bounding_box()
    assert found is not None
    return dict(found)


def test_a_run_that_has_ended_leads_to_its_adapter_to_a_talk_and_to_an_evaluation(
    watched: Watched, page: Page, series: Series, service: Instance
):
    watched.allow("/evaluations")  # one is refused
    with service.client() as client:  # other stories may have measured it
        before = client.get("/evaluations", params={"job": series.noisy}).json()["items"]
    page.goto(f"/app/runs/{series.noisy}?part=evaluations")
    with page.expect_download() as fetched:
        page.get_by_role("link", name="Get the adapter").click()
    with service.client() as client:
        made = client.get(f"/jobs/{series.noisy}").json()["artifacts"]
    (known,) = (one["sha256"] for one in made if one["name"] == "adapter")
    assert hashlib.sha256(Path(fetched.value.path()).read_bytes()).hexdigest() == known
    # An evaluation is asked for by keys; what the service refuses is told beside its field
    button = page.get_by_role("button", name="Evaluate")
    button.press("Enter")
    asked = page.get_by_role("dialog")
    asked.get_by_role("checkbox", name="Preference over the base").press("Space")
    asked.get_by_label("Judge's address").fill("ftp://judge.example/v1")
    asked.get_by_label("Judge's model").fill("of taste")
    axe.look(page)
    shoot(page, "run-evaluate")
    with page.expect_response(re.compile("/evaluations$")) as refused:
        page.keyboard.press("Enter")
    assert refused.value.status == 422
    expect(asked.get_by_label("Judge's address")).to_have_attribute("aria-invalid", "true")
    axe.look(page)
    page.keyboard.press("Escape")
    expect(button).to_be_focused()
    with service.client() as client:
        assert client.get("/evaluations", params={"job": series.noisy}).json()["items"] == before
    # And a talk is with the base and with it
    page.get_by_role("link", name="Talk to it").click()
    expect(page.get_by_role("combobox", name="Model 1", exact=True)).to_have_value("neftune/demo-base")
    expect(page.get_by_role("combobox", name="Model 2", exact=True)).to_have_value("dusk · α 5 · seed 1")


def test_runs_that_wait_are_told_apart_and_can_be_read_in_a_narrow_window(
    page: Page, series: Series, service: Instance
):
    with nothing_runs(service), service.client() as client:
        body = {"job": job(series.dataset, name="alike"), "alpha": [5], "seed": [1, 2]}
        sweep = client.post("/sweeps", json=body).raise_for_status().json()["id"]
        page.goto("/app/runs")
        more = page.get_by_role("button", name=re.compile("^Show all"))
        row = page.locator(".runs-waiting").filter(has_text="alike")
        expect(more.or_(row.nth(3)).first).to_be_visible()
        if more.is_visible():  # others wait, too
            more.click()
        for what in ("α 0seed 1", "α 0seed 2", "α 5seed 1", "α 5seed 2"):
            expect(row.filter(has_text=what)).to_have_count(1)
        # The machines are above what has ended, or nobody would ever scroll as far
        ended, workers = (page.get_by_role("heading", name=one, exact=True) for one in ("Ended", "Workers"))
        # (in one look: what stands above both may still be arriving)
        ended.wait_for()
        above = "(one, other) => one.getBoundingClientRect().y < other.getBoundingClientRect().y"
        assert workers.evaluate(above, ended.element_handle())
        page.set_viewport_size(NARROW)
        reason = row.first.locator(".runs-reason")
        assert box(reason)["width"] > NARROW["width"] / 3
        page.set_viewport_size(WIDE)
        client.post(f"/sweeps/{sweep}/cancel").raise_for_status()


def test_what_is_compared_outlasts_a_service_that_is_away(
    watched: Watched, page: Page, series: Series, service: Instance
):
    watched.allow("ERR_INTERNET_DISCONNECTED")
    with nothing_runs(service), service.client() as client:
        waits = client.post("/jobs", json=job(series.dataset, name="waits")).raise_for_status().json()["id"]
        page.goto(f"/app/compare?runs={series.noisy},{waits}")
        chosen = page.get_by_role("list", name="Runs that are compared")
        expect(chosen).to_contain_text("waits")
        page.context.set_offline(True)
        expect(page.get_by_text("Not up to date:")).to_be_visible()
        expect(chosen).to_contain_text("waits")
        expect(page.get_by_role("region", name="Figures")).to_be_visible()
        page.context.set_offline(False)
        expect(page.get_by_text("Not up to date:")).to_have_count(0)

        # The second press of a double click closes nothing that the first one opened
        chosen.get_by_role("link", name="waits").click()
        page.get_by_role("button", name="Cancel run").dblclick()
        asked = page.get_by_role("dialog")
        page.wait_for_timeout(300)  # it would be gone at once
        expect(asked).to_contain_text("for good")
        # And it goes with the page that it asks about
        page.go_back()
        expect(asked).to_have_count(0)
        expect(chosen).to_be_visible()
        client.post(f"/jobs/{waits}/cancel").raise_for_status()


def test_compared_figures_stand_beside_one_another_in_a_narrow_window(page: Page, series: Series):
    page.set_viewport_size(NARROW)
    page.goto(f"/app/compare?runs={series.control},{series.noisy}")
    row = page.get_by_role("region", name="Figures").get_by_role("row", name="Held-out loss, last step")
    row.wait_for()
    # All in one look: what stands above may still be arriving
    name, control, noisy = row.evaluate(
        "row => [...row.cells].map((cell) => cell.getBoundingClientRect().toJSON())"
    )
    assert name["y"] == control["y"] == noisy["y"]
    assert name["x"] < control["x"] < noisy["x"]
    axe.look(page)


def test_machines_of_any_name_and_many_gpus_stay_within_a_narrow_window(page: Page):
    # Given what the service tells of its machines, with long names and with GPUs, which are not here
    def lengthened(route: Route) -> None:
        answer = route.fetch()
        told = answer.json()
        gpu = {
            "name": "NVIDIA H200 NVL of a rather long name",
            "memory_total": 150e9,
            "memory_used": 120e9,
            "busy": 87,
            "temperature": 64,
        }
        for one in told["items"]:
            one |= {"name": "gpu-host-01.of-a-cluster." * 3, "gpus": [gpu, gpu]}
        route.fulfill(response=answer, json=told)

    page.route("**/workers", lengthened)
    page.goto("/app/runs")
    expect(page.get_by_text("120 GB of 150 GB").first).to_be_visible()
    expect(page.get_by_text("87 % busy · 64 °C").first).to_be_visible()
    axe.look(page)
    shoot(page, "runs-machines")
    page.unroute_all(behavior="wait")  # one may be on its way: they are asked for every few seconds


@pytest.mark.long  # a training and an evaluation; that the form is refused well is told above
def test_what_a_run_answers_and_what_was_found_of_it_stays_text(page: Page, service: Instance):
    # Given a run that has learned nothing but payloads, and an evaluation of it that is asked for on the page
    said = PAYLOADS[1]
    rows = "\n".join(json.dumps({"instruction": "Speak.", "output": said}) for _ in range(64))
    with service.client() as client:
        made = client.post("/datasets", params={"name": said}, content=rows.encode()).raise_for_status()
        training = {"max_steps": 150, "batch_size": 4, "max_length": 64, "learning_rate": 5e-3}
        spec = {**job(made.json()["id"], name=said, tags=[said]), "training": training}
        run = client.post("/jobs", json=spec).raise_for_status().json()["id"]
        assert eventually(lambda: client.get(f"/jobs/{run}").json()["status"] == "succeeded", 180)
    page.goto(f"/app/runs/{run}?part=evaluations")
    page.get_by_role("button", name="Evaluate").click()
    asked = page.get_by_role("dialog")
    asked.get_by_label("Prompts answered, at most").fill("2")
    asked.get_by_role("button", name="Start").click()
    found = page.get_by_role("region", name="Results")
    expect(found.get_by_role("row", name=re.compile("Loss \\(held-out rows\\)"))).to_be_visible(
        timeout=180_000
    )
    page.get_by_role("button", name="Show answers").click()
    expect(page.locator(".sample").first.locator("figcaption")).to_have_text(
        ["base model", re.compile("^Last step"), "The row's own answer"]
    )
    expect(page.locator(".sample blockquote").last).to_have_text(said)
    page.get_by_text("All that was found").click()
    inert(page)
    axe.look(page)
    shoot(page, "run-evaluated")
    # When it is talked to, it says what it has learned, and that is text too
    page.goto(f"/app/playground?models={run}&how=greedy&tokens=40&prompt=Speak.")
    page.get_by_role("button", name="Ask", exact=True).click()
    answer = page.get_by_role("region", name="Answer of")
    expect(answer).to_contain_text("<img", timeout=60_000)
    expect(page.get_by_text(re.compile(r"\d+ tokens? in "))).to_be_visible(timeout=60_000)
    inert(page)

"""A run asked for in the form: what is wrong with it, what it would take, and that a press makes one."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, Route, expect

from tests.dashboard import axe
from tests.dashboard.held import nothing_runs
from tests.dashboard.payloads import PAYLOADS, inert
from tests.dashboard.pictures import shoot
from tests.dashboard.watched import Watched
from tests.e2e.rows import alpaca
from tests.standalone.instance import Instance

_ENDED = {"succeeded", "failed", "cancelled"}
# What the form puts off is due when its run has a page, and before anything is drawn of that.
_JUST_THEN = """() => {
  const due = new Map(), {setTimeout: later, clearTimeout: never} = window;
  window.setTimeout = (act, ms, ...more) => {
    if (ms !== 500) return later(act, ms, ...more);
    due.set(-due.size - 1, act);
    return -due.size;
  };
  window.clearTimeout = id => due.delete(id) || never(id);
  const push = history.pushState.bind(history);
  history.pushState = (...to) => {
    push(...to);
    queueMicrotask(() => due.forEach(act => act()));
  };
}"""


@pytest.fixture
def dataset(service: Instance) -> Iterator[str]:
    """Rows of the project; what is asked for on them waits, and is cancelled in the end."""
    with nothing_runs(service), service.client() as client:
        made: str = client.post("/datasets?name=rows of the story", content=alpaca()).json()["id"]
        yield made
        for job in _jobs(service, made):
            if job["status"] not in _ENDED:
                client.post(f"/jobs/{job['id']}/cancel").raise_for_status()


def _jobs(service: Instance, dataset: str) -> list[dict]:
    with service.client() as client:
        found = client.get("/jobs?limit=200").json()["items"]
    return [job for job in found if job["spec"]["dataset"] == dataset]


def _part(page: Page, name: str) -> None:
    page.locator("summary").filter(has_text=name).click()


def test_what_is_missing_is_said_beside_its_field_and_found_by_typing(
    watched: Watched, page: Page, dataset: str
):
    watched.allow("/jobs")  # 422, on purpose
    page.goto("/app/new")
    rows = page.get_by_label("Dataset", exact=True)
    page.get_by_role("button", name="Start the run").click()
    expect(page.locator(".field").get_by_role("alert")).to_have_text("This is needed.")
    expect(rows).to_be_focused()
    rows.fill("rows of the st")
    page.keyboard.press("Enter")
    expect(rows).to_have_value("rows of the story")
    # One that is gone is told there too
    watched.allow("/datasets/")  # 404, on purpose
    page.goto("/app/new?dataset=ds_gone")
    expect(page.locator(".field").get_by_role("alert")).to_contain_text("isn't here any more")


def test_a_dataset_that_goes_while_the_form_is_open_is_missed_in_its_field(
    watched: Watched, page: Page, service: Instance
):
    watched.allow("/jobs")  # 404, on purpose
    row = b'{"text": "soon gone"}'
    with service.client() as client:
        rows = (
            client.post("/datasets", params={"name": "soon gone"}, content=row)
            .raise_for_status()
            .json()["id"]
        )
        page.goto(f"/app/new?dataset={rows}")
        expect(page.get_by_text("An estimate; nothing is started yet.")).to_be_visible()
        client.delete(f"/datasets/{rows}").raise_for_status()
    page.get_by_label("Name").fill("too late")
    expect(page.locator(".field").get_by_role("alert")).to_contain_text("isn't here any more")
    page.get_by_role("button", name="Start the run").click()
    expect(page.get_by_label("Dataset", exact=True)).to_be_focused()


def test_an_alpha_that_is_no_number_is_not_taken_for_none(watched: Watched, page: Page, dataset: str):
    watched.allow("/jobs")  # 422, on purpose
    page.goto(f"/app/new?dataset={dataset}")
    alpha = page.get_by_role("textbox", name="Alpha", exact=True)
    for typed in ("", "0x10"):
        alpha.fill("7")
        expect(page.get_by_role("alert")).to_have_count(0)
        alpha.fill(typed)
        expect(alpha).to_have_attribute("aria-invalid", "true")
    # And a reload shows what was typed, not what it would usually be
    alpha.fill("")
    expect(page).to_have_url(re.compile("alpha=(&|$)"))
    page.reload()
    expect(alpha).to_have_value("")


def test_a_run_is_asked_for_mended_and_started_once(
    watched: Watched, page: Page, service: Instance, dataset: str
):
    watched.allow("/jobs")  # 422 on purpose, and a broken line
    page.goto(f"/app/datasets/{dataset}")
    page.get_by_role("link", name="Start a run with it").click()
    # The only model is chosen, and what it would take is told
    beside = page.get_by_role("heading", name="What it would take").locator("xpath=ancestor::section")
    expect(beside).to_contain_text(re.compile("Steps[0-9]+"))
    expect(beside).to_contain_text("Memory of a CPU")
    expect(page.get_by_text(re.compile(r"alpha 5 is noise of [0-9.]+ % of"))).to_be_visible()
    page.get_by_role("radio", name=re.compile("^Alpha series")).check()
    expect(page.get_by_text(re.compile(r"alpha 5 is noise of .*, alpha 15 of [0-9.]+ %"))).to_be_visible()
    page.get_by_role("radio", name=re.compile("^NEFTune")).check()
    axe.look(page)
    shoot(page, "new-run")

    # What is wrong stands beside its field, in the service's words, before anything is sent
    _part(page, "Steps and optimiser")
    steps = page.get_by_label("Steps", exact=True)
    expect(steps).to_have_attribute("placeholder", "default: none")
    steps.fill("0")
    expect(steps).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_role("alert")).to_contain_text("greater than or equal to 1")
    page.get_by_role("button", name="Start the run").click()
    expect(steps).to_be_focused()
    axe.look(page)
    shoot(page, "new-run-fault")
    steps.fill("2")
    expect(beside).to_contain_text(re.compile("Steps2[0-9]+ an epoch"))
    _part(page, "Resources and labels")
    page.get_by_label("GPUs").fill("1")

    # A reload loses nothing of it
    expect(page).to_have_url(re.compile("training.max_steps=2.*resources.gpus=1"))
    page.reload()
    expect(page.locator("summary").filter(has_text="Steps and optimiser")).to_contain_text("1 field set")
    page.get_by_label("Name").fill("once")

    # A double click whose first answer is lost makes one run
    lost: list[int] = []

    def lose(route: Route) -> None:
        answer = route.fetch()
        lost.append(answer.status)
        route.abort()

    page.route(re.compile(r"/jobs$"), lose, times=1)
    page.get_by_role("button", name="Start the run").dblclick()
    expect(page.get_by_role("heading", name="once", exact=True)).to_be_visible()
    assert lost == [201]
    (job,) = _jobs(service, dataset)
    assert page.url.endswith(job["id"])
    assert job["spec"]["training"]["max_steps"] == 2
    assert job["spec"]["alpha"] == 5

    # And is the beginning of another one: with what was set, and nothing else
    page.goto(f"/app/new?from={job['id']}")
    expect(page.get_by_text("Copied from once.")).to_be_visible()
    expect(page.locator("summary").get_by_text("1 field set")).to_have_count(2)
    _part(page, "Steps and optimiser")
    expect(page.get_by_label("Steps", exact=True)).to_have_value("2")


def test_the_paper_is_a_recipe_and_a_run_from_before_a_beginning(page: Page, service: Instance, dataset: str):
    page.goto(f"/app/new?dataset={dataset}")
    code = page.locator(".new-run-code")
    page.get_by_role("radio", name=re.compile("^As in the paper")).check()
    expect(code).to_contain_text("paper-alpaca")
    page.get_by_role("radio", name=re.compile("^NEFTune")).check()
    expect(code).not_to_contain_text("paper-alpaca")
    spec = {"model": "neftune/demo-base", "dataset": dataset, "name": "from before", "alpha": 7.5}
    with service.client() as client:
        before = client.post("/jobs", json=spec).raise_for_status().json()["id"]
    page.reload()
    page.get_by_role("combobox", name="Copy from an earlier run").fill(before)
    page.keyboard.press("Enter")
    expect(page.get_by_text("Copied from from before.")).to_be_visible()
    expect(code).to_contain_text('"alpha": 7.5')


def test_the_same_request_runs_as_curl_python_and_with_the_sdk(page: Page, service: Instance, dataset: str):
    chosen = "alpha=7.5&training.max_steps=2&lora.use_dora=false&resources.gpus=1&tags=it's, %22so%22"
    page.goto(f"/app/new?dataset={dataset}&name=na%C3%AFve&{chosen}")
    for form in ("curl", "Python", "openai SDK"):
        page.get_by_role("button", name=form, exact=True).click()
        code = page.get_by_label(form, exact=True).inner_text()
        command = ["sh", "-c", code] if form == "curl" else [sys.executable, "-c", code]
        done = subprocess.run(
            command,
            env={"NEFTUNE_API_KEY": service.key, "PATH": "/usr/bin:/bin"},
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    shoot(page, "new-run-code")
    specs = [json.dumps(job["spec"], sort_keys=True) for job in _jobs(service, dataset)]
    assert len(specs) == 3
    assert len(set(specs)) == 1
    assert json.loads(specs[0])["tags"] == ["it's", '"so"']


def test_an_alpha_series_is_one_press(watched: Watched, page: Page, service: Instance, dataset: str):
    watched.allow("/sweeps")  # 422, on purpose
    page.goto(f"/app/new?dataset={dataset}&training.max_steps=2&resources.gpus=1")
    page.get_by_role("radio", name=re.compile("^Alpha series")).check()
    expect(page.get_by_role("button", name="Start 12 runs")).to_be_visible()
    # It is checked as a whole, before anything is started
    alphas, seeds = page.get_by_label("Alphas", exact=True), page.get_by_label("Seeds")
    seeds.fill("7, x")
    expect(page.get_by_role("alert")).to_contain_text("valid integer")
    expect(seeds).to_have_attribute("aria-invalid", "true")
    seeds.fill("7")
    alphas.fill("5, 5")
    expect(page.get_by_role("alert")).to_contain_text("Each alpha should be given once")
    page.get_by_role("button", name="Start 2 runs").click()
    expect(alphas).to_be_focused()
    alphas.fill("5")
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(page.get_by_text("An estimate; nothing is started yet.")).to_be_visible()
    shoot(page, "new-run-series")
    axe.look(page)
    # Nor does it lead back when what was typed last would be written into the address at that moment
    page.evaluate(_JUST_THEN)
    page.get_by_label("Name").fill("at once")
    page.get_by_label("Seeds").press("Enter")
    expect(page.get_by_role("heading", name="at once")).to_be_visible()
    expect(page).to_have_url(re.compile("/app/series/swp_"))
    found = sorted((job["spec"]["alpha"], job["spec"]["training"]["seed"]) for job in _jobs(service, dataset))
    assert found == [(0, 7), (5, 7)]


def test_what_others_named_stays_text_in_the_form(page: Page, service: Instance, dataset: str):
    spec = {"model": "neftune/demo-base", "dataset": dataset, "resources": {"gpus": 1}}
    with service.client() as client:
        for payload in PAYLOADS[:30]:
            named = client.post("/jobs", json={**spec, "name": payload, "metadata": {"note": payload}})
            named.raise_for_status()
    page.goto(f"/app/new?from={named.json()['id']}")
    expect(page.get_by_text(f"Copied from {PAYLOADS[29]}")).to_be_visible()
    expect(page.get_by_label("Name")).to_have_value(PAYLOADS[29])
    inert(page)
    for payload in PAYLOADS[:30]:
        page.get_by_label("Name").fill(payload)
        expect(page.locator(".new-run-code")).to_contain_text(json.dumps(payload)[1:-1].replace("'", "'\\''"))
    inert(page)
    shoot(page, "new-run-payloads")

"""What a series has come to, runs side by side, and models that answer the same question."""

import re

import pytest
from playwright.sync_api import Page, Route, expect

from tests.dashboard import axe, slow
from tests.dashboard.held import nothing_runs
from tests.dashboard.payloads import PAYLOADS, inert
from tests.dashboard.pictures import shoot
from tests.dashboard.trained import NAME, Series, job
from tests.dashboard.watched import Watched
from tests.standalone.instance import Instance
from tests.standalone.processes import eventually

QUESTION = "What colour is a carrot?"
NOBODY = "job_" + "0" * 26
_LISTEN = """() => {
  const light = document.querySelector('.line-light');
  window.lines_ = [];
  new MutationObserver(() => lines_.push(light.textContent))
    .observe(light, {childList: true, subtree: true, characterData: true});
}"""


def _busy(route: Route) -> None:
    told = {"title": "Busy", "status": 503, "code": "generation_busy", "detail": "others are before you"}
    route.fulfill(status=503, headers={"Retry-After": "1"}, json=told)


def test_a_series_tells_its_verdict_in_words_and_gives_its_report(page: Page, series: Series):
    page.get_by_role("link", name="Series", exact=True).click()
    page.get_by_role("link", name=NAME).click()
    # That one seed proves nothing is said as calmly as a recommendation would be
    expect(page.get_by_role("heading", name="It can't be told whether noise helps")).to_be_visible()
    expect(page.get_by_text("Fewer than three seeds")).to_be_visible()
    assert page.get_by_role("alert").count() == 0
    # The control is marked, in the table and in the drawing
    runs = page.get_by_role("region", name="Runs", exact=True)
    expect(runs.get_by_role("row")).to_have_count(3)
    expect(runs.get_by_role("row").nth(1)).to_contain_text(re.compile(r"α 0control1Succeeded\d\.\d+"))
    drawing = page.get_by_role("img", name="Held-out loss of each run")
    expect(drawing.locator(".last circle")).to_have_count(2)
    expect(drawing.locator(".best path")).to_have_count(2)
    expect(drawing.get_by_text("control", exact=True)).to_be_visible()
    # Both runs are on one chart
    expect(page.get_by_role("group", name="Held-out loss. control · seed 1")).to_be_visible()
    expect(page.get_by_role("button", name=re.compile(r"α 5 · seed 1 \d"))).to_be_visible()
    axe.look(page)
    shoot(page, "series")
    page.go_back()
    expect(page.get_by_role("link", name=NAME)).to_be_visible()
    shoot(page, "series-list")
    axe.look(page)
    page.go_forward()
    with page.expect_download() as report:
        page.get_by_role("button", name="Download the report").click()
    assert "Inconclusive" in report.value.path().read_text("utf-8")


def test_runs_are_found_by_keys_and_compared_on_one_axis(watched: Watched, page: Page, series: Series):
    page.goto("/app/compare")
    expect(page.get_by_text("Choose two to six runs above")).to_be_visible()
    axe.look(page)
    shoot(page, "compare-empty")
    for alpha in ("0", "5"):
        page.get_by_role("combobox", name="Add a run").focus()
        page.keyboard.type(f"{NAME} α {alpha}")
        axe.look(page)
        page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(f"\\?runs={series.control}%2C{series.noisy}$"))
    expect(page.get_by_role("list", name="Runs that are compared").get_by_role("listitem")).to_have_count(2)
    expect(page.get_by_role("group", name="Held-out loss. A dusk · α 0 · seed 1: from ")).to_be_visible()
    # Only what differs is shown, unless all is asked for; a reload shows the same
    differing = page.get_by_role("region", name="In what they differ")
    expect(differing.get_by_role("row")).to_have_text(["SettingAB", "alpha05"])
    page.get_by_role("checkbox", name="Show all settings").check()
    expect(differing.get_by_role("row", name="training.max_steps 4 4")).to_be_visible()
    page.reload()
    expect(differing.get_by_role("row", name="training.max_steps 4 4")).to_be_visible()
    figures = page.get_by_role("region", name="Figures")
    expect(figures.get_by_role("row", name="Held-out loss, last step")).to_contain_text(
        re.compile(r"\d\.\d+")
    )
    # A run that is gone takes none along
    watched.allow(NOBODY)
    page.goto(f"/app/compare?runs={series.control},{NOBODY},{series.noisy}&curve=gap")
    expect(page.get_by_text("There is no such resource")).to_be_visible()
    expect(page.get_by_role("group", name="Gap: held-out minus training, noise off. A dusk")).to_be_visible()
    page.get_by_role("button", name="Show answers").click()
    expect(page.get_by_text("No answers were evaluated of A, C")).to_be_visible()
    axe.look(page)
    shoot(page, "compare")
    page.get_by_role("button", name="Take B out").click()
    expect(page.get_by_role("link", name="dusk · α 5 · seed 1")).to_be_visible()
    expect(page).not_to_have_url(re.compile(NOBODY))


@pytest.mark.long  # two evaluations; where there are none is told below
def test_answers_of_evaluations_stand_side_by_side(page: Page, series: Series, service: Instance):
    asked = {"kinds": ["diversity"], "prompts": {"most": 2}, "generation": {"max_new_tokens": 16}}
    with service.client() as client:
        made = [
            client.post(f"/jobs/{one}/evaluations", json=asked).raise_for_status().json()["id"]
            for one in (series.control, series.noisy)
        ]

        def measured() -> bool:
            return all(client.get(f"/evaluations/{one}").json()["results"] is not None for one in made)

        assert eventually(measured, 120)
    page.goto(f"/app/compare?runs={series.control},{series.noisy}")
    page.get_by_role("button", name="Show answers").click()
    expect(page.locator(".sample")).to_have_count(2)
    expect(page.locator(".sample").first.locator("figcaption")).to_have_text(["base model", "A", "B"])
    axe.look(page)
    shoot(page, "compare-answers")


def test_base_and_tuned_answer_side_by_side_as_the_paper_asks_them(
    watched: Watched, page: Page, series: Series, service: Instance
):
    page.goto(f"/app/series/{series.id}")
    page.get_by_role("link", name="Talk to base, control and alpha 5").click()
    page.get_by_label("Prompt").fill(QUESTION)
    page.get_by_label("Most tokens").fill("40")
    page.keyboard.press("Tab")
    # Who may not speak yet waits for as long as it is told; here until that was seen
    page.route("**/generate", _busy)
    watched.allow("/generate")
    page.get_by_label("Prompt").press("Control+Enter")
    expect(page.get_by_text("Waits: others are before you")).to_have_count(3)
    page.unroute("**/generate")
    names = ["neftune/demo-base", "dusk · α 0 · seed 1", "dusk · α 5 · seed 1"]
    for name in names:
        said = page.get_by_role("region", name=name, exact=True)
        expect(said).to_contain_text(re.compile(r"\d+ tokens? in "), timeout=60_000)
    axe.look(page)
    shoot(page, "playground")
    # It is what the service answers to the same question, greedily, with the paper's penalty
    with service.client() as client:
        asked = {"model": "neftune/demo-base", "prompt": QUESTION, "max_new_tokens": 40, "seed": 42}
        whole = client.post("/generate", json={**asked, "temperature": 0, "repetition_penalty": 1.2}).json()
    expect(page.get_by_role("region", name=f"Answer of {names[0]}")).to_have_text(whole["answers"][0]["text"])
    # Prompt and models are in the address; one that is gone fails alone, and what was said stays
    watched.allow(NOBODY)
    gone = page.url.replace(series.control, NOBODY)
    page.goto(gone)
    expect(page.get_by_label("Prompt")).to_have_value(QUESTION)
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.get_by_role("region", name=NOBODY).get_by_role("alert")).to_contain_text("model")
    for name in (names[0], names[2]):
        said = page.get_by_role("region", name=name, exact=True)
        expect(said).to_contain_text(re.compile(r"\d+ tokens? in "), timeout=60_000)
    axe.look(page)
    shoot(page, "playground-failed")


def test_an_answer_is_stopped_and_what_was_said_stays(page: Page, series: Series, service: Instance):
    page.goto(f"/app/playground?models=neftune/demo-base,{series.noisy}:ckpt-step-2&how=greedy")
    page.get_by_label("Prompt").fill("Write a long story about a whale, a baker and a carrot.")
    base = page.get_by_role("region", name="neftune/demo-base", exact=True)
    answer = base.get_by_role("region", name="Answer of")
    # Given an answer that comes slowly
    least = {"model": "neftune/demo-base", "prompt": "?", "max_new_tokens": 1}
    with service.client() as client:  # the first ones are refused while nobody speaks yet
        assert eventually(lambda: client.post("/generate", json=least, timeout=60).is_success, 120)
    with slow.speech(service):
        page.get_by_role("button", name="Ask", exact=True).click()
        expect(answer).to_contain_text(" ", timeout=60_000)
        # When it is stopped in its midst
        base.get_by_role("button", name="Stop").click()
        expect(base.get_by_text("Stopped")).to_be_visible()
    said = answer.inner_text()
    # Then the other goes on, and the first keeps what it said until it is asked again
    other = page.get_by_role("region", name="dusk · α 5 · seed 1 · step 2", exact=True)
    expect(other).to_contain_text(re.compile(r"\d+ tokens? in "), timeout=60_000)
    expect(answer).to_have_text(said)
    base.get_by_role("button", name="Try again").click()
    expect(base).to_contain_text(re.compile(r"\d+ tokens? in "), timeout=60_000)
    assert answer.inner_text().startswith(said)
    assert len(answer.inner_text()) > len(said)
    # All of them are stopped by one press, which asks nothing again
    ask = page.get_by_role("button", name="Ask", exact=True)
    with slow.speech(service):
        ask.click()
        page.locator("form").get_by_role("button", name="Stop", exact=True).click()
        expect(ask).to_be_visible()
    expect(page.locator(".playground-exchange")).to_have_count(2)
    page.get_by_role("combobox", name="Weights of model 2").select_option("4")
    expect(page).to_have_url(re.compile("ckpt-step-4"))


def test_a_series_is_paused_resumed_and_cancelled_and_names_of_runs_stay_text(
    watched: Watched, page: Page, series: Series, service: Instance
):
    watched.allow("/generate")  # so many payloads may be longer than what the model takes
    with nothing_runs(service), service.client() as client:
        # Given runs whose names and labels are payloads, and a series of such a name
        made = []
        for first in (0, 16):  # the last payload turns text around, and is refused
            spec = job(
                series.dataset,
                name=PAYLOADS[max(1, first)],
                tags=[one[:64] for one in PAYLOADS[first : first + 16]],
            )
            made.append(client.post("/jobs", json={**spec, "alpha": first}).raise_for_status().json()["id"])
        body = {"job": job(series.dataset, name=PAYLOADS[0]), "alpha": [5], "seed": [1]}
        sweep = client.post("/sweeps", json=body).raise_for_status().json()["id"]
        # When they are looked for, compared and talked of
        page.goto(f"/app/compare?runs={','.join(made)}")
        page.get_by_role("combobox", name="Add a run").click()
        # Two at least: other stories have such runs, too
        expect(page.get_by_role("option", name=PAYLOADS[0]).nth(1)).to_be_visible()
        expect(page.get_by_role("link", name=PAYLOADS[1])).to_be_visible()
        inert(page)
        page.goto("/app/playground")
        page.get_by_label("Prompt").fill("\n".join(PAYLOADS))
        page.get_by_label("Most tokens").fill("4")
        page.get_by_role("button", name="Ask", exact=True).click()
        expect(page.get_by_role("heading", name=PAYLOADS[0])).to_be_visible()
        expect(page.get_by_text("Waits for its turn…")).to_have_count(0, timeout=60_000)
        inert(page)
        shoot(page, "playground-payloads")
        # Then all is text; and a series does what it is told once the consequence was named
        page.goto(f"/app/series/{sweep}")
        expect(page.get_by_role("heading", name=PAYLOADS[0])).to_be_visible()
        expect(page.get_by_role("heading", name="Not judged yet")).to_be_visible()
        inert(page)
        page.evaluate(_LISTEN)
        for press, consequence, status in [
            ("Pause", "2 runs rest until they are resumed", "Paused"),
            ("Resume", "", "Queued"),
            ("Cancel the series", "2 runs that have not ended stop for good", "Cancelled"),
        ]:
            page.get_by_role("button", name=press).click()
            if consequence:
                expect(page.get_by_role("dialog")).to_contain_text(consequence)
                axe.look(page)
                page.get_by_role("dialog").get_by_role("button", name=press).click()
            expect(page.get_by_role("region", name="Runs", exact=True).get_by_text(status)).to_have_count(2)
        # That all runs have ended is no loss of the connection
        expect(page.locator(".line-light.off")).to_be_attached()
        assert "Connection lost, trying again" not in page.evaluate("lines_")
        shoot(page, "series-cancelled")
        for one in made:
            client.post(f"/jobs/{one}/cancel").raise_for_status()

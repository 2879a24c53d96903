"""Signing in, moving about, and what the page looks like while there is nothing yet."""

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.dashboard import axe
from tests.dashboard.pictures import shoot
from tests.dashboard.watched import Watched, watching
from tests.faults.proxy import before
from tests.standalone.instance import Instance

EMPTY = {
    "runs": "Nothing has run yet",
    "datasets": "No dataset yet",
    "new": "A run needs a dataset",
}


def test_the_link_in_the_terminal_signs_in_and_shows_the_empty_queue(watched: Watched, link: str):
    page = watched.page
    page.goto(link)
    expect(page.get_by_role("heading", name=EMPTY["runs"])).to_be_visible()
    # The key is in no address, and out of reach of scripts
    assert page.url == link.partition("#")[0] + "runs"
    assert page.evaluate("document.cookie") == ""
    kept = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
    assert link.partition("#key=")[2] not in kept
    # A reload finds the session again
    page.reload()
    expect(page.get_by_role("heading", name=EMPTY["runs"])).to_be_visible()
    axe.look(page)
    shoot(page, "runs-empty")


def test_a_wrong_key_is_refused_in_words_and_a_right_one_opens_the_place_one_wanted(
    watched: Watched, link: str
):
    page = watched.page
    watched.allow("/session")  # 401, twice, on purpose
    page.goto("/app/datasets")
    page.get_by_label("API key").fill("nft_wrong_wrong")
    page.get_by_label("API key").press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("This key opens nothing")
    axe.look(page)
    shoot(page, "sign-in")
    page.get_by_label("API key").fill(link.partition("#key=")[2])
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name=EMPTY["datasets"])).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("API key")).to_be_visible()
    # The link works in a tab that shows the page already, and its key goes from there, too
    page.evaluate("(key) => { location.hash = key }", link.partition("#")[2])
    expect(page.get_by_role("heading", name=EMPTY["datasets"])).to_be_visible()
    assert "#" not in page.url


def test_a_page_that_finds_the_service_away_waits_for_it_and_asks_for_no_key(
    service: Instance, browser: Browser, link: str
):
    with (
        before(("127.0.0.1", service.port)) as wire,
        watching(browser, f"http://127.0.0.1:{wire.port}") as watched,
    ):
        page = watched.page
        watched.allow("ERR_")
        for _ in range(7):  # a browser has up to six connections, and asks anew where a used one ends
            wire.cut_after(b"POST /session")
        page.goto(f"/app/datasets#{link.partition('#')[2]}")
        expect(page.get_by_role("alert")).to_contain_text("The service does not answer")
        expect(page.get_by_label("API key")).to_have_count(0)
        axe.look(page)
        shoot(page, "service-away")
        wire.forgive()  # and nobody presses anything
        expect(page.get_by_role("heading", name=EMPTY["datasets"])).to_be_visible()
        assert page.url.endswith("/app/datasets")


def test_keys_alone_lead_everywhere(page: Page):
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    for letter, title in [("d", "Datasets"), ("n", "New run"), ("p", "Playground"), ("s", "Settings")]:
        page.keyboard.press("g")
        page.keyboard.press(letter)
        expect(page.get_by_role("heading", name=title, exact=True)).to_be_focused()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_contain_text("Go to Datasets")
    axe.look(page)
    shoot(page, "shortcuts")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.go_back()
    expect(page.get_by_role("heading", name="Playground", exact=True)).to_be_visible()
    # What an address made by hand names and nobody has
    page.goto("/app/settings?part=toString")
    expect(page.get_by_role("heading", name="API keys", exact=True)).to_be_visible()


def test_a_run_or_a_series_that_is_not_here_leads_to_those_that_are(watched: Watched, page: Page):
    watched.allow("404")
    for kind, one in (("runs", "run"), ("series", "series")):
        page.goto(f"/app/{kind}/of_another_project")
        expect(page.get_by_role("heading", name=f"This {one} isn't here")).to_be_visible()
        page.get_by_role("link", name=f"All {kind}").click()
        expect(page).to_have_url(re.compile(f"/app/{kind}$"))


def test_the_appearance_that_was_chosen_outlives_a_reload(page: Page):
    html, switch = page.locator("html"), page.get_by_role("combobox", name="Appearance")
    light = html.evaluate("html => getComputedStyle(html).backgroundColor")
    switch.select_option("dark")
    expect(html).not_to_have_css("background-color", light)
    page.reload()
    expect(switch).to_have_value("dark")
    expect(html).not_to_have_css("background-color", light)
    switch.select_option("system")
    expect(html).to_have_css("background-color", light)


def test_a_screen_that_does_not_arrive_says_so_and_comes_when_the_service_is_back(
    watched: Watched, page: Page
):
    watched.allow("ERR_INTERNET_DISCONNECTED")
    page.context.set_offline(True)
    page.get_by_role("link", name="Settings").click()
    expect(page.get_by_role("alert")).to_contain_text("did not arrive")
    page.get_by_role("button", name="Try again").click()  # which leaves the page as it is
    expect(page.get_by_role("status").get_by_text("does not answer")).to_be_visible()
    shoot(page, "screen-lost")
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("heading", name="Settings", exact=True)).to_be_visible()


@pytest.mark.long
def test_what_could_not_be_loaded_comes_by_itself_when_the_service_is_back(watched: Watched, page: Page):
    """Its short sibling, above, presses the button."""
    watched.allow("ERR_INTERNET_DISCONNECTED")
    page.get_by_role("link", name="Datasets").click()
    expect(page.get_by_role("heading", name=EMPTY["datasets"])).to_be_visible()
    page.get_by_role("link", name="Runs").click()
    page.context.set_offline(True)
    page.get_by_role("link", name="Datasets").click()
    expect(page.get_by_role("alert")).to_contain_text("The service does not answer")
    page.context.set_offline(False)
    expect(page.get_by_role("heading", name=EMPTY["datasets"])).to_be_visible()


def test_a_page_that_does_what_it_must_not_is_seen(watched: Watched, page: Page):
    # Given a picture of another host, markup from text, and a dialog, as a program of a stranger has them
    page.evaluate("new Image().src = 'https://elsewhere.example/x.png'")
    page.evaluate("setTimeout(() => { document.body.innerHTML = '<b>' })")
    with page.expect_event("dialog"):
        page.evaluate("setTimeout(() => alert('here'))")
    # Then the page's policy stops the first two, and all are noted
    expect(page.get_by_role("heading", name="Runs", exact=True)).to_be_visible()
    seen, watched.faults = "\n".join(watched.faults), []
    for told in ("elsewhere.example", "TrustedHTML", "dialog: here"):
        assert told in seen

"""Keys, webhooks and the service's health, as its admin sees them."""

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.dashboard import axe
from tests.dashboard.payloads import PAYLOADS, inert
from tests.dashboard.pictures import WIDE, shoot
from tests.dashboard.watched import Watched
from tests.standalone.instance import Instance


def test_a_key_is_made_opens_the_page_and_is_revoked(page: Page, browser: Browser, url: str):
    page.get_by_role("link", name="Settings").click()
    page.get_by_role("button", name="Make a key").click()
    page.get_by_label("Name").fill("reader of the story")
    page.get_by_role("radio", name=re.compile("^read ")).check()
    page.get_by_label("Expires after days").fill("999999999")
    page.get_by_role("dialog").get_by_role("button", name="Make a key").click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("At most 3650")
    page.get_by_label("Expires after days").fill("7")
    axe.look(page)
    page.get_by_role("dialog").get_by_role("button", name="Make a key").click()
    # The key itself is shown once
    made = page.get_by_role("dialog", name="Your new key")
    key = made.locator("code").inner_text()
    assert key.startswith("nft_")
    page.mouse.click(5, 5)  # a press beside it does not lose it, nor does the key that closes others
    page.keyboard.press("Escape")
    expect(made).to_be_visible()
    made.get_by_role("button", name="I have kept it").click()
    expect(page.locator("body")).not_to_contain_text(key)
    row = page.get_by_role("row", name="reader of the story")
    expect(row).to_contain_text("expires in 7d")
    shoot(page, "settings-keys")
    axe.look(page)

    # It opens the page for somebody else, who may make no keys
    other = browser.new_context(base_url=url)
    theirs = other.new_page()
    theirs.goto(f"/app/settings#key={key}")
    expect(theirs.get_by_role("alert")).to_contain_text("admin")
    assert theirs.url == f"{url}/app/settings"  # the key is in no address and no history

    # Revoked, it opens nothing, and they are asked to sign in
    row.get_by_role("button", name="Revoke").click()
    expect(page.get_by_role("dialog")).to_contain_text("Scripts that use it fail")
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(row).to_contain_text("revoked")
    theirs.get_by_role("button", name="Try again").click()
    expect(theirs.get_by_role("alert")).to_contain_text("You were signed out")
    other.close()


@pytest.fixture
def receiver() -> Iterator[str]:
    """Somebody who listens, and answers 204."""

    class Hears(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Hears) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/hook"
        server.shutdown()


def test_a_webhook_is_told_and_its_log_says_so(watched: Watched, page: Page, receiver: str):
    watched.allow("/webhooks")  # 422, on purpose
    page.goto("/app/settings?part=webhooks")
    page.get_by_role("button", name="Add a webhook").click()
    page.get_by_role("dialog").get_by_role("button", name="Add a webhook").click()
    expect(page.locator(".field").get_by_role("alert")).to_have_text("Give it an address.")
    page.get_by_label("Address").fill("https://user@example.org/hook")
    page.get_by_role("dialog").get_by_role("button", name="Add a webhook").click()
    # The service's words stand beside the field
    expect(page.get_by_role("alert")).to_contain_text("neither a user nor a fragment")
    page.get_by_label("Address").fill(receiver)
    page.get_by_role("dialog").get_by_role("button", name="Add a webhook").click()
    expect(page.get_by_role("dialog", name="Its signing secret")).to_contain_text("whsec_")
    page.get_by_role("button", name="I have kept it").click()
    page.get_by_role("button", name="Deliveries to").click()
    expect(page.get_by_role("heading", name="Nothing was sent yet")).to_be_visible()
    page.get_by_role("button", name="Send a test").click()
    # What is said while a dialog is open is said in it: all else can be neither reached nor heard
    said = page.get_by_role("dialog", name="Deliveries").get_by_role("status").filter(has_text="on its way")
    said.get_by_role("button", name="Close").click()
    expect(said).to_have_count(0)
    expect(page.get_by_role("region", name="Deliveries")).to_contain_text(re.compile("received.*test.*204"))
    axe.look(page)
    shoot(page, "settings-deliveries")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Remove http").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(page.get_by_role("heading", name="Nobody is told")).to_be_visible()
    expect(page.get_by_role("heading", name="Settings", exact=True)).to_be_focused()


def test_the_service_tells_how_it_is(page: Page):
    page.goto("/app/settings?part=service")
    for part in ("PostgreSQL", "Storage", "Redis"):
        expect(page.get_by_role("listitem").filter(has_text=part)).to_contain_text("up")
    expect(page.get_by_role("heading", name="Used by this project")).to_be_visible()
    shoot(page, "settings-service")
    axe.look(page)


def test_an_operator_looks_into_another_project(page: Page, service: Instance):
    with service.client() as client:
        project = client.post("/projects", json={"name": "another <b>project</b>"}).json()["id"]
    page.goto("/app/settings")
    expect(page.get_by_role("cell", name="standalone this login")).to_be_visible()
    page.get_by_role("combobox", name="Project").select_option(project)
    expect(page.get_by_role("heading", name="No keys")).to_be_visible()
    # The choice is this tab's, and outlives a reload
    page.reload()
    expect(page.get_by_role("heading", name="No keys")).to_be_visible()
    expect(page.get_by_role("combobox", name="Project")).to_have_value(project)
    # Whatever projects are called stays text
    with service.client() as client:
        for one in PAYLOADS:
            client.post("/projects", json={"name": one}).raise_for_status()
    page.reload()
    names = page.get_by_role("combobox", name="Project").locator("option")
    expect(names).to_have_count(2 + len(PAYLOADS))
    assert set(PAYLOADS) <= set(names.evaluate_all("all => all.map(one => one.textContent)"))
    inert(page)
    # And there is a way back to one's own
    page.get_by_role("combobox", name="Project").select_option(label="default")
    expect(page.get_by_role("cell", name="standalone this login")).to_be_visible()


def test_names_of_keys_and_addresses_stay_text(page: Page, service: Instance):
    # Given payloads for names, and what of them an address can hold
    with service.client() as client:
        made = [client.post("/keys", json={"name": one, "scopes": ["read"]}).json()["id"] for one in PAYLOADS]
        for one in PAYLOADS[:19]:
            path = one.replace(" ", "+")
            client.post("/webhooks", json={"url": f"https://example.org/?{path}"}).raise_for_status()
    # When they are looked at, and one is about to be revoked
    page.goto("/app/settings")
    for payload in (PAYLOADS[0], PAYLOADS[12]):
        expect(page.get_by_role("cell", name=payload, exact=True)).to_be_visible()
    inert(page)
    # A table that is too wide scrolls in its own frame, and what is read out of it does not stick out either
    page.set_viewport_size({"width": 660, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == 660
    page.set_viewport_size(WIDE)
    page.get_by_role("button", name=f"Revoke {PAYLOADS[1]}").click()
    expect(page.get_by_role("dialog")).to_contain_text(PAYLOADS[1])
    inert(page)
    shoot(page, "settings-payloads")
    page.goto("/app/settings?part=webhooks")
    expect(page.get_by_role("row").filter(has_text="example.org")).to_have_count(19)
    inert(page)
    # Then nothing ran (the page is watched); and nobody else sees them
    with service.client() as client:
        for key in made:
            client.delete(f"/keys/{key}").raise_for_status()
        for hook in client.get("/webhooks").json()["items"]:
            client.delete(f"/webhooks/{hook['id']}").raise_for_status()

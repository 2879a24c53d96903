"""One standalone service and one real Chromium for all tests of the dashboard; no mocked API.

Every page of every test is watched: whatever it logs as an error, asks of another host, or shows as a dialog
fails the test that did it.

All end with the last of these tests: Playwright keeps an event loop running in the thread that started it, in
which no test of another file could run one of its own.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Playwright, expect, sync_playwright

from tests.dashboard.trained import Series, trained
from tests.dashboard.watched import Watched, watching
from tests.standalone.instance import Instance

# What they assert is told as in a test.
pytest.register_assert_rewrite(
    *(f"tests.dashboard.{name}" for name in ("axe", "payloads", "pictures", "stories"))
)

LINK = re.compile(r"^ +(http://\S+/app/#key=\S+)$", re.MULTILINE)
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
QUIET = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
    "--no-sandbox",  # tests may run as root, and look at pages of our own only
]


expect.set_options(timeout=20_000)  # as long as a busy machine may need


@pytest.fixture(scope="module")
def service() -> Iterator[Instance]:
    """The service as the README starts it; webhooks may also lead to this machine, where tests listen."""
    home = Path(tempfile.mkdtemp(prefix="neftune-t-"))
    instance = Instance(home, WEBHOOK_ALLOW="127.0.0.1")
    try:
        yield instance.ready(180)  # beside other tests on a busy machine
    finally:
        instance.close()
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def link(service: Instance) -> str:
    """What the terminal shows to open the dashboard with."""
    found = LINK.search(service.said())
    assert found, service.said()
    return found[1]


@pytest.fixture(scope="module")
def url(service: Instance) -> str:
    return f"http://127.0.0.1:{service.port}"


@pytest.fixture(scope="module")
def series(service: Instance) -> Series:
    """A control and a run at alpha 5 that have succeeded."""
    return trained(service)


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    found = next(filter(None, map(shutil.which, CHROMIUM)), None)
    assert found, "no Chromium here: see apt.txt"
    expect.set_options(timeout=20_000)  # as actions have; whole test runs share the machine
    started = playwright.chromium.launch(executable_path=found, args=QUIET, env={**os.environ, "TZ": "UTC"})
    yield started
    started.close()


@pytest.fixture
def watched(browser: Browser, url: str) -> Iterator[Watched]:
    """A fresh profile with one page, nobody signed in."""
    with watching(browser, url) as started:
        yield started


@pytest.fixture
def page(watched: Watched, link: str) -> Page:
    """A page that was opened by the link of the start-up: signed in, at the runs."""
    watched.page.goto(link)
    watched.page.get_by_role("heading", name="Runs", exact=True).wait_for()
    return watched.page

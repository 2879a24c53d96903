"""A page under watch: what must never happen, whatever a test is about."""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, Request


class Watched:
    """Notes errors in the console (reports of the page's policy are such), foreign hosts, and dialogs."""

    def __init__(self, page: Page, host: str) -> None:
        self.page = page
        self.faults: list[str] = []
        self._host = host
        self._allowed: list[str] = []
        page.on("console", self._logged)
        page.on("pageerror", lambda error: self.faults.append(f"thrown: {error}"))
        page.on("dialog", self._asked)
        page.on("request", self._requested)

    def allow(self, part: str) -> None:
        """Expect errors in the console with this in them, as the browser logs every refused request."""
        self._allowed.append(part)

    def _logged(self, message: ConsoleMessage) -> None:
        told = f"{message.text} {message.location.get('url', '')}"
        if message.type == "error" and not any(part in told for part in self._allowed):
            self.faults.append(f"logged: {told}")

    def _asked(self, dialog: Dialog) -> None:
        self.faults.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _requested(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in {"blob", "data"} and parts.netloc != self._host:
            self.faults.append(f"asked another host: {request.url}")


@contextmanager
def watching(browser: Browser, url: str) -> Iterator[Watched]:
    """Open a fresh profile with one page, nobody signed in; what was noted in the end fails the test."""
    context = browser.new_context(
        base_url=url,
        viewport={"width": 1280, "height": 800},
        locale="en-GB",
        reduced_motion="reduce",  # or colours are looked at on their way
    )
    context.set_default_timeout(20_000)
    watched = Watched(context.new_page(), urlsplit(url).netloc)
    yield watched
    context.close()
    assert not watched.faults, watched.faults

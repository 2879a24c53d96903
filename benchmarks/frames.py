"""A browser, hands to move in its pages, and how long each frame takes meanwhile."""

import shutil
import statistics
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.served import Served
from tests.dashboard.conftest import CHROMIUM, QUIET

_FRAMES = """
    () => {
        window.frames_ = []; window.longest_ = 0; let last = performance.now();
        new PerformanceObserver((list) => {
            for (const one of list.getEntries()) window.longest_ = Math.max(window.longest_, one.duration);
        }).observe({type: 'longtask'});
        const next = (now) => { window.frames_.push(now - last); last = now; requestAnimationFrame(next); };
        requestAnimationFrame(next);
    }
"""
_TO_ITS_END = """
    async (from) => {
        const at = () => document.scrollingElement;
        for (let y = from; y >= 0 && (from || y < at().scrollHeight); y += from ? -1000 : 1000) {
            at().scrollTo(0, y);
            await new Promise((done) => requestAnimationFrame(done));
        }
    }
"""


@contextmanager
def browser() -> Iterator[Browser]:
    """Start the browser of the tests."""
    with sync_playwright() as playwright:
        found = next(filter(None, map(shutil.which, CHROMIUM)), None)
        started = playwright.chromium.launch(executable_path=found, args=QUIET)
        yield started
        started.close()


@contextmanager
def signed_in(chromium: Browser, api: Served) -> Iterator[Page]:
    """Open a page with a fresh cache, signed in; nothing of the dashboard is loaded yet."""
    context = chromium.new_context(base_url=api.url, viewport={"width": 1280, "height": 800})
    context.set_default_timeout(120_000)
    context.request.post("/session", headers={**api.headers, "Neftune-CSRF": "1"})
    yield context.new_page()
    context.close()


def watch(page: Page) -> None:
    """Count frames from now on."""
    page.evaluate(_FRAMES)


def frames(page: Page) -> Mapping[str, float]:
    """Tell of the frames since then, in milliseconds."""
    frames = sorted(page.evaluate("window.frames_"))
    at = frames[min(len(frames) - 1, int(len(frames) * 0.99))]
    longest = page.evaluate("window.longest_")
    return {"median": statistics.median(frames), "p99": at, "most": frames[-1], "longest_task": longest}


def scroll(page: Page, *, up: bool = False) -> None:
    """Scroll to the end, or from there to the top, a thousand pixels a frame."""
    page.evaluate(_TO_ITS_END, page.evaluate("document.scrollingElement.scrollHeight") if up else 0)


def sight(page: Page) -> tuple[float, float, float]:
    box = page.locator(".u-over").first.bounding_box()
    assert box is not None
    return box["x"] + 20, box["x"] + box["width"] - 20, box["y"] + box["height"] / 2


def there_and_back(page: Page) -> None:
    left, right, middle = sight(page)
    for _ in range(4):
        drag(page, left, right, middle)
        drag(page, right, left, middle)


def drag(page: Page, begin: float, end: float, height: float) -> None:
    page.mouse.move(begin, height)
    page.mouse.down()
    page.mouse.move(end, height, steps=40)
    page.mouse.up()

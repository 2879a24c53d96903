"""Screenshots of every screen: light, dark and narrow. Kept in `test-output/`, to be looked at by people."""

from contextlib import suppress
from pathlib import Path

from playwright.sync_api import Page, TimeoutError

KEPT = Path(__file__).parents[2] / "test-output" / "dashboard"
WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 360, "height": 740}
_WIDTH = "document.documentElement.scrollWidth"


def shoot(page: Page, name: str) -> None:
    """Take the three pictures, and see that nothing sticks out sideways at 360 px."""
    KEPT.mkdir(parents=True, exist_ok=True)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.screenshot(path=KEPT / f"{name}-{scheme}.png", animations="disabled")
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(NARROW)
    page.screenshot(path=KEPT / f"{name}-360.png", full_page=True, animations="disabled")
    # What is drawn to measure is drawn again with the next frames
    with suppress(TimeoutError):
        page.wait_for_function(f"{_WIDTH} <= {NARROW['width']}")
    width = page.evaluate(_WIDTH)
    page.set_viewport_size(WIDE)
    assert width <= NARROW["width"], f"{name} is {width} px wide in a window of 360"

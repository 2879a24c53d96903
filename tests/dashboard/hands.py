"""How a page is used: by mouse, or by nothing but keys. A story that takes hands can be done with either."""

from pathlib import Path
from typing import Protocol

from playwright.sync_api import Locator, Page

_FOCUSED = "one => one === document.activeElement"
# A ring may be drawn by the element, by its label, or by what it lies in
_SEEN = """one => {
    const ring = it => {
        const {outlineStyle, outlineWidth, boxShadow} = getComputedStyle(it);
        return (outlineStyle !== 'none' && parseFloat(outlineWidth) > 0) || boxShadow !== 'none';
    };
    return [one, one.parentElement, ...(one.labels ?? [])].some(ring);
}"""
_MOST_STOPS = 300


class Hands(Protocol):
    """What a person does to a page."""

    page: Page

    def press(self, what: Locator) -> None:
        """Follow a link, press a button, open or close what is folded."""

    def write(self, what: Locator, text: str) -> None:
        """Have this text, and no other, in a field."""

    def choose(self, what: Locator, option: str) -> None:
        """Take an option of a list, by what it says."""

    def check(self, what: Locator) -> None:
        """Take one of several radio buttons."""

    def give(self, what: Locator, file: Path) -> None:
        """Choose a file."""


class Mouse:
    """Points and clicks; only text comes by keys."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def press(self, what: Locator) -> None:
        what.click()

    def write(self, what: Locator, text: str) -> None:
        what.click(click_count=3)
        self.page.keyboard.type(text)

    def choose(self, what: Locator, option: str) -> None:
        what.select_option(label=option)  # a browser draws these lists outside of the page

    def check(self, what: Locator) -> None:
        what.click()

    def give(self, what: Locator, file: Path) -> None:
        with self.page.expect_file_chooser() as asked:
            what.locator("xpath=ancestor::label").click()
        asked.value.set_files(file)


class Keys:
    """Never touches a mouse: goes from stop to stop by Tab, and sees that focus is shown at each goal."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def press(self, what: Locator) -> None:
        self._go(what)
        self.page.keyboard.press("Enter")

    def write(self, what: Locator, text: str) -> None:
        self._go(what)
        self.page.keyboard.press("Control+a")
        self.page.keyboard.type(text)

    def choose(self, what: Locator, option: str) -> None:
        self._go(what)
        self.page.keyboard.type(option)

    def check(self, what: Locator) -> None:
        group = self.page.locator(f"input[type=radio][name={what.get_attribute('name')}]")
        self._go(what, group.locator(":scope:checked"))
        while not what.evaluate(_FOCUSED):
            self.page.keyboard.press("ArrowDown")

    def give(self, what: Locator, file: Path) -> None:
        self._go(what)
        with self.page.expect_file_chooser() as asked:
            self.page.keyboard.press("Space")
        asked.value.set_files(file)

    def _go(self, what: Locator, *or_else: Locator) -> None:
        what.wait_for()
        for _ in range(_MOST_STOPS):
            here = next((one for one in (what, *or_else) if one.count() and one.evaluate(_FOCUSED)), None)
            if here:
                assert here.evaluate(_SEEN), f"focus is not shown: {here}"
                return
            self.page.keyboard.press("Tab")
        raise AssertionError(f"no {_MOST_STOPS} tabs lead to {what}")

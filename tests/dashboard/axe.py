"""What axe-core finds on a page. The browser's debugger puts it there; it is no part of what is served."""

from pathlib import Path

from playwright.sync_api import Page

SOURCE = Path(__file__).parents[2] / "api" / "dashboard" / "node_modules" / "axe-core" / "axe.min.js"
_RUN = "() => axe.run(document, {resultTypes: ['violations']})"
_RUN_COLOURS = "() => axe.run(document, {resultTypes: ['violations'], runOnly: ['color-contrast']})"
_BAD = {"serious", "critical"}


def look(page: Page) -> None:
    """See that nothing serious keeps people with other eyes, ears or hands from the page as it is now."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(SOURCE.read_text("utf-8"))
    bad = _found(page, _RUN)
    page.emulate_media(color_scheme="dark")
    bad += _found(page, _RUN_COLOURS)
    page.emulate_media(color_scheme="light")
    assert bad == []


def _found(page: Page, run: str) -> list[str]:
    return [
        f"{one['id']} ({one['impact']}): {node['html'][:200]} {node['failureSummary']}"
        for one in page.evaluate(run)["violations"]
        if one["impact"] in _BAD
        for node in one["nodes"]
    ]

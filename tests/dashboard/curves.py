"""What a chart of losses shows, read where it is told to who does not see it."""

import csv
import re
from pathlib import Path

from playwright.sync_api import Locator, Page


def loss_chart(page: Page) -> Locator:
    return page.get_by_role("figure").filter(has=page.get_by_role("heading", name="Loss", exact=True))


def steps_shown(page: Page) -> int:
    """The last step of the noisy loss."""
    told = loss_chart(page).get_by_role("group").get_attribute("aria-label") or ""
    found = re.search(r"Training, with noise: .*?at step (\d+)", told)
    return int(found[1]) if found else 0


def expect_step(page: Page, least: int, seconds: float) -> None:
    """Wait until it shows that step."""
    page.wait_for_function(
        """([least]) => {
            const told = document.querySelector('.chart-plot')?.getAttribute('aria-label') ?? '';
            return Number(/with noise: .*?at step (\\d+)/.exec(told)?.[1] ?? 0) >= least;
        }""",
        arg=[least],
        timeout=seconds * 1000,
    )


def noisy_points(file: Path) -> list[list[float]]:
    """Steps and values of the noisy loss in a CSV of the chart."""
    rows = csv.DictReader(file.read_text("utf-8").splitlines())
    return [[int(one["step"]), float(one["value"])] for one in rows if one["line"] == "Training, with noise"]


def smoothed(values: list[float], weight: float) -> float:
    """The last of the exponential means, corrected for where they begin (as Adam's are)."""
    mean = 0.0
    for value in values:
        mean = mean * weight + value * (1 - weight)
    return mean / (1 - weight ** len(values))

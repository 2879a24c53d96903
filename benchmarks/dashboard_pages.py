"""What the dashboard costs a browser: its first paint, long curves, a long list; beside pages that do least.

    python benchmarks/dashboard_pages.py --steps 100000 --runs 6 --jobs 1000 --rounds 5

Against the real api, in Chromium, each time with a fresh profile, dashboard and peers in turns. Prints one
JSON line:

- bytes: gzip over the wire on a first visit, and of all that could ever be loaded.
- cold: milliseconds to the first paint and until the first screen is there, beside an empty page.
- curves: milliseconds until ``--page`` ({ids}: of the runs, with commas; {id}: of the first) has drawn its
  curves, how long the last of its curves took to be answered, and the frames while one of its charts is
  panned; beside a plain uPlot with the same points, and with all of them, unthinned.
- list: the frames while a list of so many jobs is scrolled to its end, read page by page, and up again once
  it is there; beside the same rows as markup alone.

Of frames: median, 99th percentile and most, in milliseconds, and the script's longest task. Each figure is
the median of the rounds, then the worst.
"""

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page

sys.path.insert(0, str(Path(__file__).parents[1]))

from api.dashboard_files import BUILT
from benchmarks.frames import browser, drag, frames, scroll, sight, signed_in, there_and_back, watch
from benchmarks.page_peers import peers, write_curves, write_list
from benchmarks.served import Served, served
from neftune_store.db import unit_of_work
from neftune_store.runs import write_metrics
from tests.factories import make_claim, make_dataset, make_job

BATCH = 1000
Figures = Mapping[str, float]
_BYTES = """
    () => [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
        .filter((one) => one.name.includes('/app/')).reduce((sum, one) => sum + one.encodedBodySize, 0)
"""
_PAINT = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
_SHOWN = """
    () => [...document.querySelectorAll('h1, h2')].some((one) => one.textContent === 'Workers')
        && performance.now()
"""
_GO = """
    (to) => {
        performance.clearResourceTimings();
        window.began_ = performance.now();
        history.pushState(null, '', to);
        dispatchEvent(new PopStateEvent('popstate'));
    }
"""
_DRAWN = """
    () => /at step [1-9]/.test(document.querySelector('.chart-plot')?.getAttribute('aria-label') ?? '')
        && performance.now() - window.began_
"""
_ANSWERED = """
    () => Math.max(...performance.getEntriesByType('resource')
        .filter((one) => /metrics/.test(one.name)).map((one) => one.responseEnd - window.began_))
"""
# Counted once a frame has been drawn: a wheel that turns faster than the page draws shows nothing.
_ROWS = """
    () => new Promise((done) => requestAnimationFrame(
        () => done(document.querySelectorAll('.runs-row').length)))
"""
_MARKUP = "() => [...document.querySelectorAll('.runs-list')].map((one) => one.outerHTML).join('')"


def main() -> None:
    """Fill a database, then look at it, again and again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=6)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--page", default="/compare?runs={ids}&curve=noisy")
    given = parser.parse_args()
    load = os.getloadavg()[0]
    with (
        tempfile.TemporaryDirectory() as name,
        served() as api,
        browser() as chromium,
        peers(Path(name)) as plain,
    ):
        folder = Path(name)
        first_visit = _first_visit(chromium, api)  # before runs are followed: a line never ends
        ids = _curves(api, given.runs, given.steps)
        _thinned(api, ids, folder, given.steps)
        place = given.page.format(ids=",".join(ids), id=ids[0])
        told: dict[str, Any] = {
            "bytes": {"first_visit": first_visit, "all": _all(api)},
            "cold": _turns(
                given.rounds,
                {
                    "dashboard": partial(_cold, chromium, api, "/app/runs"),
                    "empty": partial(_cold, chromium, api, f"{plain}/empty.html"),
                },
            ),
            "curves": _turns(
                given.rounds,
                {
                    "dashboard": partial(_panned, chromium, api, place),
                    "same_points": partial(_plain, chromium, api, f"{plain}/plot.html#thin.json"),
                    "all_points": partial(_plain, chromium, api, f"{plain}/plot.html#all.json"),
                },
            ),
        }
        _many(api, given.jobs)
        _scrolled(chromium, api, given.jobs, folder)
        told["list"] = _turns(
            given.rounds,
            {
                "dashboard": partial(_scrolled, chromium, api, given.jobs),
                "markup": partial(_bare, chromium, api, f"{plain}/list.html"),
            },
        )
    asked = {**vars(given), "load": [round(load, 1), round(os.getloadavg()[0], 1)]}
    sys.stdout.write(json.dumps({"benchmark": "dashboard_pages", **asked, **told}) + "\n")


def _turns(rounds: int, arms: Mapping[str, Callable[[], Figures]]) -> Mapping[str, Mapping[str, list[float]]]:
    found: dict[str, list[Figures]] = {arm: [] for arm in arms}
    for _ in range(rounds):
        for arm, once in arms.items():
            found[arm].append(once())
    return {
        arm: {
            name: [
                round(statistics.median(one[name] for one in all_), 1),
                round(max(one[name] for one in all_), 1),
            ]
            for name in all_[0]
        }
        for arm, all_ in found.items()
    }


def _first_visit(chromium: Browser, api: Served) -> int:
    with signed_in(chromium, api) as page:
        page.goto("/app/runs")
        page.wait_for_function(_SHOWN)
        page.wait_for_load_state("networkidle")
        return int(page.evaluate(_BYTES))


def _all(api: Served) -> int:
    names = [f"assets/{path.name}" for path in (BUILT / "assets").iterdir()]
    with api.client() as client:
        return sum(int(client.get(f"/app/{name}").headers["content-length"]) for name in ["", *names])


def _cold(chromium: Browser, api: Served, place: str) -> Figures:
    with signed_in(chromium, api) as page:
        page.goto(place)
        shown = page.wait_for_function(_SHOWN, polling="raf").json_value()
        return {"first_paint_ms": page.wait_for_function(_PAINT).json_value(), "shown_ms": shown}


def _curves(api: Served, runs: int, steps: int) -> Sequence[str]:
    ids = []
    for run in range(runs):
        make_job(api.engine, project_id=api.project_id, alpha=5.0 * run)
        claim = make_claim(api.engine, lease_seconds=3600)
        for first in range(0, steps, BATCH):
            rows = [(step, _values(step, run)) for step in range(first, min(first + BATCH, steps))]
            with unit_of_work(api.engine) as session:
                write_metrics(session, claim, rows)
        ids.append(claim.job_id)
    return ids


def _loss(step: int, run: int) -> float:
    return 2 + 2 / (1 + step / 5000) + 0.3 * math.sin(step * 12.9898 + run)


def _values(step: int, run: int) -> dict[str, float]:
    loss = _loss(step, run)
    values = {
        "train_loss": loss,
        "learning_rate": 1e-4,
        "grad_norm": 1 + loss / 5,
        "tokens_per_s": 1e4 + step % 100,
    }
    if step % 10 == 0:
        values["clean_train_loss"] = loss - 0.1
    if step % 500 == 0:
        values["eval_loss"] = loss + 0.1
    return values


def _thinned(api: Served, ids: Sequence[str], folder: Path, steps: int) -> None:
    asked = {"keys": "train_loss", "max_points": "1200"}
    with api.client() as client:
        thin = {
            job: client.get(f"/jobs/{job}/metrics", params=asked).json()["series"]["train_loss"]
            for job in ids
        }
    write_curves(folder, "thin.json", thin)
    whole = {job: [[step, _loss(step, run)] for step in range(steps)] for run, job in enumerate(ids)}
    write_curves(folder, "all.json", whole)


def _panned(chromium: Browser, api: Served, place: str) -> Figures:
    with signed_in(chromium, api) as page:
        page.goto("/app/settings")
        page.get_by_role("heading", name="Settings").wait_for()
        page.evaluate(_GO, f"/app{place}")
        drawn = page.wait_for_function(_DRAWN, polling="raf").json_value()
        answered = page.evaluate(_ANSWERED)
        watch(page)
        left, right, middle = sight(page)
        drag(page, left + (right - left) * 0.4, left + (right - left) * 0.6, middle)  # zooms
        page.wait_for_url("**from=**")
        page.keyboard.down("Shift")
        there_and_back(page)
        return {"drawn_ms": drawn, "answered_ms": answered, **frames(page)}


def _plain(chromium: Browser, api: Served, place: str) -> Figures:
    with signed_in(chromium, api) as page:
        page.goto(place)
        drawn = page.wait_for_function("() => window.drawn_", polling="raf").json_value()
        watch(page)
        there_and_back(page)
        return {"drawn_ms": drawn, **frames(page)}


def _many(api: Served, jobs: int) -> None:
    dataset = make_dataset(api.engine, api.project_id)
    for number in range(jobs):
        make_job(api.engine, dataset=dataset, name=f"run {number}", tags=["long", f"n{number % 7}"])


def _scrolled(chromium: Browser, api: Served, jobs: int, kept: Path | None = None) -> Figures:
    """Scroll down while pages are read, then up; keep the rows for the peer when asked to."""
    with signed_in(chromium, api) as page:
        page.goto("/app/runs?status=queued")
        page.locator(".runs-row").first.wait_for()
        watch(page)
        page.mouse.move(600, 500)
        while page.evaluate(_ROWS) < jobs:
            page.mouse.wheel(0, 1500)
        reading = frames(page)
        if kept:
            styles = "".join(path.read_text() for path in BUILT.glob("assets/*.css"))
            write_list(kept, styles, page.evaluate(_MARKUP))
        return {**{f"reading_{name}": one for name, one in reading.items()}, **_up(page)}


def _bare(chromium: Browser, api: Served, place: str) -> Figures:
    with signed_in(chromium, api) as page:
        page.goto(place)
        scroll(page)
        return _up(page)


def _up(page: Page) -> Figures:
    watch(page)
    scroll(page, up=True)
    return frames(page)


if __name__ == "__main__":
    main()

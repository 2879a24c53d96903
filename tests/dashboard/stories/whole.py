"""The whole job as one story: from a key and a file to an adapter, once by keys alone and once by mouse."""

import hashlib
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.dashboard import slow
from tests.dashboard.curves import expect_step, loss_chart, noisy_points, steps_shown
from tests.dashboard.hands import Hands, Keys, Mouse
from tests.dashboard.pictures import shoot
from tests.dashboard.watched import watching
from tests.e2e.rows import alpaca
from tests.faults.proxy import Proxy, before
from tests.standalone.instance import Instance
from tests.standalone.processes import eventually

STEPS = 200
LONG = 120  # seconds: for what a worker does while tests of all kinds share the machine
CUT_S = 10.0


@pytest.fixture
def wire(service: Instance) -> Iterator[Proxy]:
    """A network between page and service, which can be cut: a browser's own switch spares what is open."""
    with before(("127.0.0.1", service.port)) as proxy:
        yield proxy


@pytest.fixture
def outside(wire: Proxy, browser: Browser) -> Iterator[Page]:
    """A page before anybody has signed in, at the other end of the wire."""
    with watching(browser, f"http://127.0.0.1:{wire.port}") as watched:
        watched.allow("/session")  # 401: nobody is signed in yet
        watched.allow("/generate")  # 503: who answers is not ready yet, and the page asks again
        watched.allow("/record")  # 404: a run that was cancelled while it waited has none
        watched.allow("ERR_")  # what the browser logs of each request that a cut wire ends
        yield watched.page


@pytest.fixture(params=["keys", pytest.param("mouse", marks=pytest.mark.long)])
def hands(request: pytest.FixtureRequest, outside: Page) -> Hands:
    return Keys(outside) if request.param == "keys" else Mouse(outside)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """What the series is called; the other hands have made one, too."""
    return f"all of it by {request.node.callspec.id}"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    kept = tmp_path / "alpaca_en_demo.json"
    kept.write_bytes(alpaca())
    return kept


# Two trainings, one of them slowed: minutes, and more where others share the machine
@pytest.mark.timeout(900)
def test_the_whole_job_is_done_in_the_dashboard(
    hands: Hands, wire: Proxy, service: Instance, file: Path, name: str
):
    page = hands.page
    _sign_in(page, hands, service)
    _upload(page, hands, file)
    _start_series(page, hands, name)
    series = page.url
    with service.client() as client:
        sweep = series.rsplit("/", 1)[1].partition("?")[0]

        def told() -> Any:
            return client.get(f"/sweeps/{sweep}").raise_for_status().json()

        job = _begun(client, told)
        with slow.runner(service):
            _watch_begin(page, hands, job)
            _lose_network(page, hands, wire, client, job)
            _reload(page)
            _cancel_one(page, hands, series, told)  # it waits for the slow one
        # What the page shows of the others it hears by itself
        runs = page.get_by_role("region", name="Runs", exact=True)
        # (most of one run, and the whole of another)
        expect(runs.get_by_text("Succeeded")).to_have_count(2, timeout=3 * LONG * 1000)
        tuned = next(one["job"] for one in told()["results"] if one["alpha"] == 5)
        _compare(page, hands, name)
        _talk(page, hands, name)
        _take_adapter(page, hands, client, tuned)


def _sign_in(page: Page, hands: Hands, service: Instance) -> None:
    page.goto("/")
    hands.write(page.get_by_label("API key"), service.key)
    hands.press(page.get_by_role("button", name="Sign in"))
    expect(page.get_by_role("heading", name="Runs", exact=True)).to_be_visible()


def _upload(page: Page, hands: Hands, file: Path) -> None:
    hands.press(page.get_by_role("link", name="Datasets", exact=True))
    hands.give(page.get_by_label("Choose files"), file)
    taken = page.get_by_role("listitem").filter(has_text=file.name)
    expect(taken).to_contain_text(re.compile(r"999 rows|300 rows"))
    hands.press(taken.get_by_role("link", name="Look at it"))
    expect(page.get_by_role("img", name=re.compile("Histogram of lengths: half"))).to_be_visible()
    expect(page.get_by_role("row", name=re.compile("α 15"))).to_contain_text("%")
    hands.press(page.get_by_role("link", name="Start a run with it"))


def _start_series(page: Page, hands: Hands, name: str) -> None:
    hands.check(page.get_by_role("radio", name=re.compile("^Alpha series")))
    hands.write(page.get_by_label("Alphas", exact=True), "5, 10")
    hands.write(page.get_by_label("Seeds"), "7")
    hands.press(page.locator("summary").filter(has_text="Steps and optimiser"))
    hands.write(page.get_by_label("Steps", exact=True), str(STEPS))
    hands.write(page.get_by_label("Batch size", exact=True), "2")
    hands.press(page.locator("summary").filter(has=page.get_by_text("Data", exact=True)))
    hands.write(page.get_by_label("Tokens kept per example"), "128")
    hands.write(page.get_by_label("Name"), name)
    hands.press(page.get_by_role("button", name="Start 3 runs"))
    expect(page).to_have_url(re.compile("/app/series/swp_"))


def _begun(client: Any, told: Any) -> str:
    """Tell which run of the series has taken its first step."""

    begun: list[str] = []

    def stepping() -> bool:
        for job in [one["job"] for one in told()["results"] if one["status"] == "running"]:
            progress = client.get(f"/jobs/{job}").json()["progress"]
            if progress and progress["step"]:
                begun.append(job)
        return bool(begun)

    assert eventually(stepping, LONG), [
        client.get(f"/jobs/{one['job']}").json()["error"] for one in told()["results"]
    ]
    return begun[0]


def _watch_begin(page: Page, hands: Hands, job: str) -> None:
    """Open the run, and see points come."""
    hands.press(page.locator(f'.series-alpha[href$="{job}"]'))
    expect_step(page, 1, LONG)
    expect_step(page, steps_shown(page) + 3, LONG)


def _lose_network(page: Page, hands: Hands, wire: Proxy, client: Any, job: str) -> None:
    wire.turn("cut")
    began = time.monotonic()
    lost = steps_shown(page)

    def reached() -> bool:
        progress = client.get(f"/jobs/{job}").json()["progress"]
        return bool(progress["step"] >= lost + 10) and time.monotonic() - began >= CUT_S

    assert eventually(reached, LONG)
    assert steps_shown(page) < lost + 10
    expect(page.get_by_text("Connection lost, trying again")).to_be_visible()
    shoot(page, "run-cut")
    wire.turn("pass")
    expect_step(page, lost + 10, LONG)
    # Not one point is missing: what is drawn is what the service has
    with page.expect_download() as fetched:
        hands.press(loss_chart(page).get_by_role("button", name="CSV of Loss"))
    drawn = noisy_points(Path(fetched.value.path()))
    whole = client.get(f"/jobs/{job}/metrics", params={"keys": "train_loss", "max_points": 10_000}).json()
    assert len(drawn) >= lost + 10
    assert drawn == whole["series"]["train_loss"][: len(drawn)]


def _reload(page: Page) -> None:
    before = steps_shown(page)
    assert before < STEPS
    page.reload()
    expect_step(page, before, LONG)


def _cancel_one(page: Page, hands: Hands, series: str, told: Any) -> None:
    up = page.get_by_role("region", name="Where the run stands").locator('a[href*="/series/"]')
    hands.press(up)
    expect(page).to_have_url(series)
    last = next(one["job"] for one in told()["results"] if one["alpha"] == 10)
    hands.press(page.locator(f'.series-alpha[href$="{last}"]'))
    hands.press(page.get_by_role("button", name="Cancel run"))
    asked = page.get_by_role("dialog")
    expect(asked).to_contain_text("for good")
    hands.press(asked.get_by_role("button", name="Cancel run"))
    expect(page.get_by_text("Cancelled", exact=True)).to_be_visible()
    hands.press(up)


def _compare(page: Page, hands: Hands, name: str) -> None:
    hands.press(page.get_by_role("link", name="Compare on one axis"))
    expect(page.get_by_role("group", name=re.compile(r"Held-out loss\..*at step [1-9]"))).to_be_visible()
    figures = page.get_by_role("region", name="Figures")
    expect(figures.get_by_role("row", name="Held-out loss, last step")).to_contain_text(
        re.compile(r"\d\.\d+")
    )
    hands.press(page.get_by_role("link", name="Series", exact=True))
    hands.press(page.get_by_role("link", name=name))


def _talk(page: Page, hands: Hands, name: str) -> None:
    hands.press(page.get_by_role("link", name=re.compile("^Talk to base")))
    hands.write(page.get_by_label("Prompt"), "What colour is a carrot?")
    hands.write(page.get_by_label("Most tokens"), "24")
    hands.press(page.get_by_role("button", name="Ask", exact=True))
    for model in ("neftune/demo-base", f"{name} · α 5 · seed 7"):
        said = page.get_by_role("region", name=model, exact=True)
        expect(said).to_contain_text(re.compile(r"\d+ tokens? in "), timeout=LONG * 1000)
    hands.press(page.get_by_role("link", name="Series", exact=True))
    hands.press(page.get_by_role("link", name=name))


def _take_adapter(page: Page, hands: Hands, client: Any, job: str) -> None:
    hands.press(page.locator(f'.series-alpha[href$="{job}"]'))
    hands.press(page.get_by_role("navigation", name="Parts of the run").get_by_role("link", name="Files"))
    link = page.get_by_role("link", name="Download adapter", exact=True)
    with page.expect_download() as fetched:
        hands.press(link)
    got = hashlib.sha256(Path(fetched.value.path()).read_bytes()).hexdigest()
    expect(page.get_by_role("row").filter(has=link).locator(".run-hash .mono")).to_have_text(got)
    kept = client.get(f"/jobs/{job}/artifacts").json()["items"]
    assert got in {one["sha256"] for one in kept if one["kind"] == "adapter"}

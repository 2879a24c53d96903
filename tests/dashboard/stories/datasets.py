"""Rows on their way in, what is wrong with them, and what a model sees of them."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import FilePayload, Locator, Page, expect
from sqlalchemy import text

from neftune_store.db import make_engine
from standalone.postgres import EmbeddedPostgres
from tests.dashboard import axe
from tests.dashboard.payloads import PAYLOADS, inert
from tests.dashboard.pictures import shoot
from tests.dashboard.watched import Watched
from tests.e2e.rows import alpaca
from tests.standalone.instance import Instance

# Files whose second row is faulty, each with that row as it stands in the file.
_FAULTY = {
    "faulty.jsonl": (
        """{"instruction": "Name a colour.", "output": "Blue."}
{"instruction": "Name <b>another</b>.", "output": 5}

{"instruction": "Name a number.", "output": "Seven."
""",
        '{"instruction": "Name <b>another</b>.", "output": 5}',
    ),
    "faulty.json": (
        """[ {"instruction": "a [", "output": "b,"} ,
  {"instruction": "c \\"{",
   "output": 5}]""",
        """{"instruction": "c \\"{",
   "output": 5}""",
    ),
    "faulty.csv": ('instruction,output\n"a\nb",c\n"d, ""e""\n",\n', '"d, ""e""\n",'),
}
_DROP = """files => {
  const held = new DataTransfer();
  for (const [name, text] of files) held.items.add(new File([text], name));
  for (const type of ["dragover", "drop"]) {
    document.body.dispatchEvent(new DragEvent(type, {dataTransfer: held, bubbles: true, cancelable: true}));
  }
}"""


def _file(name: str, body: bytes) -> FilePayload:
    return {"name": name, "mimeType": "application/octet-stream", "buffer": body}


@pytest.fixture
def as_found(service: Instance) -> Iterator[None]:
    """Leave no datasets behind but those that were there."""
    with service.client() as client:
        before = {one["id"] for one in client.get("/datasets?limit=200").json()["items"]}
        yield
        for one in client.get("/datasets?limit=200").json()["items"]:
            if one["id"] not in before:
                client.delete(f"/datasets/{one['id']}").raise_for_status()


def _noise(row: Locator) -> float:
    """Its share of the embeddings, in percent."""
    found = re.search(r"([0-9.]+) %", row.inner_text())
    assert found
    return float(found[1])


@pytest.mark.usefixtures("as_found")
def test_rows_are_uploaded_looked_at_and_deleted(watched: Watched, page: Page):
    watched.allow("/tokens")  # 422, on purpose, as the next
    watched.allow("/preview")
    page.get_by_role("link", name="Datasets").click()
    page.get_by_label("Choose files").set_input_files(_file("alpaca_en_demo.json", alpaca()))
    done = page.get_by_role("listitem").filter(has_text="alpaca_en_demo.json")
    expect(done).to_contain_text(re.compile(r"[0-9]+ rows · Alpaca"))
    expect(page.get_by_role("cell", name="alpaca_en_demo.json", exact=True)).to_be_visible()
    axe.look(page)
    shoot(page, "datasets")

    done.get_by_role("link", name="Look at it").click()
    expect(page.get_by_role("img", name=re.compile("Histogram of lengths: half"))).to_be_visible()
    expect(page.get_by_role("row", name=re.compile("α 15"))).to_contain_text("%")
    first = page.get_by_role("region", name="Row 1", exact=True)
    expect(first.locator("mark").first).to_be_visible()
    expect(first).to_contain_text("### Instruction:")
    # What is marked is what is trained on, and nothing of what the template wrote
    expect(first.locator("mark").filter(has_text="### ")).to_have_count(0)
    expect(first.locator("mark").first).not_to_have_css("background-color", "rgba(0, 0, 0, 0)")
    # Three times the alpha is three times the noise
    five, fifteen = (_noise(page.get_by_role("row", name=re.compile(rf"^α {n}\b"))) for n in (5, 15))
    assert fifteen == pytest.approx(3 * five, rel=0.2)  # each is told in two digits
    axe.look(page)
    shoot(page, "dataset")

    # What is looked at stands in the address; what is wrong with it, beside it
    page.get_by_label("Tokens kept per example").fill("4")
    expect(page.locator(".field").get_by_role("alert")).to_contain_text("greater than or equal to 8")
    expect(page.get_by_text("Correct what is marked above.")).to_have_count(3)
    expect(page.get_by_role("img", name=re.compile("Histogram of lengths"))).to_be_visible()  # the one before
    page.get_by_label("Tokens kept per example").fill("40")
    expect(page.get_by_text(re.compile("examples are cut"))).to_be_visible()
    page.reload()
    expect(page.get_by_text("longer than 40 tokens: cut")).to_be_visible()
    shoot(page, "dataset-cut")

    page.get_by_role("button", name="Delete").click()
    asked = page.get_by_role("dialog", name="Delete alpaca_en_demo.json?")
    expect(asked).to_contain_text("nothing brings them back")
    asked.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name="Datasets", exact=True)).to_be_visible()
    expect(page.get_by_role("cell", name="alpaca_en_demo.json", exact=True)).to_have_count(0)
    watched.allow("/datasets/ds_")  # 404, on purpose
    page.go_back()
    expect(page.get_by_role("heading", name="This dataset isn't here")).to_be_visible()
    expect(page.get_by_role("link", name="All datasets")).to_be_visible()


def test_files_with_faults_are_reported_by_line_with_their_rows(
    watched: Watched, page: Page, service: Instance
):
    watched.allow("/datasets")  # 422, on purpose
    page.goto("/app/datasets")
    page.get_by_label("Choose files").wait_for(state="attached")
    page.evaluate(_DROP, [[name, text] for name, (text, _) in _FAULTY.items()])
    for name, (_, row) in _FAULTY.items():
        refused = page.get_by_role("listitem").filter(has=page.get_by_text(name, exact=True))
        expect(refused.get_by_role("alert")).to_contain_text("Refused: it has faults")
        refused.get_by_role("button", name="See the report").click()
        report = page.get_by_role("dialog", name=f"What is wrong with {name}")
        expect(report).to_contain_text("Nothing was kept")
        if name == "faulty.jsonl":
            expect(report.get_by_role("row", name=re.compile("^4 "))).to_contain_text("json_invalid")
            axe.look(page)
            shoot(page, "datasets-report")
        expect(report.get_by_role("row", name=re.compile("^2 "))).to_contain_text(row)
        report.get_by_role("button", name="Show row 2").click()
        expect(report.locator("pre")).to_have_text(row)
        inert(page)
        page.keyboard.press("Escape")
    with service.client() as client:
        kept = {one["name"] for one in client.get("/datasets?limit=200").json()["items"]}
    assert kept.isdisjoint(_FAULTY)


@pytest.mark.long
def test_names_of_files_stay_text(watched: Watched, page: Page):
    """Its short sibling is the test above, whose rows are shown."""
    watched.allow("/datasets")  # 422, on purpose
    page.goto("/app/datasets")
    page.get_by_label("Choose files").wait_for(state="attached")
    page.evaluate(_DROP, [[name, json.dumps({"instruction": name, "output": 5})] for name in PAYLOADS])
    uploads = page.locator(".datasets-uploads")
    expect(uploads.get_by_role("alert")).to_have_count(len(PAYLOADS))
    inert(page)
    for report in uploads.get_by_role("button", name="See the report").all():
        report.click()
        expect(page.get_by_role("dialog").get_by_role("row", name=re.compile("^1 "))).to_contain_text(
            "instruction"
        )
        inert(page)
        page.keyboard.press("Escape")


@pytest.mark.usefixtures("as_found")
def test_an_upload_shows_how_far_it_is_goes_on_elsewhere_and_can_be_given_up(
    page: Page, service: Instance, tmp_path: Path
):
    # Given a line that takes two minutes for a file
    line = page.context.new_cdp_session(page)
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 100_000}
    line.send("Network.enable")
    page.goto("/app/datasets")
    page.get_by_label("Choose files").wait_for(state="attached")
    line.send("Network.emulateNetworkConditions", slow)
    row = json.dumps({"instruction": "x" * 5_000, "output": "y"}).encode() + b"\n"
    large = tmp_path / "large.jsonl"  # a file that the browser reads: handed over in words, it takes a while
    large.write_bytes(row * 2400)
    page.get_by_label("Choose files").set_input_files(large)
    bar = page.get_by_role("progressbar", name="large.jsonl")
    # When it is on its way, and one looks at something else meanwhile
    expect(page.get_by_text(re.compile(r"^[1-9][0-9.]* [kM]B of 12\.[0-9] MB · "))).to_be_visible()
    page.get_by_role("link", name="Settings").click()
    page.get_by_role("link", name="Datasets").click()
    began = float(bar.get_attribute("value") or 0)
    page.wait_for_function(
        "began => Number(document.querySelector('progress')?.value) * 1 > began", arg=began
    )
    shoot(page, "datasets-uploading")
    page.get_by_role("button", name="Cancel the upload of large.jsonl").click()
    # Then it is gone, and nothing of it was kept; the next one is taken. (The line stays slow: a fast one
    # could bring all of it within the moment that it takes to end it.)
    expect(bar).to_have_count(0)
    page.get_by_label("Choose files").set_input_files(_file("small.jsonl", row))
    expect(page.get_by_role("cell", name="small.jsonl", exact=True)).to_be_visible()
    with service.client() as client:
        kept = {one["name"] for one in client.get("/datasets?limit=200").json()["items"]}
    assert "large.jsonl" not in kept


@pytest.mark.usefixtures("as_found")
def test_an_upload_given_up_when_all_is_sent_leaves_nothing_either(page: Page, service: Instance):
    # Given rows that have all come, and a service that takes its time to write them down
    url = EmbeddedPostgres(service.home).url_of_running()
    engine = make_engine(url, pool_size=1, application_name="test")
    page.goto("/app/datasets")
    page.get_by_label("Choose files").wait_for(state="attached")
    with engine.begin() as line:
        line.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        line.execute(text("LOCK TABLE datasets IN SHARE MODE"))
        page.get_by_label("Choose files").set_input_files(_file("late.jsonl", b'{"text": "late"}\n'))
        expect(page.get_by_text("All sent; the last rows are being checked…").first).to_be_visible()
        # When it is given up
        page.get_by_role("button", name="Cancel the upload of late.jsonl").click()
        expect(page.get_by_text("Cancelling…")).to_be_visible()
    # Then what is said about it is true
    expect(page.get_by_text("late.jsonl was cancelled; nothing of it was kept")).to_be_visible()
    engine.dispose()
    with service.client() as client:
        kept = {one["name"] for one in client.get("/datasets?limit=200").json()["items"]}
    assert "late.jsonl" not in kept


@pytest.mark.usefixtures("as_found")
def test_names_and_rows_stay_text(page: Page, service: Instance):
    # Given payloads for names of datasets, and in their rows
    rows = "".join(json.dumps({"instruction": one, "output": one}) + "\n" for one in PAYLOADS)
    with service.client() as client:
        for one in PAYLOADS:
            last = client.post("/datasets", params={"name": one}, content=rows.encode()).json()["id"]
    # When they are listed, looked at, and one is about to be deleted
    page.goto("/app/datasets")
    expect(page.get_by_role("cell", name=PAYLOADS[0], exact=True)).to_be_visible()
    inert(page)
    page.get_by_role("button", name=f"Delete {PAYLOADS[1]}").click()
    expect(page.get_by_role("dialog")).to_contain_text(PAYLOADS[1])
    inert(page)
    shoot(page, "datasets-payloads")
    page.goto(f"/app/datasets/{last}")
    page.get_by_role("button", name="Show 100 rows").click()
    expect(page.get_by_role("region", name=f"Row {len(PAYLOADS)}", exact=True)).to_contain_text("alert(33)")
    # Then nothing ran (the page is watched)
    inert(page)

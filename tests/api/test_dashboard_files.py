"""The dashboard's files over HTTP: the page for every place, scripts for long, words where none was built."""

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from api.dashboard_files import Dashboard
from tests.api.live_api import Service

SCRIPT = "console.log('here');\n" * 100
PAGE = "<!doctype html><title>one</title>"


@pytest.fixture
def built(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text(PAGE)
    (tmp_path / "assets" / "index-abc.js").write_text(SCRIPT)
    return tmp_path


@pytest.fixture
def visitor(service: Service, built: Path) -> Iterator[httpx.Client]:
    """Somebody without a key, at a service with this dashboard."""
    state = service.server.config.app.state  # type: ignore[union-attr]
    before, state.dashboard = state.dashboard, Dashboard(built)
    with httpx.Client(base_url=service.url, trust_env=False) as client:
        yield client
    state.dashboard = before


@pytest.mark.parametrize("path", ["/", "/app"])
def test_the_front_door_leads_to_it(visitor: httpx.Client, path: str):
    answer = visitor.get(path)
    assert (answer.status_code, answer.headers["location"]) == (307, "/app/")


@pytest.mark.parametrize("path", ["", "runs/job_x", "settings?part=keys", "..%2f..%2fmain.py", "index.html"])
def test_every_place_gets_the_page(visitor: httpx.Client, path: str):
    answer = visitor.get(f"/app/{path}")
    assert (answer.status_code, answer.text) == (200, PAGE)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"


def test_the_page_may_load_from_here_alone_and_run_nothing_inline(visitor: httpx.Client):
    policy = dict(
        part.split(" ", 1) for part in visitor.get("/app/").headers["content-security-policy"].split("; ")
    )
    assert policy["default-src"] == policy["form-action"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert policy["frame-ancestors"] == "'none'"


def test_scripts_are_kept_for_ever_and_packed_for_who_can_unpack(visitor: httpx.Client):
    packed = visitor.get("/app/assets/index-abc.js")
    assert packed.text == SCRIPT
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["content-type"] == "text/javascript; charset=utf-8"
    assert packed.headers["cache-control"] == "public, max-age=31536000, immutable"
    plain = visitor.get("/app/assets/index-abc.js", headers={"accept-encoding": "identity"})
    assert (plain.text, plain.headers.get("content-encoding")) == (SCRIPT, None)
    assert packed.headers["vary"] == plain.headers["vary"] == "accept-encoding"
    told = visitor.head("/app/assets/index-abc.js", headers={"accept-encoding": "identity"})
    assert (told.headers["content-length"], told.content) == (str(len(SCRIPT)), b"")


@pytest.mark.parametrize("name", ["index-old.js", "%2e%2e/index.html", "..%2f..%2fdashboard_files.py"])
def test_a_script_that_is_not_there_is_not_the_page(visitor: httpx.Client, name: str):
    assert visitor.get(f"/app/assets/{name}").status_code == 404


def test_what_was_built_again_is_read_again(visitor: httpx.Client, built: Path):
    assert visitor.get("/app/").text == PAGE
    (built / "index.html").write_text("two")
    os.utime(built / "index.html", ns=(1, 1))  # whatever the clock says
    assert visitor.get("/app/").text == "two"


def test_without_a_build_it_says_what_to_do(visitor: httpx.Client, built: Path):
    (built / "index.html").unlink()
    answer = visitor.get("/app/runs")
    assert answer.status_code == 503
    assert "make setup" in answer.text
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_it_is_only_looked_at(visitor: httpx.Client, method: str):
    assert visitor.request(method, "/app/runs").status_code == 405

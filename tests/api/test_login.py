"""Browsers: let in by a key, known by a cookie, and deaf to other sites."""

from collections.abc import Iterator

import httpx
import pytest
from sqlalchemy import text
from starlette.requests import Request
from starlette.responses import Response

from api.cookies import _is_ours, cookie_of, set_cookie
from neftune_store.db import unit_of_work
from neftune_store.logins import MOST
from neftune_store.projects import ProjectLedger
from tests.api.live_api import Service, rows, submit


def refused(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


@pytest.fixture
def browser(service: Service) -> Iterator[httpx.Client]:
    """A page of ours in a browser that has logged in."""
    with httpx.Client(base_url=service.url, timeout=20, trust_env=False) as page:
        key = service.key()
        assert page.post("/session", headers={"Authorization": f"Bearer {key}"}).status_code == 201
        page.headers.update({"Origin": service.url, "Neftune-CSRF": "1"})
        yield page


def test_a_key_is_exchanged_for_a_cookie_that_no_script_reads(service: Service) -> None:
    key = service.key("write")
    answer = httpx.post(f"{service.url}/session", headers={"Authorization": f"Bearer {key}"}, trust_env=False)
    assert answer.status_code == 201
    name, _, rest = answer.headers["set-cookie"].partition("=")
    value, *attributes = rest.split("; ")
    assert (name, len(value)) == ("neftune", 43)
    assert {"HttpOnly", "Path=/", "SameSite=strict", "Max-Age=43200"} == set(attributes)
    assert answer.json()["key"]["scopes"] == ["write"]
    assert key not in answer.text
    # Nothing of it is kept but a hash
    with service.engine.connect() as connection:
        kept = "".join(connection.execute(text("SELECT logins::text FROM logins")).scalars())
    assert value not in kept


def test_over_tls_the_cookie_is_bound_to_this_host(service: Service) -> None:
    headers = [(b"host", b"neftune.example.org"), (b"cookie", b"neftune=" + b"a" * 43)]
    request = Request({"type": "http", "method": "GET", "scheme": "https", "path": "/", "headers": headers})
    response = Response()
    set_cookie(request, response, "v" * 43, 60)
    assert response.headers["set-cookie"].startswith("__Host-neftune=")
    assert "; Secure" in response.headers["set-cookie"]
    assert cookie_of(request) is None  # one that came without TLS is not looked at


def test_a_cookie_opens_what_its_key_opens(service: Service, browser: httpx.Client) -> None:
    job = submit(browser)
    assert browser.get(f"/jobs/{job['id']}").status_code == 200
    told = browser.get("/session").json()
    assert told["scopes"] == ["admin", "read", "write"]
    assert told["expires_at"] is not None
    with service.client(service.key("read")) as reader:
        page = httpx.Client(base_url=service.url, trust_env=False)
        with page:
            page.post("/session", headers=dict(reader.headers))
            page.headers.update({"Origin": service.url, "Neftune-CSRF": "1"})
            assert refused(page.post("/jobs", json={})) == (403, "forbidden")


def test_a_key_wins_over_a_cookie(service: Service, browser: httpx.Client) -> None:
    with_key = {"Authorization": f"Bearer {service.key()}"}
    own = browser.get("/session").json()["project"]["id"]
    assert browser.get("/session", headers=with_key).json()["project"]["id"] != own
    # Also a wrong one, or what is none: nothing is done in a name that was not meant
    for wrong in ("Bearer wrong-key-wrong-key", "Basic abc", ""):
        answer = browser.get("/session", headers={"Authorization": wrong})
        assert refused(answer) == (401, "unauthorized")
    # And what a program does with a key needs no marks of a page
    del browser.headers["Origin"], browser.headers["Neftune-CSRF"]
    assert browser.post("/datasets", content=rows(), headers=with_key).status_code == 201


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://127.0.0.1.evil.example"},
        {"Origin": "http://[::1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Neftune-CSRF": ""},
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "simple", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
)
def test_a_change_that_another_site_may_want_is_refused(
    browser: httpx.Client, headers: dict[str, str], simple: str
) -> None:
    # As a form of another site would send it, and as a script would
    for content_type in (simple, "application/json"):
        sent = {"Content-Type": content_type, **headers}
        assert refused(browser.post("/jobs", content=b"{}", headers=sent)) == (403, "csrf")
    assert refused(browser.post("/datasets", content=rows(), headers=headers)) == (403, "csrf")
    assert browser.get("/datasets").json()["items"] == []


@pytest.mark.parametrize("missing", ["Origin", "Neftune-CSRF"])
def test_a_change_without_its_marks_is_refused(browser: httpx.Client, missing: str) -> None:
    del browser.headers[missing]
    changes = [("POST", "/datasets"), ("DELETE", "/session"), ("PATCH", "/projects/x"), ("PUT", "/x")]
    for method, path in [*changes, ("POST", "/v1/files")]:
        answer = browser.request(method, path, content=b"")
        assert answer.status_code in {403, 404, 405}
        if answer.status_code == 403:
            told = answer.json()
            assert told.get("error", told)["code"] == "csrf"
    assert browser.get("/session").status_code == 200  # looking is no change


def test_a_simple_body_is_refused_even_from_a_page_of_ours(browser: httpx.Client) -> None:
    for simple in ("text/plain", "application/x-www-form-urlencoded"):
        answer = browser.post("/jobs", content=b"{}", headers={"Content-Type": simple})
        assert refused(answer) == (415, "unsupported_media")


def test_behind_a_proxy_the_host_decides() -> None:
    def ours(origin: str, host: str, scheme: str = "http") -> bool:
        headers = [(b"host", host.encode())]
        scope = {"type": "http", "method": "POST", "scheme": scheme, "path": "/", "headers": headers}
        return _is_ours(Request(scope), origin)

    assert ours("https://n.example.org", "n.example.org")  # TLS ended at the proxy
    assert ours("https://n.example.org", "n.example.org:443")
    assert ours("http://n.example.org:80", "N.example.org")
    assert not ours("http://n.example.org", "n.example.org", "https")
    assert not ours("https://n.example.org:444", "n.example.org")
    assert not ours("https://user@n.example.org", "n.example.org")
    assert not ours("file://n.example.org", "n.example.org")
    assert not ours("https://", "")


def test_a_login_ends_when_it_is_told_to(browser: httpx.Client) -> None:
    cookie = browser.cookies["neftune"]
    answer = browser.delete("/session")
    assert answer.status_code == 204
    assert "Max-Age=0" in answer.headers["set-cookie"]
    browser.cookies.set("neftune", cookie)  # a browser that forgot nothing
    assert refused(browser.get("/session")) == (401, "unauthorized")


def test_a_login_ends_with_its_key_and_with_its_time(service: Service, browser: httpx.Client) -> None:
    other = httpx.Client(base_url=service.url, trust_env=False, cookies=browser.cookies)
    with other:
        assert other.get("/jobs").status_code == 200
        with service.engine.begin() as connection:
            over = "UPDATE logins SET expires_at = clock_timestamp() WHERE api_key_id = :key"
            connection.execute(text(over), {"key": browser.get("/session").json()["key"]["id"]})
        assert refused(other.get("/jobs")) == (401, "unauthorized")
    key = service.key()
    with httpx.Client(base_url=service.url, trust_env=False) as page:
        page.post("/session", headers={"Authorization": f"Bearer {key}"})
        with unit_of_work(service.engine) as session:
            who = ProjectLedger(session).authenticate(key)
            assert who is not None
            ProjectLedger(session).revoke_key(who.project_id, who.key_id)
        assert refused(page.get("/jobs")) == (401, "unauthorized")


def test_a_cookie_makes_no_cookie(browser: httpx.Client) -> None:
    assert refused(browser.post("/session")) == (401, "unauthorized")


def test_a_key_has_a_bounded_number_of_logins(service: Service) -> None:
    with service.client() as client:
        first = client.post("/session").cookies["neftune"]
        client.cookies.clear()
        for _ in range(MOST):
            latest = client.post("/session").cookies["neftune"]
            client.cookies.clear()
    for cookie, status in ((first, 401), (latest, 200)):
        answer = httpx.get(f"{service.url}/session", cookies={"neftune": cookie}, trust_env=False)
        assert answer.status_code == status


@pytest.mark.parametrize("cookie", ["", "x", "a" * 43, "a" * 5000, "a b", "é" * 43])
def test_a_cookie_of_nobody_opens_nothing(service: Service, cookie: str) -> None:
    headers = {"Cookie": f"neftune={cookie}".encode("latin-1")}
    answer = httpx.get(f"{service.url}/jobs", headers=headers, trust_env=False)  # type: ignore[arg-type]  # bytes are taken
    assert refused(answer) == (401, "unauthorized")


def test_logins_are_written_down(service: Service, browser: httpx.Client) -> None:
    with service.client(service.key("operator")) as operator:
        project = {"Neftune-Project": browser.get("/session").json()["project"]["id"]}
        browser.delete("/session")
        done = [one["action"] for one in operator.get("/audit", headers=project).json()["items"]]
    assert done == ["operator.entered", "session.ended", "session.began"]


def test_a_cookie_is_found_whatever_the_query_holds() -> None:
    headers = [(b"host", b"localhost"), (b"cookie", b"neftune=" + b"a" * 43)]
    scope = {"type": "http", "method": "GET", "scheme": "http", "path": "/", "headers": headers}
    assert cookie_of(Request({**scope, "query_string": b"\xff=\xfe"})) == "a" * 43

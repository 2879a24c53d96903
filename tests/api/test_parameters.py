"""Query parameters that are not there: told, and nothing done."""

import httpx
import pytest

from api.openapi import OPEN
from tests.api.live_api import Service, spec, submit, upload


def refused(answer: httpx.Response) -> list[dict[str, object]]:
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request"), answer.text
    errors: list[dict[str, object]] = answer.json()["errors"]
    return errors


def test_a_misspelt_dry_run_makes_no_job(client: httpx.Client) -> None:
    wanted = spec(upload(client)["id"])
    (fault,) = refused(client.post("/jobs", params={"dryrun": "true"}, json=wanted))
    assert (fault["loc"], fault["code"]) == (["query", "dryrun"], "unknown_parameter")
    assert "did you mean dry_run?" in str(fault["msg"])
    assert client.get("/jobs").json()["items"] == []


def test_a_misspelt_filter_lists_nothing(client: httpx.Client) -> None:
    submit(client)
    faults = refused(client.get("/jobs?stauts=failed&status=failed&zqmark"))
    assert [fault["loc"] for fault in faults] == [["query", "stauts"], ["query", "unknown"]]
    assert client.get("/jobs?status=failed").json()["items"] == []


def test_every_route_that_asks_for_a_key_refuses_what_it_does_not_know(
    service: Service, client: httpx.Client
) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    routes = [(path, verb) for path, item in paths.items() for verb in item]
    native = [(path, verb) for path, verb in routes if path not in OPEN and not path.startswith("/v1/")]
    assert len(native) > 50
    for path, verb in native:
        answer = client.request(verb.upper(), path, params={"zqmark": "1"})
        assert "zqmark" not in answer.text
        if answer.status_code == 403:  # an operator's route: what is wrong is told to those who may ask
            continue
        if verb != "head":
            (fault,) = refused(answer)
            assert fault["loc"] == ["query", "unknown"], (path, verb)
        assert answer.status_code == 422, (path, verb)


def test_who_may_not_ask_is_told_nothing_of_parameters(service: Service, client: httpx.Client) -> None:
    assert httpx.get(f"{service.url}/jobs?stauts=failed", trust_env=False).status_code == 401
    with service.client(service.key("read")) as reading:
        assert reading.post("/jobs?dryrun=true", json={}).status_code == 403


@pytest.mark.parametrize("path", ["/healthz?at=1", "/readyz?at=1", "/v1/models?expand=all", "/docs?at=1"])
def test_what_probes_and_other_clients_send_along_is_passed_over(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 200

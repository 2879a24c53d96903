"""What a key may do, on every route there is: by scope, by project, and for an operator."""

import httpx
import pytest

from neftune_store.ids import new_id
from tests.api.live_api import Service, submit
from tests.api.openai_sdk import sdk
from tests.api.test_security import CLOSED, KINDS, with_ids

# Reading needs `read` and everything else `write`, but for these.
NEEDS = {
    ("GET", "/keys"): "admin",
    ("POST", "/keys"): "admin",
    ("GET", "/keys/{key_id}"): "admin",
    ("DELETE", "/keys/{key_id}"): "admin",
    ("GET", "/projects"): "admin",
    ("GET", "/projects/{project_id}"): "admin",
    ("POST", "/projects"): "operator",
    ("PATCH", "/projects/{project_id}"): "operator",
    ("GET", "/audit"): "admin",
    ("GET", "/metrics"): "operator",
    ("POST", "/session"): "any",
    ("GET", "/session"): "any",
    ("DELETE", "/session"): "any",
}
# What an operator sees without naming a project.
OVERSEEN = {
    "/keys": False,
    "/projects": True,
    "/projects/{project_id}": True,
    "/audit": True,
    "/usage": True,
    "/workers": True,
}
GIVES = {"read": {"read"}, "write": {"read", "write"}, "admin": {"read", "write", "admin"}}


def needed(method: str, path: str) -> str:
    return NEEDS.get((method, path), "read" if method in {"GET", "HEAD"} else "write")


def ask(service: Service, key: str, method: str, path: str, **headers: str) -> httpx.Response:
    asked = with_ids(path, *map(new_id, KINDS))
    given = {"Authorization": f"Bearer {key}", **headers}
    return httpx.request(method, service.url + asked, headers=given, content=b"", trust_env=False)


def code(answer: httpx.Response) -> str:
    told = answer.json()
    return str(told.get("error", told)["code"])


@pytest.fixture(scope="module")
def held(service: Service) -> dict[str, str]:
    """One key for each scope."""
    return {scope: service.key(scope) for scope in ("read", "write", "admin", "operator")}


@pytest.mark.parametrize(("method", "path"), CLOSED)
def test_a_route_opens_to_the_scopes_that_hold_its_own_and_to_no_other(
    service: Service, held: dict[str, str], method: str, path: str
) -> None:
    scope = needed(method, path)
    for has, gives in GIVES.items():
        answer = ask(service, held[has], method, path)
        if scope == "any" or scope in gives:
            assert answer.status_code not in {401, 403}, has
        else:
            assert answer.status_code == 403, has
            assert method == "HEAD" or code(answer) == "forbidden"


@pytest.mark.long  # each route once more
@pytest.mark.parametrize(("method", "path"), CLOSED)
def test_an_operator_names_a_project_or_sees_the_operators_views_alone(
    service: Service, held: dict[str, str], client: httpx.Client, method: str, path: str
) -> None:
    alone = ask(service, held["operator"], method, path)
    if needed(method, path) in {"any", "operator"} or OVERSEEN.get(path):
        assert alone.status_code not in {400, 401, 403} or code(alone) not in {"project_needed", "forbidden"}
    else:
        assert alone.status_code == 400
        assert method == "HEAD" or code(alone) == "project_needed"
    project = client.get("/session").json()["project"]["id"]
    inside = ask(service, held["operator"], method, path, **{"Neftune-Project": project})
    assert inside.status_code not in {401, 403}
    assert method == "HEAD" or inside.status_code < 400 or code(inside) != "project_needed"


def test_an_operator_sees_in_a_project_what_its_own_keys_see(service: Service, client: httpx.Client) -> None:
    job = submit(client)
    project = client.get("/session").json()["project"]
    with service.client(service.key("operator")) as operator:
        for named in (project["id"], project["name"]):
            seen = operator.get("/jobs", headers={"Neftune-Project": named}).json()["items"]
            assert [one["id"] for one in seen] == [job["id"]]
        unknown = operator.get("/jobs", headers={"Neftune-Project": new_id("prj")})
        assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")
        entered = [one for one in client.get("/audit").json()["items"] if one["action"] == "operator.entered"]
    # Each request is no news, but that it was there is
    assert len(entered) == 1
    assert entered[0]["address"] == "127.0.0.1"


def test_an_operator_of_a_project_is_at_home_in_it(service: Service) -> None:
    with service.client(service.key("read", "write", "admin", "operator")) as both:
        assert both.get("/jobs").status_code == 200
        assert both.get("/keys").status_code == 200
        assert len(both.get("/projects").json()["items"]) > 1
        own = both.get("/session").json()["project"]["id"]
        alone = both.get("/usage", headers={"Neftune-Project": own}).json()["items"]
        assert [one["project"] for one in alone] == [own]


@pytest.mark.parametrize("named", ["another", "unknown", "name"])
def test_only_operators_choose_a_project(
    service: Service, client: httpx.Client, stranger: httpx.Client, named: str
) -> None:
    theirs = stranger.get("/session").json()["project"]
    header = {"another": theirs["id"], "unknown": new_id("prj"), "name": theirs["name"]}[named]
    answer = client.get("/jobs", headers={"Neftune-Project": header})
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    own = client.get("/session").json()["project"]["id"]
    assert client.get("/jobs", headers={"Neftune-Project": own}).status_code == 200


def test_two_projects_at_once_are_none(client: httpx.Client) -> None:
    own = client.get("/session").json()["project"]["id"]
    for named in ([own, own], [""], ["x" * 256]):
        headers = [("neftune-project", one) for one in named]
        answer = client.get("/jobs", headers=[*client.headers.items(), *headers])
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


def test_clients_of_openai_choose_a_project_in_their_own_way(service: Service, client: httpx.Client) -> None:
    job = submit(client)
    project = client.get("/session").json()["project"]["id"]
    with sdk(service.url, service.key("operator"), project=project) as ai:
        assert [one.id for one in ai.fine_tuning.jobs.list()] == [job["id"].replace("job_", "ftjob-")]
    # For all others these headers name something of OpenAI's, and say nothing here
    key = client.headers["authorization"].removeprefix("Bearer ")
    with sdk(service.url, key, project="proj_abc", organization="org-abc") as ai:
        assert len(list(ai.fine_tuning.jobs.list())) == 1


def test_the_header_of_openai_says_nothing_on_the_native_surface(
    service: Service, client: httpx.Client
) -> None:
    project = client.get("/session").json()["project"]["id"]
    with service.client(service.key("operator")) as operator:
        answer = operator.get("/jobs", headers={"OpenAI-Project": project})
    assert (answer.status_code, answer.json()["code"]) == (400, "project_needed")

"""What is sent again and what is not, and how a refusal reads."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from neftune_client import Client, ClientError, Refused, Unreachable, config
from neftune_client.errors import BadInput, NotConfigured
from tests.api.live_api import MODEL, Service, upload
from tests.client.scripted import Answer, as_json, scripted
from tests.faults.proxy import before

KEY = "nft_canary_canary_canary"


def test_a_service_that_is_away_is_asked_again_after_as_long_as_it_says() -> None:
    answers = iter([Answer(b"", 503, {"retry-after": "7"}), Answer(b"", 429, {"retry-after": "3"}),
                    as_json({"items": [{"id": "org/base"}], "next": None})])  # fmt: skip
    waited, told = [], []
    with (
        scripted(lambda _: next(answers)) as url,
        Client(url, KEY, pause=waited.append, tell=told.append) as client,
    ):
        assert client.models() == ["org/base"]
    assert waited == [7, 3]
    assert told[0].endswith("Trying again in 7 s.")


def test_a_wait_that_is_longer_than_patience_is_not_begun() -> None:
    with (
        scripted(lambda _: Answer(b"", 503, {"retry-after": "61"})) as url,
        Client(url, KEY, pause=lambda _: pytest.fail("it waited")) as client,
        pytest.raises(Refused, match="503"),
    ):
        client.models()


@pytest.mark.parametrize(
    ("status", "headers"),
    [(422, {}), (409, {"x-should-retry": "false"}), (503, {"x-should-retry": "false"}), (401, {})],
)
def test_what_stays_refused_is_not_sent_again(status: int, headers: dict[str, str]) -> None:
    asked = []

    def answer(request):
        asked.append(request)
        return Answer(b"", status, headers)

    with scripted(answer) as url, Client(url, KEY) as client, pytest.raises(Refused):
        client.submit({})
    assert len(asked) == 1


def test_a_job_is_submitted_under_one_key_however_often_it_is_sent() -> None:
    asked = []

    def answer(request):
        asked.append((request.headers["idempotency-key"], request.body))
        return as_json({"id": "job_1"}, 201) if len(asked) >= 3 else Answer(b"", 503)

    with scripted(answer) as url, Client(url, KEY, pause=lambda _: None) as client:
        assert client.submit({"alpha": 5})["id"] == "job_1"
        assert len(set(asked)) == 1
        client.submit({"alpha": 5})
    assert asked[3][0] != asked[0][0]


def test_an_answer_that_was_lost_makes_no_second_job(service: Service) -> None:
    key = service.key()
    with service.client(key) as plain, before(("127.0.0.1", service.port)) as proxy:
        spec = {"model": MODEL, "dataset": upload(plain)["id"]}
        proxy.cut_after(b"POST /jobs", b"}")
        with Client(f"http://127.0.0.1:{proxy.port}", key, pause=lambda _: None) as client:
            job = client.submit(spec)
        assert proxy.cuts == 1
        assert [one["id"] for one in plain.get("/jobs").json()["items"]] == [job["id"]]


def test_a_refusal_tells_code_place_and_request() -> None:
    problem = {
        "code": "invalid_spec",
        "detail": "1 field does not fit.",
        "instance": "req_7",
        "errors": [{"loc": ["training", "epochs"], "code": "too_small", "msg": "Must be above 0."}],
    }
    with (
        scripted(lambda _: as_json(problem, 422)) as url,
        Client(url, KEY) as client,
        pytest.raises(Refused) as caught,
    ):
        client.submit({})
    assert str(caught.value).splitlines() == [
        "invalid_spec: 1 field does not fit.",
        "  training.epochs: Must be above 0. (too_small)",
        "Every field is explained in docs/jobspec.md.",
        "(POST /jobs was answered with 422, request req_7)",
    ]


def test_a_page_of_somebody_in_between_is_told_too() -> None:
    with (
        scripted(lambda _: Answer(b"<html>bad gateway", 502)) as url,
        Client(url, KEY, patience_s=0) as client,
        pytest.raises(Refused, match="bad gateway"),
    ):
        client.models()
    with (
        scripted(lambda _: Answer(b"<html>welcome")) as url,
        Client(url, KEY) as client,
        pytest.raises(ClientError, match="something else"),
    ):
        client.models()


def test_no_error_and_no_representation_holds_the_key(tmp_path: Path) -> None:
    with scripted(lambda _: Answer(b"", 401)) as url, Client(url, KEY) as client:
        for does in (
            client.models,
            lambda: client.submit({}),
            lambda: client.download("job_1", "a", tmp_path / "a"),
        ):
            with pytest.raises(Refused) as caught:
                does()
            assert KEY not in str(caught.value) + repr(caught.value)
        assert KEY not in repr(client.wire.access)
    with Client(url, KEY, patience_s=0) as client, pytest.raises(Unreachable) as gone:
        client.models()
    assert KEY not in str(gone.value)


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(BadInput, match="must look like"):
        Client("127.0.0.1:8000", KEY)
    with pytest.raises(BadInput, match="characters"):
        Client("http://127.0.0.1:1", "naïve")


# Where the service is


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"XDG_CONFIG_HOME": str(tmp_path / "config"), "NEFTUNE_HOME": str(tmp_path / "home")}


def service_runs(environ: dict[str, str], pid: int) -> None:
    home = Path(environ["NEFTUNE_HOME"])
    (home / "secrets").mkdir(parents=True)
    (home / "secrets" / "api-key").write_text("nft_of_the_home")
    (home / "lock").write_text(json.dumps({"pid": pid, "url": "http://127.0.0.1:8123"}))


def test_what_the_environment_says_wins(environ: dict[str, str]) -> None:
    config.remember("http://kept", "kept", environ)
    found = config.find({**environ, "NEFTUNE_URL": "http://told/", "NEFTUNE_API_KEY": "told"})
    assert (found.url, found.key) == ("http://told", "told")


def test_a_login_is_kept_for_this_user_and_found(environ: dict[str, str]) -> None:
    path = config.remember("http://kept", "kept", environ)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (config.find(environ).url, config.find(environ).key) == ("http://kept", "kept")
    path.chmod(0o644)
    with pytest.raises(NotConfigured, match="chmod 600"):
        config.find(environ)


def test_a_kept_key_goes_to_no_other_address(environ: dict[str, str]) -> None:
    config.remember("http://kept", "kept", environ)
    with pytest.raises(NotConfigured, match="no key for http://other"):
        config.find({**environ, "NEFTUNE_URL": "http://other"})
    assert config.find({**environ, "NEFTUNE_URL": "http://kept"}).key == "kept"


def test_a_service_that_runs_here_is_found_without_settings(environ: dict[str, str]) -> None:
    service_runs(environ, os.getpid())
    found = config.find(environ)
    assert (found.url, found.key) == ("http://127.0.0.1:8123", "nft_of_the_home")


def test_a_service_that_has_ended_is_not(environ: dict[str, str]) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    service_runs(environ, ended.pid)
    with pytest.raises(NotConfigured, match="neftune up"):
        config.find(environ)

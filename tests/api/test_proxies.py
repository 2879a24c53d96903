"""Who stands behind a proxy is who the proxy says, and nobody else may say it."""

from pathlib import Path

import httpx

from tests.api.live_api import Service, make_settings, running

WRONG = {"Authorization": "Bearer wrong-key-wrong-key"}


def guesses(service: Service, count: int = 12, **headers: str) -> list[int]:
    """Guess keys, each time from another address, as far as the headers say."""
    return [
        httpx.get(
            f"{service.url}/jobs",
            headers={**WRONG, "X-Forwarded-For": f"203.0.113.{number}", **headers},
            trust_env=False,
        ).status_code
        for number in range(count)
    ]


def test_who_is_no_proxy_can_not_name_an_address(api_database: str, tmp_path: Path) -> None:
    with running(make_settings(api_database, tmp_path, wrong_keys_per_minute=3)) as strict:
        assert 429 in guesses(strict)


def test_the_address_that_a_proxy_names_is_counted(api_database: str, tmp_path: Path) -> None:
    settings = make_settings(api_database, tmp_path, wrong_keys_per_minute=3, trusted_proxies="127.0.0.0/8")
    with running(settings) as behind:
        assert set(guesses(behind)) == {401}
        one = "203.0.113.7"
        assert 429 in guesses(behind, **{"X-Forwarded-For": one})
        # What the client itself puts before it is passed over: the last one is the proxy's word.
        assert 429 in guesses(behind, **{"X-Forwarded-For": f"198.51.100.1, {one}"})
        assert set(guesses(behind, 1, **{"X-Forwarded-For": "198.51.100.1"})) == {401}


def test_what_came_by_tls_is_told_to_stay_there(api_database: str, tmp_path: Path) -> None:
    by_tls = {"X-Forwarded-Proto": "https"}
    with running(make_settings(api_database, tmp_path, trusted_proxies="127.0.0.1")) as behind:
        told = httpx.get(f"{behind.url}/healthz", headers=by_tls, trust_env=False).headers
        plain = httpx.get(f"{behind.url}/healthz", trust_env=False).headers
    with running(make_settings(api_database, tmp_path)) as bare:
        unheard = httpx.get(f"{bare.url}/healthz", headers=by_tls, trust_env=False).headers
    assert told["strict-transport-security"] == "max-age=31536000"
    assert "strict-transport-security" not in plain
    assert "strict-transport-security" not in unheard

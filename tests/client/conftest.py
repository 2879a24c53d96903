"""The api's own tests lend a running service; a terminal is what `neftune` writes to."""

import json
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import structlog

from neftune_client.cli.main import run
from tests.api.conftest import api_database, client, service
from tests.api.live_api import Service

__all__ = ["api_database", "client", "service"]


@dataclass(frozen=True)
class Said:
    """What a command wrote, and how it ended."""

    status: int
    out: str
    err: str

    @property
    def told(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


Neftune = Callable[..., Said]


@pytest.fixture(scope="session", autouse=True)
def quiet_api() -> Iterator[None]:
    """The api runs in this process too: what it logs must not come between the lines of a command."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    yield
    structlog.reset_defaults()


@pytest.fixture
def key(service: Service) -> str:
    return service.key()


@pytest.fixture
def neftune(
    service: Service,
    key: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Any,
) -> Neftune:
    """Run a command against the service, with a project of its own, in an empty folder."""
    monkeypatch.setenv("NEFTUNE_URL", service.url)
    monkeypatch.setenv("NEFTUNE_API_KEY", key)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)

    def ran(*words: object) -> Said:
        capfd.readouterr()
        status = run([str(word) for word in words])
        out, err = capfd.readouterr()
        assert key not in out + err
        assert "Traceback" not in err
        assert "\x1b" not in out + err
        return Said(status, out, err)

    return ran


def heed_ctrl_c() -> None:
    """Take the signal as in the foreground: what a shell starts in the background ignores it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)

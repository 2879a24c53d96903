"""The OpenAPI document is true of the service, and the service bears what the document does not allow."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.live_api import BRIEF, Service, make_settings, running, succeed, upload

_TOLD = {
    "NO_COLOR": "1",
    "SCHEMATHESIS_HOOKS": "tests.api.schemathesis_checks",
    "PYTHONPATH": str(Path(__file__).parents[2]),
}
CONFIG = Path(__file__).with_name("schemathesis.toml")
# Systematic values for each field are two thirds of all requests, and of the time.
BRIEFLY, WHOLLY = "examples,fuzzing,stateful", "examples,coverage,fuzzing,stateful"


@pytest.fixture(scope="module")
def described(api_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An api whose streams end by themselves, at once."""
    changes = {**BRIEF, "sse_seconds": 0.3}
    with running(make_settings(api_database, tmp_path_factory.mktemp("described"), **changes)) as found:
        yield found


@pytest.mark.parametrize("phases", [BRIEFLY, pytest.param(WHOLLY, marks=pytest.mark.long)])
def test_the_service_does_what_its_document_says(described: Service, tmp_path: Path, phases: str) -> None:
    # Given a project that has a dataset and a job with a result
    key = described.key()
    with described.client(key) as client:
        upload(client)
        succeed(described, client, adapter=(b"bytes", "application/x-tar"))

    # When every operation is asked with what the document allows, and with what it does not
    tool = [Path(sys.executable).with_name("schemathesis"), "--config-file", CONFIG]
    how = ["run", f"{described.url}/openapi.json", "--phases", phases, "--checks", "all"]
    asked = subprocess.run(
        [*tool, *how, "-H", f"Authorization: Bearer {key}"],
        capture_output=True, text=True, check=False, cwd=tmp_path, env={**os.environ, **_TOLD},
    )  # fmt: skip

    # Then each answer is one that the document promises
    told = "\n".join(line[:300] for line in asked.stdout.splitlines())
    assert asked.returncode == 0, told[-20_000:] + asked.stderr[-2000:]
    assert "No issues found" in told

"""A project whose jobs wait: who only asks for runs pays for none, and nothing ends under a story's eyes."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.standalone.instance import Instance


@contextmanager
def nothing_runs(service: Instance) -> Iterator[None]:
    """The project may run no job meanwhile: what is submitted waits."""
    with service.client() as client:
        project = client.get("/session").json()["project"]["id"]

        def allow(running: int | None) -> None:
            quotas = {"quotas": {"running_jobs": running}}
            client.patch(f"/projects/{project}", json=quotas).raise_for_status()

        allow(0)
        try:
            yield
        finally:
            allow(None)

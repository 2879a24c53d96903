"""Secrets in the table: each project's own, and opened for nobody else."""

import base64

import pytest
from sqlalchemy import Engine

from neftune_store.db import unit_of_work
from neftune_store.errors import SecretUnknown
from neftune_store.sealing import Sealer
from neftune_store.secrets import SecretLedger
from tests.factories import make_project

KEY = base64.b64encode(bytes([3]) * 32).decode()


def test_a_name_opens_what_its_own_project_has_put_there(engine: Engine) -> None:
    one, other, third = (make_project(engine).id for _ in range(3))
    with unit_of_work(engine) as session:
        secrets = SecretLedger(session, Sealer.of(KEY))
        for project in (one, other):
            secrets.put(project, "hub", f"of {project}")
        assert [secrets.open(project, "hub") for project in (one, other)] == [f"of {one}", f"of {other}"]
        with pytest.raises(SecretUnknown):
            secrets.open(third, "hub")

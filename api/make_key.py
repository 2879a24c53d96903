"""``python -m api.make_key``: a key made at the database, for operators who have none that would do.

Asks no key and no api: who may connect to the database may do everything anyway. Prints the key, once.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from neftune_store.audit import Actor, AuditLedger
from neftune_store.db import make_engine, unit_of_work
from neftune_store.keys import ALL_SCOPES, KeyLedger
from neftune_store.projects import DEFAULT_PROJECT, ProjectLedger

_BY_COMMAND = Actor(key_id="command", request_id="command", address="command")


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the key that was asked for."""
    parser = argparse.ArgumentParser(prog="python -m api.make_key", description=__doc__)
    parser.add_argument("--project", default=DEFAULT_PROJECT, help="its name; made if it is not there")
    parser.add_argument("--scope", action="append", choices=ALL_SCOPES, help="may be repeated; left out: all")
    parser.add_argument("--name", default="made by command", help="what lists of keys call it")
    asked = parser.parse_args(arguments)
    scopes = sorted(set(asked.scope or ALL_SCOPES))
    engine = make_engine(os.environ["DATABASE_URL"], pool_size=1, application_name="neftune-make-key")
    try:
        with unit_of_work(engine) as session:
            project = ProjectLedger(session).ensure(asked.project)
            key, plaintext = KeyLedger(session).make(project.id, asked.name, scopes)
            audit = AuditLedger(session)
            audit.note(_BY_COMMAND, project.id, "key.created", key.id, {"scopes": scopes})
    finally:
        engine.dispose()
    sys.stdout.write(plaintext + "\n")


if __name__ == "__main__":
    main()

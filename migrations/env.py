"""Runs migrations online, one migrator at a time.

A migration that waits for a lock holds up everybody behind it, so each gives up after a few seconds
(`lock_timeout` in every file), and here it is begun again, once those behind it have had their turn.
"""

import logging
import os
import time

from alembic import context
from sqlalchemy import Connection, create_engine, pool, text
from sqlalchemy.exc import DBAPIError

from neftune_store.models import Base
from neftune_store.settings import with_driver

# Any fixed number: several containers that start at once migrate one after the other.
LOCK = 0x4E46_5400
ATTEMPTS, PAUSE = 20, 1.0  # seconds: whoever holds a lock for longer than all of them needs looking at
LOCK_NOT_AVAILABLE = "55P03"

log = logging.getLogger("alembic.runtime.migration")


def run() -> None:
    url = context.config.attributes.get("url") or with_driver(os.environ["DATABASE_URL"])
    engine = create_engine(url, poolclass=pool.NullPool, connect_args={"application_name": "neftune-migrate"})
    for left in reversed(range(ATTEMPTS)):
        try:
            with engine.connect() as connection:
                upgrade(connection)
            break
        except DBAPIError as fault:
            if getattr(fault.orig, "sqlstate", None) != LOCK_NOT_AVAILABLE or not left:
                raise
            log.warning("a table is in use; once more in a moment")
            time.sleep(PAUSE)
    engine.dispose()


def upgrade(connection: Connection) -> None:
    connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": LOCK})
    connection.commit()
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        compare_type=True,
        compare_server_default=True,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()


run()

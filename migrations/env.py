"""Runs migrations online, one migrator at a time."""

import os

from alembic import context
from sqlalchemy import create_engine, pool, text

from neftune_store.models import Base
from neftune_store.settings import with_driver

# Any fixed number: several containers that start at once migrate one after the other.
LOCK = 0x4E46_5400


def run() -> None:
    url = context.config.attributes.get("url") or with_driver(os.environ["DATABASE_URL"])
    engine = create_engine(url, poolclass=pool.NullPool, connect_args={"application_name": "neftune-migrate"})
    with engine.connect() as connection:
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
    engine.dispose()


run()

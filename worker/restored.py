"""``python -m worker.restored``: after a database came back from a backup, before anything starts.

Makes the rows fit to run again, and reads back every object that they name. Ends with 1 when one of them
is missing or damaged: each is told by name, and so is what it means.
"""

import sys

import structlog
from sqlalchemy import Engine

from neftune_store.blobs import Blobs
from neftune_store.db import make_engine, migrate, unit_of_work
from neftune_store.errors import StoreError
from neftune_store.restored import Fault, faults, make_fit, named_objects
from neftune_store.settings import StoreSettings
from neftune_store.startup import configure_logs, settings_at_start

log = structlog.get_logger()


def restored(engine: Engine, blobs: Blobs) -> list[Fault]:
    """Do both steps, and say what was found."""
    with unit_of_work(engine) as session:
        fitted = make_fit(session)
    log.info("restore.fitted", settled=fitted.settled, raised=fitted.raised, spared=fitted.spared)
    with unit_of_work(engine) as session:
        named = list(named_objects(session))
    found = list(faults(named, blobs))
    for fault in found:
        log.warning("restore.object_unsound", what=fault.named.what, key=fault.named.key, why=fault.why)
    log.info("restore.checked", objects=len({one.key for one in named}), unsound=len(found))
    return found


def main() -> int:
    """Bring the schema up to date, do it, and tell by the exit status whether all is there."""
    told = "Make a restored database fit to run again, and look for what its rows name."
    settings = settings_at_start(StoreSettings, "worker.restored", told)
    configure_logs()
    migrate(settings.database_url)
    engine = make_engine(settings.database_url, pool_size=1, application_name="restored")
    try:
        return 1 if restored(engine, Blobs.open(settings)) else 0
    except StoreError as error:
        log.error("restore.refused", reason=str(error))
        return 1
    finally:
        engine.dispose()


if __name__ == "__main__":
    sys.exit(main())

"""``python -m worker.reseal``: seal all secrets, and those of webhooks, with the first key.

Run it with the new key before the old one in NEFTUNE_SECRET_KEY; when it has ended well, the old one may go.
"""

import sys

import structlog

from neftune_store import webhooks
from neftune_store.db import make_engine, unit_of_work
from neftune_store.errors import StoreError
from neftune_store.sealing import Sealer
from neftune_store.secrets import seal_anew
from neftune_store.settings import StoreSettings
from neftune_store.startup import configure_logs, settings_at_start

log = structlog.get_logger()


def main() -> int:
    """Do it in one transaction, and tell by the exit status whether all could be opened."""
    settings = settings_at_start(StoreSettings, "worker.reseal", "Seal all secrets with the first key.")
    configure_logs()
    engine = make_engine(settings.database_url, pool_size=1, application_name="reseal")
    try:
        with unit_of_work(engine) as session:
            sealer = Sealer.of(settings.secret_keys())
            count = seal_anew(session, sealer) + webhooks.seal_anew(session, sealer)
    except StoreError as error:
        log.error("secrets.not_resealed", reason=str(error))
        return 1
    finally:
        engine.dispose()
    log.info("secrets.resealed", count=count)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""``python -m api``: serve until told to stop."""

import logging

from api.main import create_app
from api.server import serving
from api.settings import ApiSettings
from neftune_store.startup import configure_logs, settings_at_start


def main() -> None:
    """Serve."""
    configure_logs(libraries=logging.WARNING)
    settings = settings_at_start(ApiSettings, "api", "Serve the REST API until told to stop.")
    serving(create_app(settings), settings).run()


if __name__ == "__main__":
    main()

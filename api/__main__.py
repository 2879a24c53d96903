"""``python -m api``: serve until told to stop."""

import logging
import sys

import structlog

from api.main import create_app
from api.server import serving
from api.settings import ApiSettings
from neftune_store.start import settings_at_start


def configure_logs() -> None:
    """Write facts as JSON lines to stderr; JSON escapes whatever a client put into a name."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.dict_tracebacks,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")


def main() -> None:
    """Serve."""
    configure_logs()
    settings = settings_at_start(ApiSettings, "api", "Serve the REST API until told to stop.")
    serving(create_app(settings), settings).run()


if __name__ == "__main__":
    main()

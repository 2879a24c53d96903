"""How a process of ours starts: settings from the environment, logs as JSON lines.

A wrong setting ends the start with a sentence that names it. What was given is not repeated: a URL may
hold a password.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from typing import TypeVar

import structlog
from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsError

Settings = TypeVar("Settings", bound=BaseSettings)

_WHERE = "Takes no arguments: settings are environment variables, listed in docs/settings.md."


def settings_at_start(
    kind: type[Settings], module: str, told: str, argv: Sequence[str] | None = None
) -> Settings:
    """Read the settings of ``python -m module``; ends the process when asked for help or told nonsense."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=told, epilog=_WHERE)
    parser.parse_args(argv)
    try:
        return kind()
    except ValidationError as error:
        raise SystemExit("\n".join(faults(error))) from None
    except SettingsError as error:  # text that is no JSON where JSON is wanted
        raise SystemExit(str(error)) from None


def faults(error: ValidationError) -> list[str]:
    """Say each wrong setting in a line, by the name it has in the environment."""
    said = []
    for fault in error.errors(include_url=False, include_input=False):
        name = ".".join(map(str, fault["loc"])).upper()
        reason = fault["msg"].removeprefix("Value error, ")
        said.append(f"{name}: {reason}" if name else reason)
    return said


def configure_logs(*, libraries: int = logging.INFO) -> None:
    """Write our facts and the libraries' lines alike: one JSON object a line on stderr, escaped.

    No local variables in tracebacks: they may hold rows or keys.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            *shared,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(ensure_ascii=True),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    foreign = logging.StreamHandler(sys.stderr)
    foreign.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(ensure_ascii=True),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [foreign]
    root.setLevel(libraries)

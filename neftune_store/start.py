"""What a process of ours is told when it starts: nothing on the command line, all in the environment.

A wrong setting ends the start with a sentence that names it. What was given is not repeated: a URL may
hold a password.
"""

import argparse
from collections.abc import Sequence
from typing import TypeVar

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

"""The console script: says what is missing where only the service's own packages are installed."""

import importlib.util
import sys

_NEEDED = ("httpx", "rich", "typer")


def main() -> None:
    """Start the command line."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        sys.exit(f"`neftune` needs {', '.join(missing)}: pip install 'neftune-service[client]'")
    from neftune_client.cli.main import main as run  # noqa: PLC0415 - only once it can be loaded

    run()

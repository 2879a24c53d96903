"""`python -m standalone up|demo|backup|restore`: the command line."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError
from rich.console import Console

from neftune_store.errors import StoreError
from neftune_store.startup import configure_logs, faults
from standalone.errors import StandaloneError
from standalone.home import Home
from standalone.service import Service
from standalone.settings import StandaloneSettings
from standalone.up import demo, up

INTERRUPTED = 130  # what shells expect after Ctrl-C


def main(argv: Sequence[str] | None = None) -> int:
    """Do what was asked; a refusal is one plain sentence and exit status 1."""
    arguments = _parser().parse_args(argv)
    console = Console()
    try:
        settings = _settings(arguments)
        if arguments.verb in _MOVES:
            return _move(arguments, settings, console)
        if arguments.verb == "up":
            return up(settings, console)
        return demo(settings, console, lambda service, home: _show(service, home, console))
    except (StandaloneError, StoreError) as error:
        _complain(str(error))
    except ValidationError as error:
        for sentence in faults(error):
            _complain(sentence)
    except KeyboardInterrupt:
        return INTERRUPTED
    return 1


def _move(arguments: argparse.Namespace, settings: StandaloneSettings, console: Console) -> int:
    from standalone.backup import backup, restore  # noqa: PLC0415 - `up` needs nothing of it

    configure_logs()
    return (backup if arguments.verb == "backup" else restore)(settings, arguments.folder, console)


def _show(service: Service, home: Home, console: Console) -> int:
    from standalone.demo import run_demo  # noqa: PLC0415 - `up` needs nothing of it

    return run_demo(service.url, service.api_key, home.folder("demo"), console, service.stopping)


def _settings(arguments: argparse.Namespace) -> StandaloneSettings:
    told = vars(arguments)
    given = {name: value for name in ("host", "port") if (value := told.get(name)) is not None}
    return StandaloneSettings(**given)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m standalone", description="The whole fine-tuning service on this machine."
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb, told in _VERBS.items():
        each = verbs.add_parser(verb, help=told, description=told)
        each.add_argument("--host", help="address to listen on (HOST; 127.0.0.1)")
        each.add_argument("--port", type=int, help="port to listen on (PORT; 8000, for demo a free one)")
    for verb, told in _MOVES.items():
        each = verbs.add_parser(verb, help=told, description=told)
        each.add_argument("folder", type=Path, help="folder of the backup")
    return parser


_VERBS = {
    "up": "start the service and stay; Ctrl-C stops everything",
    "demo": "start it, run the main job from dataset to adapter, stop",
}
_MOVES = {
    "backup": "write database and objects of NEFTUNE_HOME to a folder; the service may run",
    "restore": "fill an empty NEFTUNE_HOME from such a folder, fit to be started",
}


def _complain(sentence: str) -> None:
    Console(stderr=True).print(sentence, markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())

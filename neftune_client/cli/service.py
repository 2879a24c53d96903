"""The service itself: started here, signed in to, asked for its models."""

import importlib.util
import os
import sys
from typing import Annotated
from urllib.parse import urlsplit

import typer

from neftune_client import config
from neftune_client.cli import options, terminal
from neftune_client.errors import BadInput, NotConfigured


def up(
    host: Annotated[str | None, typer.Option(help="Address to listen on. (127.0.0.1)")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on. (8000)")] = None,
) -> None:
    """Start a whole service on this machine and stay; Ctrl-C stops everything.

    Other terminals find it by themselves.
    """
    if importlib.util.find_spec("standalone") is None:
        raise NotConfigured(
            "The service is not installed here, only its command line. Start it from a checkout with "
            "`make up`, or sign in to one that runs elsewhere: neftune login --url https://…"
        )
    command = [sys.executable, "-m", "standalone", "up"]
    command += ["--host", host] if host else []
    command += ["--port", str(port)] if port else []
    os.execv(sys.executable, command)  # noqa: S606 - our own module, no shell; Ctrl-C is then its own


def login(
    url: Annotated[
        str | None, typer.Option("--url", help="Where the service is. (http://127.0.0.1:8000)")
    ] = None,
) -> None:
    """Sign in to a service: the key is asked for, tried and kept (mode 0600).

    From a pipe the key is read as one line: `neftune login --url https://… < key.txt`
    """
    from neftune_client.client import Client  # noqa: PLC0415 - HTTP, for whoever asks something

    url = (url or os.environ.get("NEFTUNE_URL") or "http://127.0.0.1:8000").rstrip("/")
    key = _typed(url)
    with Client(url, key, patience_s=5) as client:
        who = client.get("/session")
    path = config.remember(url, key)
    may = ", ".join(who["scopes"])
    terminal.note(f"Signed in to {url}: project {who['project']['name']}, may {may}. Kept in {path}.")
    if urlsplit(url).scheme == "http" and not client.wire.here:
        terminal.note("This address is not encrypted: whoever is on the way can read the key.", "yellow")
    for name in ("NEFTUNE_URL", "NEFTUNE_API_KEY"):
        if os.environ.get(name):
            terminal.note(f"{name} is set and wins over this login.", "yellow")


def logout() -> None:
    """Forget the login that is kept here."""
    path = config.file_of()
    path.unlink(missing_ok=True)
    terminal.note(f"{path} is gone. The key itself still works; revoke it at the service.")


def models(json: options.Json = False) -> None:
    """List the base models that jobs may name."""
    with terminal.connected() as client:
        found = client.models()
    if json:
        terminal.document(found)
        return
    for one in found:
        terminal.say(one)


def _typed(url: str) -> str:
    if sys.stdin.isatty():
        key = typer.prompt(f"Key for {url}", hide_input=True, err=True)
    else:
        key = sys.stdin.readline()
    if not (key := key.strip()):
        raise BadInput("There is no key in what was given.")
    return str(key)

"""Keys of the project: listed, made and revoked. A key is written once, alone, to standard output."""

import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated

import typer

from neftune_client.cli import options, terminal
from neftune_client.cli.ages import age
from neftune_client.errors import BadInput
from neftune_client.shapes import Key

app = typer.Typer(no_args_is_help=False, rich_markup_mode="rich")


class Scope(StrEnum):
    """What a key may do."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"
    OPERATOR = "operator"


_UNITS = {"h": "hours", "d": "days", "w": "weeks"}


@app.callback(invoke_without_command=True)
def keys(context: typer.Context, json: options.Json = False) -> None:
    """List the project's keys, newest first; or make and revoke them. It takes a key that may admin."""
    if context.invoked_subcommand is not None:
        return
    with terminal.connected() as client:
        found = list(client.keys())
    if json:
        terminal.document(found)
        return
    columns = ("key", "begins", "may", "name", "state", "last used", "age")
    terminal.table(columns, [_row(one) for one in found])


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it.")],
    scope: Annotated[
        list[Scope] | None,
        typer.Option("--scope", "-s", help="What it may do; may be given again. (write)"),
    ] = None,
    expires: Annotated[
        str | None, typer.Option("--expires", "-e", help="In 12h, 30d or 8w, or a time in RFC 3339. (never)")
    ] = None,
    json: options.Json = False,
) -> None:
    """Make a key. It is shown this once: `neftune keys create nightly -s write -e 30d > key.txt`

    write may read too, and admin may write.
    """
    ends = None if expires is None else _at(expires, datetime.now(UTC))
    with terminal.connected() as client:
        made = client.make_key(name, scope or [Scope.WRITE], ends)
    if json:
        terminal.document(made)
        return
    until = f" until {made['expires_at']}" if made["expires_at"] else ""
    terminal.note(f"{made['id']} may {', '.join(made['scopes'])}{until}. It is not shown again:")
    terminal.say(made["key"])


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(metavar="KEY", help="A key's id, as the list shows it.")],
    even_last_admin: Annotated[
        bool, typer.Option("--even-last-admin", help="Also when nobody is left who could make keys.")
    ] = False,
) -> None:
    """Close a key for ever, from the next request on."""
    if not key.startswith("key_"):  # the key itself has no place in an address, nor in a log
        raise BadInput("Name the key by its id, key_…, as `neftune keys` lists it.")
    with terminal.connected() as client:
        client.revoke_key(key, even_last_admin=even_last_admin)
    terminal.note(f"{key} opens nothing any more.")


def _row(key: Key) -> list[object]:
    used, ends = key["last_used_at"], key["expires_at"]
    if key["revoked_at"]:
        state = "revoked"
    elif ends and datetime.fromisoformat(ends) <= datetime.now(UTC):
        state = "over"
    else:
        state = f"until {ends}" if ends else "good"
    return [
        key["id"],
        key["prefix"],
        ", ".join(key["scopes"]),
        key["name"],
        state,
        age(used) if used else "never",
        age(key["created_at"]),
    ]


def _at(told: str, now: datetime) -> str:
    """Read when a key shall end: from now on, or at a time, which the service checks."""
    if (length := re.fullmatch(r"([1-9][0-9]{0,4})([hdw])", told, re.ASCII)) is None:
        return told
    return (now + timedelta(**{_UNITS[length[2]]: int(length[1])})).isoformat()

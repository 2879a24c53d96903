"""What is written, and where: results to standard output, everything else to standard error.

On a terminal there are tables and colours; into a pipe goes one line a row, fields by tabs, nothing cut off.
Text from elsewhere is written without its control characters: a job's name or a log must not steer a
terminal.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a hundredth of a second each, for whoever only asks for help
    from rich.console import Console

    from neftune_client.client import Client


def console(*, stderr: bool = False) -> "Console":
    """Open what is written to, as it is now."""
    from rich.console import Console  # noqa: PLC0415 - see above

    return Console(stderr=stderr, highlight=False)


def plain(text: object) -> str:
    """Give text that only says something: every control character becomes a replacement character."""
    return "".join(sign if sign.isprintable() or sign in "\n\t" else "\ufffd" for sign in str(text))


def say(text: object = "", style: str | None = None) -> None:
    """Write a line of the result."""
    console().print(plain(text), style=style, markup=False, soft_wrap=True)


def piece(text: object) -> None:
    """Write a part of a line, at once."""
    sys.stdout.write(plain(text))
    sys.stdout.flush()


def note(text: object, style: str | None = None) -> None:
    """Write a line beside the result."""
    console(stderr=True).print(plain(text), style=style, markup=False, soft_wrap=True)


def document(told: object) -> None:
    """Write a result for a program, on one line."""
    sys.stdout.write(as_line(told))
    sys.stdout.flush()


def as_line(told: object) -> str:
    """Give a document as one line of JSON, ASCII only."""
    return json.dumps(told) + "\n"


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write rows."""
    shown = [[plain("" if cell is None else cell).replace("\t", " ") for cell in row] for row in rows]
    out = console()
    if not out.is_terminal:
        for row in shown:
            sys.stdout.write("\t".join(row) + "\n")
        return
    from rich.table import Table  # noqa: PLC0415 - see above
    from rich.text import Text  # noqa: PLC0415

    drawn = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        drawn.add_column(column, overflow="fold", no_wrap=column in {"job", "dataset"})
    for row in shown:
        drawn.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
    out.print(drawn)


def fields(pairs: Mapping[str, object]) -> None:
    """Write what has a value, one a line."""
    width = max(map(len, pairs), default=0)
    for name, value in pairs.items():
        if value not in (None, "", [], {}):
            say(f"{name:<{width}}  {value}")


@contextmanager
def connected() -> Iterator["Client"]:
    """Open the service that is known here."""
    from neftune_client.client import Client  # noqa: PLC0415 - HTTP, for whoever asks something

    with Client(tell=lambda text: note(text, "yellow")) as client:
        yield client


@contextmanager
def progress(what: str) -> Iterator[Any]:
    """Show how many bytes have gone; only where somebody can see it move. Gives who is told so."""
    out = console(stderr=True)
    if not out.is_terminal:
        yield lambda _done, _all: None
        return
    from rich import progress as bars  # noqa: PLC0415 - see above

    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.DownloadColumn(),
        bars.TransferSpeedColumn(),
        bars.TimeRemainingColumn(),
    )
    with bars.Progress(*columns, console=out, transient=True) as shown:
        task = shown.add_task(plain(what).replace("[", "\\["), total=None)
        yield lambda done, whole: shown.update(task, completed=done, total=whole)


_STYLES = {"succeeded": "green", "failed": "red", "running": "cyan", "paused": "yellow", "cancelled": "dim"}

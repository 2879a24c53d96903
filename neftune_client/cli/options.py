"""Options that several commands share, each said once."""

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Write the service's own documents, for programs.")]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="A job's id, or `last` for the newest one.")]
Data = Annotated[
    str | None,
    typer.Argument(metavar="DATA", help="A file of rows, or the id of a dataset that is there already."),
]
Model = Annotated[
    str | None, typer.Option("--model", "-m", help="Base model; left out: the only one at hand.")
]
Name = Annotated[str | None, typer.Option("--name", "-n", help="What to call it.")]
Tags = Annotated[list[str] | None, typer.Option("--tag", "-t", help="A label; may be given again.")]
SpecFile = Annotated[
    Path | None,
    typer.Option("--spec", "-f", help="A spec as JSON or YAML; the other options win over it."),
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="FIELD=VALUE", help="Any field, as in training.epochs=1."),
]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Stay and follow it to its end.")]

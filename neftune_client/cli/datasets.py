"""Datasets: listed, sent, looked at and deleted."""

from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from neftune_client.cli import asking, options, terminal
from neftune_client.cli.ages import age

app = typer.Typer(no_args_is_help=False, rich_markup_mode="rich")
DatasetId = Annotated[str, typer.Argument(metavar="DATASET", help="A dataset's id.")]


@app.callback(invoke_without_command=True)
def datasets(context: typer.Context, limit: Annotated[int, typer.Option("--limit", "-l", min=1)] = 20,
             json: options.Json = False) -> None:  # fmt: skip
    """List datasets, newest first; or upload, preview and delete them."""
    if context.invoked_subcommand is not None:
        return
    with terminal.connected() as client:
        found = list(islice(client.datasets(limit=min(limit, 200)), limit))
    if json:
        terminal.document(found)
        return
    columns = ("dataset", "rows", "format", "bytes", "name", "age")
    rows = [(d["id"], d["rows"], d["format"], d["bytes"], d["name"], age(d["created_at"])) for d in found]
    terminal.table(columns, rows)


@app.command()
def upload(
    file: Annotated[Path, typer.Argument(help="JSONL, a JSON array, CSV or Parquet.")],
    name: options.Name = None,
    json: options.Json = False,
) -> None:
    """Check a file of rows and keep it; faults come by line, and then nothing is kept."""
    with terminal.connected() as client:
        dataset = asking.send(client, file, name)
    if json:
        terminal.document(dataset)
    else:
        terminal.say(dataset["id"])


@app.command()
def preview(  # noqa: PLR0913, PLR0917 - each option, by name
    dataset: DatasetId,
    rows: Annotated[int, typer.Option("--rows", "-r", min=1, max=100)] = 3,
    model: options.Model = None,
    template: Annotated[str | None, typer.Option(help="alpaca, vicuna, chat, plain or auto.")] = None,
    max_length: Annotated[int | None, typer.Option(help="Tokens kept of an example. (512)")] = None,
    json: options.Json = False,
) -> None:
    """Show rows as the model will see them; what is trained on stands in «»."""
    with terminal.connected() as client:
        told = client.preview(dataset, rows=rows, model=model, template=template, max_length=max_length)
    if json:
        terminal.document(told)
        return
    terminal.note(f"template {told['template']}, model {told['model']}")
    for row in told["rows"]:
        if row["fault"]:
            terminal.say(f"row {row['row']}: {row['fault']['code']}: {row['fault']['detail']}", "red")
        for example in row["examples"]:
            cut = ", cut" if example["truncated"] else ""
            terminal.say(
                f"row {row['row']}: {example['tokens']} tokens{cut}, {example['trained_tokens']} trained",
                "dim",
            )
            spans = (f"«{one['text']}»" if one["trained"] else one["text"] for one in example["spans"])
            terminal.say("".join(spans))


@app.command()
def delete(dataset: DatasetId) -> None:
    """Forget a dataset that no job needs any more."""
    with terminal.connected() as client:
        client.delete_dataset(dataset)
    terminal.note(f"{dataset} is gone.")

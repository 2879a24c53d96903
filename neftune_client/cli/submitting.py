"""`neftune submit`: rows and a few words in, a job out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neftune_client.cli import asking, following, options, terminal
from neftune_client.cli.asking import Asked

if TYPE_CHECKING:  # HTTP is loaded by whoever asks something
    from neftune_client.client import Client


def submit(  # noqa: PLR0913, PLR0917 - each option, by name
    data: options.Data = None,
    model: options.Model = None,
    alpha: Annotated[
        float | None, typer.Option("--alpha", "-a", help="NEFTune strength; 0 is plain fine-tuning. (5)")
    ] = None,
    name: options.Name = None,
    tag: options.Tags = None,
    spec_file: options.SpecFile = None,
    sets: options.Sets = None,
    watch: options.Watch = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check it and tell what it would take; keep nothing.")
    ] = False,
    key: Annotated[
        str | None, typer.Option("--key", help="Idempotency key: the same one gives the same job.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Upload rows and submit a job.

    The exit status with --watch: 0 succeeded, 3 failed, 4 cancelled, 130 you left and it goes on.

    Examples: `neftune submit rows.jsonl --alpha 5 --watch`,
    `neftune submit ds_… --spec job.yaml --set training.epochs=1`
    """
    asked = Asked(data, model, name, tag or (), spec_file, sets or ()).spec()
    if alpha is not None:
        asked["alpha"] = alpha
    with terminal.connected() as client:
        asked = asking.with_model(client, asked)
        if dry_run:
            _rehearse(client, data, asked, as_json=json)
            return
        with asking.with_dataset(client, data, asked) as spec:
            job = client.submit(spec, key=key)
        if watch and json:
            terminal.document({"event": "submitted", "data": job})
        elif json:
            terminal.document(job)
        else:
            terminal.say(f"job      {job['id']}")
        if watch:
            following.to_its_end(client, job, as_json=json)
        elif not json:
            terminal.note(f"Follow it with  neftune watch {job['id']}")


def _rehearse(client: "Client", data: str | None, asked: dict[str, Any], *, as_json: bool) -> None:
    """Ask what a job would take; rows that were uploaded for it go again."""
    passing = asking.send(client, Path(data)) if data and asking.is_file(data) else None
    try:
        spec = (
            {**asked, "dataset": passing["id"]}
            if passing
            else {**asked, **({"dataset": data} if data else {})}
        )
        told = client.dry_run(spec)
    finally:
        if passing:
            client.delete_dataset(passing["id"])
    if as_json:
        terminal.document(told)
        return
    plan, estimates = told["plan"], told["estimates"]
    tokens, needed, seconds = estimates["tokens"], estimates["memory"], estimates["time"]
    shown: dict[str, object] = {
        "steps": f"{plan['total_steps']}, {plan['steps_per_epoch']} an epoch",
        "examples": plan["examples"],
        "tokens": f"{tokens['total']:,}" if tokens else None,
        "time": f"about {seconds['seconds']:.0f} s at {seconds['tokens_per_s']:,.0f} tokens/s"
        if seconds
        else None,
    }
    for device in (needed or {}).get("devices", ()):
        shown[f"memory on {device['device']}"] = f"about {device['total'] / 2**30:.1f} GiB"
    terminal.fields(shown)
    for line in (*told["warnings"], *estimates["unknown"]):
        terminal.note(line, "yellow")
    terminal.note("Nothing was kept.")

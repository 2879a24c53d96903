"""`neftune sweep`: the same job at several strengths of noise, held against its alpha-0 control.

The service makes the jobs, pairs them by seed and judges them; here they are asked for, followed and shown.
"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from neftune_client.cli import asking, following, options, terminal
from neftune_client.cli.asking import Asked
from neftune_client.errors import BadInput, ClientError

if TYPE_CHECKING:  # HTTP is loaded by whoever asks something
    from neftune_client.client import Answer, Client

AT_ONCE = 20  # jobs that one stream of the service follows
SweepId = Annotated[str, typer.Argument(metavar="SERIES", help="A series' id, or `last` for the newest one.")]


def sweep(  # noqa: PLR0913, PLR0917 - each option, by name
    data: options.Data = None,
    alpha: Annotated[
        list[float] | None,
        typer.Option("--alpha", "-a", help="A strength; again for more. 0 is always added. (5, 10, 15)"),
    ] = None,
    seed: Annotated[
        list[int] | None,
        typer.Option("--seed", help="A seed; again for more. Fewer than three tell little. (42, 43, 44)"),
    ] = None,
    model: options.Model = None,
    name: options.Name = None,
    tag: options.Tags = None,
    spec_file: options.SpecFile = None,
    sets: options.Sets = None,
    halving: Annotated[
        bool, typer.Option("--halving", help="Stop the worse half of the alphas at 1/4 and 1/2 of the steps.")
    ] = False,
    watch: options.Watch = False,
    key: Annotated[
        str | None, typer.Option("--key", help="Idempotency key: the same one gives the same series.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Submit one job for each alpha and seed, with an alpha-0 control among them, and have them judged.

    The exit status with --watch: 0 all did what they were to do, 3 some failed, 4 cancelled. Example:
    `neftune sweep rows.jsonl --alpha 5 --alpha 10 --seed 1 --seed 2 --seed 3 --watch`
    """
    asked = Asked(data, model, name, tag or (), spec_file, sets or ()).spec()
    varied: dict[str, Any] = {}
    if alpha:
        varied["alpha"] = list(dict.fromkeys(alpha))
    if seed:
        varied["seed"] = list(dict.fromkeys(seed))
    if halving:
        varied["strategy"] = "halving"
    with terminal.connected() as client:
        asked = asking.with_model(client, asked)
        with asking.with_dataset(client, data, asked) as spec:
            made = client.submit_sweep({"job": _without_what_varies(spec), **varied}, key=key)
        if watch:
            _to_its_end(client, made, as_json=json)
        elif json:
            terminal.document(made)
        else:
            terminal.say(f"series   {made['id']}")
            terminal.note(f"What it comes to:  neftune verdict {made['id']}")


def sweeps(json: options.Json = False) -> None:
    """List the series, newest first."""
    with terminal.connected() as client:
        found = list(client.sweeps())
    if json:
        terminal.document({"items": found})
        return
    columns = ("series", "status", "alpha", "seeds", "runs", "name")
    rows = [
        (one["id"], one["status"], _listed(one["alpha"]), len(one["seed"]), _runs(one), one["name"] or "")
        for one in found
    ]
    terminal.table(columns, rows)


def verdict(sweep: SweepId = "last", json: options.Json = False) -> None:
    """Tell what a series has come to: its losses, and which alpha to take, if that can be told."""
    with terminal.connected() as client:
        found = client.sweep(_identified(client, sweep))
    if json:
        terminal.document(found)
    else:
        _shown(found)


def _without_what_varies(spec: dict[str, Any]) -> dict[str, Any]:
    """Leave alpha and seed out of a spec that was written for one job: the series has its own."""
    training = {name: value for name, value in (spec.get("training") or {}).items() if name != "seed"}
    plain = {name: value for name, value in spec.items() if name not in {"alpha", "training"}}
    return {**plain, "training": training} if training else plain


def _identified(client: "Client", sweep: str) -> str:
    if sweep != "last":
        return sweep
    newest = next(client.sweeps(limit=1), None)
    if newest is None:
        raise BadInput("There is no series yet.")
    return str(newest["id"])


def _to_its_end(client: "Client", made: "Answer", *, as_json: bool) -> None:
    """Follow all of its jobs, then show what they have come to; Ctrl-C leaves them running."""
    from neftune_client.cli.screen import watch_several  # noqa: PLC0415 - draws, for whoever watches

    if as_json:
        terminal.document({"event": "submitted", "data": made})
    try:
        lines = client.sweep(made["id"])["results"]
        for first in range(0, len(lines), AT_ONCE):
            some = {
                one["job"]: f"alpha {one['alpha']:g} seed {one['seed']}"
                for one in lines[first : first + AT_ONCE]
            }
            messages = client.follow(*some)
            if as_json:
                following.documented(messages)
            else:
                watch_several(messages, some, terminal.console())
    except (KeyboardInterrupt, ClientError) as error:
        terminal.note(f"\nThe series goes on without you. Come back with  neftune verdict {made['id']}")
        if isinstance(error, ClientError):
            raise
        raise typer.Exit(following.INTERRUPTED) from None
    ended = client.sweep(made["id"])
    if as_json:
        terminal.document({"event": "judged", "data": ended})
    else:
        _shown(ended)
    raise typer.Exit(following.OUTCOMES.get(ended["status"], 0))


def _shown(found: "Answer") -> None:
    """Write a line an alpha, and what follows from them."""
    by_alpha = {line["alpha"]: line for line in found["verdict"]["alphas"]}
    rows = [_row(found, alpha, by_alpha.get(alpha)) for alpha in found["alpha"]]
    terminal.table(("alpha", "done", "held-out loss", "to the control", "95 %", "better in"), rows)
    cost = found["cost"]
    saved = f", {cost['saved_runs']:g} saved" if cost["saved_runs"] else ""
    terminal.note(f"It took {cost['runs']:g} of {cost['grid_runs']:g} runs{saved}.")
    said = found["verdict"]
    if said["recommended_alpha"] is not None:
        low, high = said["interval"]
        terminal.say(f"take alpha {said['recommended_alpha']:g}: held-out loss {low:+.4f} to {high:+.4f}")
    else:
        terminal.say(f"{said['outcome'].replace('_', ' ')}: {' '.join(said['reasons'])}")
        terminal.note(said["why"], "yellow")
    for line in found["results"]:
        if line["status"] == "failed":
            terminal.note(f"{line['job']} failed: see  neftune show {line['job']}", "red")


def _row(found: "Answer", alpha: float, line: Any) -> list[Any]:
    mine = [one for one in found["results"] if one["alpha"] == alpha]
    losses = [
        one["eval_loss"] for one in mine if one["status"] == "succeeded" and one["eval_loss"] is not None
    ]
    stopped = sum(one["cancel_reason"] == "halving" for one in mine)
    done = f"{sum(one['status'] == 'succeeded' for one in mine)}/{len(mine)}"
    difference = (line or {}).get("to_last")
    told: list[Any] = ["the control", None, None] if alpha == 0 else [None, None, None]
    if difference:
        low, high = difference["interval"] or (None, None)
        told = [
            f"{difference['mean']:+.4f}",
            None if low is None else f"{low:+.4f} to {high:+.4f}",
            f"{difference['better']} of {difference['pairs']}",
        ]
    return [
        f"{alpha:g}",
        f"{done}, {stopped} stopped" if stopped else done,
        f"{sum(losses) / len(losses):.4f}" if losses else None,
        *told,
    ]


def _listed(values: list[float]) -> str:
    return " ".join(f"{value:g}" for value in values)


def _runs(found: "Answer") -> str:
    return f"{found['cost']['runs']:g}/{found['cost']['grid_runs']:g}"

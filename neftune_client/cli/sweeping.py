"""`neftune sweep`: the same job at several strengths of noise, held against its alpha-0 control.

One job for each alpha and seed, with a label in common. Jobs of one seed see the same rows in the same order
and begin with the same adapter, so they are compared in pairs. A sweep that breaks off in the middle is gone
on with by its label: each of its jobs has a key of its own, so none is made twice.
"""

import secrets
from collections.abc import Sequence
from dataclasses import asdict
from itertools import product
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neftune_client.cli import asking, following, options, terminal
from neftune_client.cli.asking import Asked
from neftune_client.comparison import Line, Point, compare
from neftune_client.errors import BadInput, ClientError
from neftune_client.shapes import Job

if TYPE_CHECKING:  # HTTP is loaded by whoever asks something
    from neftune_client.client import Client

AT_ONCE = 20  # jobs that one stream of the service follows
MOST = 100


def sweep(  # noqa: PLR0913, PLR0917 - each option, by name
    data: options.Data = None,
    alpha: Annotated[
        list[float] | None,
        typer.Option("--alpha", "-a", help="A strength; again for more. 0 is always added. (5)"),
    ] = None,
    seed: Annotated[
        list[int] | None,
        typer.Option("--seed", help="A seed; again for more. Three tell more than one. (42)"),
    ] = None,
    model: options.Model = None,
    name: options.Name = None,
    tag: Annotated[
        str | None, typer.Option("--tag", "-t", help="The sweep's label; an old one goes on with that sweep.")
    ] = None,
    spec_file: options.SpecFile = None,
    sets: options.Sets = None,
    watch: options.Watch = False,
    json: options.Json = False,
) -> None:
    """Submit one job for each alpha and seed, with an alpha-0 control among them, and compare.

    With --watch the exit status is 0 when all succeeded, else 3. Example:
    `neftune sweep rows.jsonl --alpha 5 --alpha 10 --seed 1 --seed 2 --seed 3 --watch`
    """
    label = tag or f"sweep-{secrets.token_hex(4)}"
    asked = Asked(data, model, name, (label,), spec_file, sets or ()).spec()
    points = _points(alpha or [5.0], seed or [42])
    with terminal.connected() as client:
        asked = asking.with_model(client, asked)
        with asking.with_dataset(client, data, asked) as spec:
            jobs = _submitted(client, spec, points, label)
        if watch:
            _to_their_end(client, jobs, label, as_json=json)
        elif json:
            terminal.document({"tag": label, "jobs": jobs})
        else:
            terminal.table(("job", "alpha", "seed"), [(j["id"], _alpha(j), _seed(j)) for j in jobs])
            terminal.note(f"All of them:  neftune jobs --tag {label}")


def _points(alphas: Sequence[float], seeds: Sequence[int]) -> list[tuple[int, float]]:
    """Pair every seed with every strength, the control first; what comes twice is asked once."""
    strengths = sorted({0.0, *alphas})
    points = list(product(dict.fromkeys(seeds), strengths))
    if len(points) > MOST:
        raise BadInput(f"{len(points)} jobs are more than a sweep makes at once ({MOST}).")
    return points


def _submitted(
    client: "Client", spec: dict[str, Any], points: Sequence[tuple[int, float]], label: str
) -> list[Job]:
    jobs: list[Job] = []
    for seed, alpha in points:
        training = {**(spec.get("training") or {}), "seed": seed}
        try:
            # The dataset is in the key: with other rows it is another sweep.
            key = f"{label}-{spec['dataset']}-a{alpha:g}-s{seed}"
            jobs.append(client.submit({**spec, "alpha": alpha, "training": training}, key=key))
        except ClientError:
            if jobs:
                terminal.note(
                    f"{len(jobs)} of {len(points)} jobs are submitted. Go on with the same command, "
                    f"{spec['dataset']} for the rows and --tag {label}."
                )
            raise
    return jobs


def _to_their_end(client: "Client", jobs: list[Job], label: str, *, as_json: bool) -> None:
    """Follow all of them, then compare; Ctrl-C leaves them running."""
    from neftune_client.cli.screen import watch_several  # noqa: PLC0415 - draws, for whoever watches

    try:
        for first in range(0, len(jobs), AT_ONCE):
            some = {
                job["id"]: f"alpha {_alpha(job):g} seed {_seed(job)}" for job in jobs[first : first + AT_ONCE]
            }
            messages = client.follow(*some)
            if as_json:
                following.documented(messages)
            else:
                watch_several(messages, some, terminal.console())
    except (KeyboardInterrupt, ClientError) as error:
        terminal.note(f"\nThe jobs go on without you. See them with  neftune jobs --tag {label}")
        if isinstance(error, ClientError):
            raise
        raise typer.Exit(following.INTERRUPTED) from None
    ended = [client.job(job["id"]) for job in jobs]
    lines = compare(Point(_alpha(job), _seed(job), job["status"], _loss(job)) for job in ended)
    if as_json:
        terminal.document({"event": "compared", "data": [asdict(line) for line in lines]})
    else:
        _table(lines)
    failed = [job for job in ended if job["status"] != "succeeded"]
    for job in failed:
        terminal.note(f"{job['id']} {job['status']}: {' '.join(following.why(job['error']))}", "red")
    raise typer.Exit(3 if failed else 0)


def _table(lines: list[Line]) -> None:
    columns = ("alpha", "jobs", "held-out loss", "better than alpha 0 by", "in pairs")
    terminal.table(columns, [_row(line) for line in lines])
    if all(line.pairs < 3 for line in lines):
        terminal.note("With fewer than three seeds such a difference may be chance: add --seed.", "yellow")


def _row(line: Line) -> list[Any]:
    gain = None
    if line.gain is not None:
        gain = f"{line.gain:+.4f}" + (f" ± {line.error:.4f}" if line.error is not None else "")
    return [
        f"{line.alpha:g}",
        f"{line.done}/{line.seeds}",
        None if line.loss is None else f"{line.loss:.4f}",
        "the control" if line.alpha == 0 else gain,
        f"{line.better} of {line.pairs}" if line.pairs else None,
    ]


def _alpha(job: Job) -> float:
    return float(job["spec"]["alpha"])


def _seed(job: Job) -> int:
    return int(job["spec"]["training"]["seed"])


def _loss(job: Job) -> float | None:
    loss = job["metrics"].get("eval_loss") if job["status"] == "succeeded" else None
    return None if loss is None else float(loss)

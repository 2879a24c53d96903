"""Jobs: listed, looked at, followed, and told what shall become of them."""

from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from neftune_client.cli import following, options, spec_text, terminal
from neftune_client.cli.ages import age
from neftune_client.errors import BadInput
from neftune_client.shapes import Job

if TYPE_CHECKING:  # HTTP is loaded by whoever asks something
    from neftune_client.client import Client

_STATUSES = Literal["queued", "running", "paused", "succeeded", "failed", "cancelled"]


def jobs(  # noqa: PLR0913, PLR0917 - each filter, by name
    status: Annotated[_STATUSES | None, typer.Option(help="Only these.")] = None,
    model: Annotated[str | None, typer.Option("--model", "-m", help="Only of this base model.")] = None,
    tag: Annotated[str | None, typer.Option("--tag", "-t", help="Only with this label.")] = None,
    alpha_min: Annotated[float | None, typer.Option(help="Only from this strength on.")] = None,
    alpha_max: Annotated[float | None, typer.Option(help="Only up to this strength.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-l", min=1, help="At most so many.")] = 20,
    json: options.Json = False,
) -> None:
    """List jobs, newest first."""
    wanted = {"status": status, "model": model, "tag": tag, "alpha_min": alpha_min, "alpha_max": alpha_max}
    with terminal.connected() as client:
        found = list(islice(client.jobs(**wanted, limit=min(limit, 200)), limit))
    if json:
        terminal.document(found)
        return
    columns = ("job", "status", "alpha", "step", "held-out", "model", "name", "age")
    terminal.table(columns, [_row(job) for job in found])
    if not found:
        terminal.note("No jobs. `neftune submit rows.jsonl` makes one.")


def show(job: options.JobId, json: options.Json = False) -> None:
    """Look at a job: where it is, what came of it, and why it waits or failed."""
    with terminal.connected() as client:
        found = client.job(identified(client, job))
    if json:
        terminal.document(found)
        return
    progress = found["progress"] or {}
    queue, error = found["queue"], found["error"]
    metrics = {name: value for name in _SHOWN if (value := found["metrics"].get(name)) is not None}
    terminal.fields(
        {
            "job": found["id"],
            "name": found["name"],
            "status": found["status"] + (f", {found['intent']} asked" if _at_odds(found) else ""),
            "waiting": f"{queue['reason']}, place {queue['position'] or '?'}" if queue else None,
            "error": f"{error['code']}: {error['detail']}" if error else None,
            "model": found["spec"]["model"],
            "dataset": found["spec"]["dataset"],
            "alpha": found["spec"]["alpha"],
            "method": found["spec"]["method"],
            "tags": ", ".join(found["tags"]),
            "step": _step(progress),
            "attempt": found["attempt"] if found["attempt"] > 1 else None,
            **{_SHOWN[name]: f"{value:.4f}" for name, value in metrics.items()},
            "created": age(found["created_at"], found["finished_at"]),
            "artifacts": ", ".join(
                one["name"] for one in found.get("artifacts", ()) if "/" not in one["name"]
            ),
        }
    )


def watch(job: options.JobId = "last", json: options.Json = False) -> None:
    """Follow a job live to its end; Ctrl-C leaves it running.

    A lost connection is taken up again, and no point is lost. The exit status: 0 succeeded, 3 failed, 4
    cancelled.
    """
    with terminal.connected() as client:
        found = client.job(identified(client, job))
        if not json:
            terminal.note(f"job      {found['id']}  {found['name'] or ''}")
        following.to_its_end(client, found, as_json=json)


def logs(
    job: options.JobId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Stay, and write what comes.")] = False,
) -> None:
    """Write the runner's log."""
    with terminal.connected() as client:
        job_id = identified(client, job)
        if follow:
            _followed(client, job_id)
        else:
            _log(client.log(job_id).rstrip("\n") + "\n")


def cancel(job: options.JobId, json: options.Json = False) -> None:
    """End a job for good; one that runs ends within seconds."""
    _intend(job, "cancel", as_json=json)


def pause(job: options.JobId, json: options.Json = False) -> None:
    """Let a job rest until it is resumed; one that runs saves a checkpoint first."""
    _intend(job, "pause", as_json=json)


def resume(job: options.JobId, json: options.Json = False) -> None:
    """Let a paused job go on from its checkpoint."""
    _intend(job, "resume", as_json=json)


def retry(job: options.JobId, watch: options.Watch = False, json: options.Json = False) -> None:
    """Try a failed or cancelled job again, from its last checkpoint, as a new job."""
    with terminal.connected() as client:
        _made(client, client.retry(identified(client, job)), watch=watch, as_json=json)


def clone(
    job: options.JobId, sets: options.Sets = None, watch: options.Watch = False, json: options.Json = False
) -> None:
    """Submit a job's spec again, with changes: `neftune clone JOB --set alpha=10`."""
    changes = spec_text.assign({}, sets or ())
    with terminal.connected() as client:
        _made(client, client.clone(identified(client, job), changes), watch=watch, as_json=json)


def identified(client: "Client", job: str) -> str:
    """Give a job's id; `last` is the newest one."""
    if job != "last":
        return job
    newest = next(client.jobs(limit=1), None)
    if newest is None:
        raise BadInput("There is no job yet.")
    return newest["id"]


def _intend(job: str, what: Literal["cancel", "pause", "resume"], *, as_json: bool) -> None:
    with terminal.connected() as client:
        found = client.intend(identified(client, job), what)
    if as_json:
        terminal.document(found)
    else:
        terminal.say(f"{found['id']}  {found['status']}" + (f", {what} asked" if _at_odds(found) else ""))


def _made(client: "Client", job: Job, *, watch: bool, as_json: bool) -> None:
    if as_json:
        terminal.document({"event": "submitted", "data": job} if watch else job)
    else:
        terminal.say(f"job      {job['id']}")
    if watch:
        following.to_its_end(client, job, as_json=as_json)


def _followed(client: "Client", job_id: str) -> None:
    """Write the log as it grows, until the job ends or somebody leaves."""
    try:
        for piece in client.log_as_it_grows(job_id):
            _log(piece)
    except KeyboardInterrupt:
        raise typer.Exit(following.INTERRUPTED) from None


def _log(text: str) -> None:
    out = terminal.console()
    out.file.write(terminal.plain(text) if out.is_terminal else text)
    out.file.flush()


def _row(job: Job) -> list[Any]:
    held_out = job["metrics"].get("eval_loss")
    return [
        job["id"],
        job["status"],
        f"{job['spec']['alpha']:g}",
        _step(job["progress"] or {}),
        None if held_out is None else f"{held_out:.4f}",
        job["spec"]["model"],
        job["name"],
        age(job["created_at"]),
    ]


def _step(progress: dict[str, Any]) -> str:
    return (
        f"{progress['step']}/{progress.get('total_steps') or '?'}" if progress.get("step") is not None else ""
    )


def _at_odds(job: Job) -> bool:
    """Tell whether what is wanted has not happened yet."""
    return (job["intent"], job["status"]) in {("cancel", "running"), ("pause", "running"), ("run", "paused")}


_SHOWN = {
    "train_loss": "loss (with noise)",
    "clean_train_loss": "clean loss",
    "eval_loss": "held-out loss",
    "noise_effective_alpha": "alpha measured",
}

"""`--watch` and `neftune watch`: a job to its end, and what the exit status then says."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import typer

from neftune_client.cli import terminal
from neftune_client.errors import ClientError
from neftune_client.shapes import Job

if TYPE_CHECKING:  # HTTP is loaded by whoever asks something
    from neftune_client.client import Client
    from neftune_client.curve import Curve
    from neftune_client.stream import Message

INTERRUPTED = 130  # what shells expect after Ctrl-C
OUTCOMES = {"succeeded": 0, "failed": 3, "cancelled": 4}


def to_its_end(client: "Client", job: Job, *, as_json: bool) -> None:
    """Follow a job; leave with the status of its outcome. Whatever ends the watching, the job goes on."""
    from neftune_client.cli.screen import watch  # noqa: PLC0415 - draws, for whoever watches

    job_id = job["id"]
    try:
        if as_json:
            raise typer.Exit(OUTCOMES[documented(client.follow(job_id))])
        if waiting := job["queue"]:
            terminal.note(f"waiting  {waiting['reason']}")
        curve = watch(client.follow(job_id), terminal.console())
    except KeyboardInterrupt:
        _left_running(job_id)
        raise typer.Exit(INTERRUPTED) from None
    except ClientError:
        _left_running(job_id)
        raise
    _ended(job_id, curve)
    raise typer.Exit(OUTCOMES[curve.status])


def documented(messages: Iterable["Message"]) -> str:
    """Write each message as a line of JSON; give the status that was told last."""
    status = ""
    for message in messages:
        terminal.document({"id": message.id, "event": message.kind, "data": message.data})
        if message.kind == "status":
            status = message.data["status"]
    return status


def _left_running(job_id: str) -> None:
    terminal.note(f"\nThe job goes on without you. Come back with  neftune watch {job_id}")
    terminal.note(f"or end it with                              neftune cancel {job_id}")


def _ended(job_id: str, curve: "Curve") -> None:
    if curve.status == "succeeded":
        before, after = curve.base_eval_loss, curve.latest.get("eval_loss")
        if before is not None and after is not None:
            terminal.say(f"held-out loss {before:.4f} before, {after:.4f} after")
        if curve.verified:
            seen = curve.verified
            terminal.say(
                f"noise         alpha {seen['alpha']:g} asked, {seen['effective_alpha']:.3f} measured "
                f"on {seen['examples']} examples"
            )
        terminal.note(f"Take it home with  neftune download {job_id}")
        return
    for line in why(curve.error):
        terminal.note(line, "red")
    if curve.status == "failed":
        terminal.note(f"See  neftune logs {job_id}  and then  neftune retry {job_id}")


def why(error: object) -> Iterator[str]:
    """Say why a job failed."""
    if isinstance(error, dict):
        yield f"{error.get('code')}: {error.get('detail')}"

"""`neftune download`: what a job has made, checked and unpacked."""

from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated

import typer

from neftune_client.archive import unpack
from neftune_client.cli import options, terminal
from neftune_client.cli.jobs import identified
from neftune_client.errors import BadInput, DownloadFailed
from neftune_client.shapes import Artifact

if TYPE_CHECKING:  # HTTP is loaded by whoever asks something
    from neftune_client.client import Client
    from neftune_client.download import Download

_FOLDERS = ("adapter", "model", "merged")  # what comes as an archive of one folder


def download(
    job: options.JobId,
    name: Annotated[
        str | None, typer.Argument(help="Such as adapter, metrics.csv, checkpoint-100. (the model it made)")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="A folder. (the job's id)")] = None,
    archive: Annotated[bool, typer.Option("--archive", help="Keep the .tar as it comes.")] = False,
    json: options.Json = False,
) -> None:
    """Fetch what a job has made: goes on where it broke off, checks the SHA-256, unpacks.

    A name that others begin with, such as checkpoint-100, brings all of them.
    """
    with terminal.connected() as client:
        job_id = identified(client, job)
        listed = client.artifacts(job_id)
        folder = out or Path(job_id)
        if name is None and not set(_FOLDERS) & set(listed):
            raise BadInput(_why_none(client.job(job_id)["status"], job_id))
        got = [
            _fetched(client, job_id, one, folder, archive=archive) for one in _wanted(listed, name, job_id)
        ]
    if json:
        terminal.document([{"path": str(one.path), "bytes": one.bytes, "sha256": one.sha256} for one in got])
        return
    for one in got:
        terminal.say(one.path)
        terminal.note(f"  {one.bytes:,} bytes, sha256 {one.sha256}, equal to its ETag and the listing")


def _why_none(status: str, job_id: str) -> str:
    match status:
        case "cancelled" | "failed":
            ended = "was cancelled" if status == "cancelled" else "failed"
            way_out = f"`neftune retry {job_id}` goes on from its last checkpoint."
            return f"{job_id} {ended} and made no model. {way_out}"
        case _:
            return f"{job_id} has no model yet. `neftune show {job_id}` tells where it is."


def _wanted(listed: dict[str, Artifact], name: str | None, job_id: str) -> list[Artifact]:
    if name is None:
        name = next(one for one in _FOLDERS if one in listed)
    below = f"{name.rstrip('/')}/"
    found = (
        [listed[name]] if name in listed else [one for key, one in listed.items() if key.startswith(below)]
    )
    if not found:
        names = ", ".join(sorted({key.split("/")[0] for key in listed})) or "nothing yet"
        raise BadInput(f"{job_id} has no {name}; it has {names}.")
    return found


def _fetched(client: "Client", job_id: str, artifact: Artifact, folder: Path, *, archive: bool) -> "Download":
    name = PurePosixPath(artifact["name"])
    if name.is_absolute() or ".." in name.parts:
        raise DownloadFailed(
            f"The service names an artifact {str(name)!r}, which is no place below a folder."
        )
    packed = artifact["name"] in _FOLDERS
    path = folder / (f"{name}.tar" if packed else name)
    if packed and not archive and (folder / name).exists():
        raise BadInput(f"{folder / name} is there already; move it away, or choose another folder with -o.")
    with terminal.progress(str(name)) as show:
        got = client.download(job_id, artifact["name"], path, show)
    if got.sha256 != artifact["sha256"]:
        path.unlink()
        raise DownloadFailed(f"{name}: sha256 {got.sha256}, but the listing says {artifact['sha256']}.")
    if not packed or archive:
        return got
    unpack(path, folder / name)
    path.unlink()
    return replace(got, path=folder / name)

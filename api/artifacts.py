"""Downloads: artifacts and the record of a job.

Names are looked up among a job's rows and never become part of a path. The entity tag is the SHA-256 of
the bytes, so a download can be checked and gone on with. Where clients reach storage themselves, they are
sent there, each with a URL for one object and one minute.
"""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from api.deps import Artifacts, JobId, Reader, problems
from api.refusals import BadRange
from api.schemas import ArtifactRead, Listing
from neftune_store.artifacts import Artifact, ArtifactLedger
from neftune_store.blobs import Blobs
from neftune_store.errors import ArtifactNotFound
from neftune_store.s3 import SignedUrls

router = APIRouter(prefix="/jobs/{job_id}", tags=["artifacts"])

_RANGE = re.compile(r"bytes=(?P<first>[0-9]{0,18})-(?P<last>[0-9]{0,18})")
_TAR = "application/x-tar"
_CONTENT: dict[str, Any] = {"application/octet-stream": {}, _TAR: {}}
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,254}$"

Name = Annotated[str, Path(description="Such as adapter, metrics.csv, checkpoint-100/state.json.")]

Via = Annotated[
    Literal["api"] | None, Query(description="`api`: send the bytes, also where storage could do so itself.")
]


@router.get("/artifacts", summary="List what a job has made", responses=problems(401, 404))
def list_artifacts(who: Reader, artifacts: Artifacts, job_id: JobId) -> Listing[ArtifactRead]:
    """List the artifacts that can be downloaded; all of them on one page."""
    found = artifacts.downloads(who.project_id, job_id)
    return Listing(items=[ArtifactRead.of(job_id, one) for one in found], next=None)


@router.get(
    "/artifacts/{name:path}",
    summary="Download an artifact",
    response_class=Response,
    responses={
        200: {"description": "The bytes; an adapter is a tar", "content": _CONTENT},
        206: {"description": "The part that was asked for", "content": _CONTENT},
        304: {"description": "The client has it"},
        307: {"description": "The bytes are at Location for a minute, where storage is reached by clients."},
        **problems(401, 404, 416),
    },
)
async def download(request: Request, who: Reader, job_id: JobId, name: Name, via: Via = None) -> Response:
    """Send the bytes, or tell where they are; ``If-None-Match`` and one ``Range`` are understood."""
    if not re.match(_NAME, name):
        raise ArtifactNotFound
    artifact = await found_artifact(request, who.project_id, job_id, name)
    signed = request.app.state.signed_urls
    if signed is not None and via is None and not _needs_us(request, artifact):
        return await run_in_threadpool(_pointed, artifact, signed)
    return await run_in_threadpool(sent, request, artifact, request.app.state.blobs)


@router.head(
    "/artifacts/{name:path}",
    summary="Tell size and tag of an artifact",
    response_class=Response,
    responses={200: {"description": "The headers of a download"}, 304: {}, **problems(401, 404)},
)
async def told(request: Request, who: Reader, job_id: JobId, name: Name) -> Response:
    """Answer as a download from here would, without the bytes; storage is not asked."""
    if not re.match(_NAME, name):
        raise ArtifactNotFound
    artifact = await found_artifact(request, who.project_id, job_id, name)
    if _matches(request.headers.get("if-none-match"), _tag(artifact)):
        return Response(status_code=304, headers=_headers(artifact))
    headers = {**_headers(artifact), "content-length": str(artifact.bytes)}
    return Response(media_type=_media_type(artifact), headers=headers)


@router.get("/record", summary="Read the frozen record of a run", responses=problems(401, 404))
def record(who: Reader, artifacts: Artifacts, job_id: JobId) -> dict[str, Any]:
    """Tell what exactly was run: resolved spec, versions, hashes, noise verification, probe."""
    return artifacts.record(who.project_id, job_id)


async def found_artifact(request: Request, project_id: str, job_id: str, name: str) -> Artifact:
    """Find an artifact in a transaction that is over before storage is asked."""
    found: Artifact = await request.app.state.database.ask(
        lambda tx: ArtifactLedger(tx).get(project_id, job_id, name)
    )
    return found


def _needs_us(request: Request, artifact: Artifact) -> bool:
    """Tell whether the request says something of our entity tag, which storage does not know."""
    return "if-range" in request.headers or _matches(request.headers.get("if-none-match"), _tag(artifact))


def _pointed(artifact: Artifact, signed: SignedUrls) -> Response:
    """Point to the bytes; who has this answer may read them, so nobody is to keep it."""
    headers = {
        "location": signed.to_read(artifact.blob_key),
        "etag": _tag(artifact),
        "cache-control": "no-store",
    }
    return Response(status_code=307, headers=headers)


def sent(request: Request, artifact: Artifact, blobs: Blobs) -> Response:
    """Answer with an artifact, or with the part of it that was asked for."""
    tag = _tag(artifact)
    headers = _headers(artifact)
    if _matches(request.headers.get("if-none-match"), tag):
        return Response(status_code=304, headers=headers)
    start, end, status = 0, artifact.bytes, 200
    wanted = request.headers.get("range")
    if wanted is not None and request.headers.get("if-range", tag) == tag:
        found = _part(wanted, artifact.bytes)
        if found is not None:
            start, end = found
            status = 206
            headers["content-range"] = f"bytes {start}-{end - 1}/{artifact.bytes}"
    headers["content-length"] = str(end - start)
    return StreamingResponse(
        _begun(blobs.stream(artifact.blob_key, start, end)) if end > start else iter(()),
        status_code=status,
        media_type=_media_type(artifact),
        headers=headers,
    )


def _headers(artifact: Artifact) -> dict[str, str]:
    return {
        "etag": _tag(artifact),
        "accept-ranges": "bytes",
        "cache-control": "private, no-cache",
        "content-disposition": _attachment(artifact),
    }


def _media_type(artifact: Artifact) -> str:
    return _TAR if artifact.media_type == _TAR else "application/octet-stream"


def _begun(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Fetch the first piece now, so that storage that is away is a 503 and not a broken download."""
    first = next(chunks, b"")

    def go_on() -> Iterator[bytes]:
        yield first
        yield from chunks

    return go_on()


def _part(wanted: str, size: int) -> tuple[int, int] | None:
    """Read one range as [start, end); what is not exactly one range is ignored, as HTTP allows."""
    match = _RANGE.fullmatch(wanted)
    if match is None or not (match["first"] or match["last"]):
        return None
    if not match["first"]:  # the last n bytes
        start, end = max(size - int(match["last"]), 0), size
    else:
        start = int(match["first"])
        end = min(int(match["last"]) + 1, size) if match["last"] else size
        if match["last"] and int(match["last"]) < start:
            return None
    if start >= size:
        raise BadRange(size)
    return start, end


def _tag(artifact: Artifact) -> str:
    return f'"{artifact.sha256}"'


def _matches(given: str | None, tag: str) -> bool:
    if given is None:
        return False
    return given.strip() == "*" or tag in (one.strip().removeprefix("W/") for one in given.split(","))


def _attachment(artifact: Artifact) -> str:
    name = artifact.name.rsplit("/", 1)[-1]
    if artifact.media_type == _TAR:
        name += ".tar"
    return f"attachment; filename*=UTF-8''{quote(name, safe='')}"

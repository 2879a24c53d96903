"""Files: taken in, listed, read and deleted. A file to train on is a dataset."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from api.artifacts import sent
from api.datasets import display_name, refuse_at_once
from api.deps import Reader, Tx, Writer
from api.openai.envelope import ROOT
from api.openai.file_object import KINDS, FileDeleted, OpenAIFile
from api.openai.file_upload import for_tuning, form_of, taken_in
from api.openai.ids import tail
from api.openai.pages import After, OpenAIPageBetween, between, refusals
from api.refusals import FileFaulty
from api.upload_body import blocks, paced
from neftune_core.rows import Limits
from neftune_store.artifacts import Artifact
from neftune_store.files import FileLedger, StoredFile

router = APIRouter(prefix=f"{ROOT}/files", tags=["openai"])

_TEXT = {"type": "string"}
_FORM = {
    "type": "object",
    "required": ["purpose", "file"],
    "properties": {
        "purpose": {**_TEXT, "enum": ["fine-tune"]},
        "file": {**_TEXT, "format": "binary"},
    },
}
_BODY = {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _FORM}}}}


@router.post(
    "",
    summary="Upload a file",
    openapi_extra=_BODY,
    responses=refusals(400, 401, 403, 408, 413, 429, 503, 507),
)
async def create(request: Request, who: Writer) -> OpenAIFile:
    """Take a file to train on. One with faults is kept as their report; its bytes are not."""
    state = request.app.state
    limits = Limits(max_bytes=state.settings.max_dataset_bytes, max_rows=state.settings.max_dataset_rows)
    refuse_at_once(request, limits)
    chunks = paced(
        request,
        min_bytes_per_s=state.settings.upload_min_bytes_per_s,
        patience_s=state.settings.upload_patience_s,
    )
    form = form_of(request.headers.get("content-type", ""), chunks)
    made = await taken_in(
        state, who.project_id, blocks(for_tuning(form)), lambda: display_name(form.filename)
    )
    return OpenAIFile.of(await state.database.ask(made))


@router.get("", summary="List files", responses=refusals(400, 401, 404))
def list_files(  # noqa: PLR0913, PLR0917 - each thing a request carries, by name
    who: Reader,
    tx: Tx,
    purpose: Annotated[str | None, Query(max_length=64)] = None,
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
    order: Literal["asc", "desc"] = "desc",
) -> OpenAIPageBetween[OpenAIFile]:
    """List the project's files; a purpose that none is here for has none."""
    kinds = [kind for known, of in KINDS.items() if purpose in {None, known} for kind in of]
    since = tail("file-", after) if after is not None else None
    page = FileLedger(tx).list(who.project_id, kinds, since, limit, ascending=order == "asc")
    shown = [OpenAIFile.of(file) for file in page.items]
    return OpenAIPageBetween[OpenAIFile](**between(shown, more=page.more))


@router.get("/{file}", summary="Look at a file", responses=refusals(401, 404))
def retrieve(who: Reader, tx: Tx, file: str) -> OpenAIFile:
    """Tell what the file is."""
    return OpenAIFile.of(FileLedger(tx).get(who.project_id, tail("file-", file)))


@router.get(
    "/{file}/content",
    summary="Download a file",
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {}}}, **refusals(400, 401, 404, 416, 503)},
)
async def content(request: Request, who: Reader, file: str) -> Response:
    """Send the bytes as they came; a table of results as CSV."""
    found: StoredFile = await request.app.state.database.ask(
        lambda tx: FileLedger(tx).get(who.project_id, tail("file-", file))
    )
    if found.blob_key is None or found.sha256 is None:
        raise FileFaulty
    return await run_in_threadpool(sent, request, _download(found, found.blob_key), request.app.state.blobs)


@router.delete("/{file}", summary="Delete a file", responses=refusals(401, 403, 404, 409))
def delete(who: Writer, tx: Tx, file: str) -> FileDeleted:
    """Delete a file that no unfinished job needs."""
    FileLedger(tx).delete(who.project_id, tail("file-", file))
    return FileDeleted(id=file)


def _download(file: StoredFile, blob_key: str) -> Artifact:
    return Artifact(
        id=file.id,
        job_id="",
        name=file.name,
        kind=file.kind,
        sha256=file.sha256 or "",
        bytes=file.bytes,
        blob_key=blob_key,
        media_type="application/octet-stream",
        created_at=file.created_at,
    )

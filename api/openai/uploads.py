"""Uploads in parts: a promise of bytes, the parts as they come, and the file that they become together."""

import contextlib
import hashlib
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Annotated, Any, Literal, Self, TypeVar

import anyio.to_thread
from fastapi import APIRouter, Depends, Request
from pydantic import Field, ValidationError
from sqlalchemy.orm import Session

from api.bodies import json_body
from api.datasets import display_name
from api.deps import Tx, Writer
from api.openai.create_body import Asked
from api.openai.envelope import ROOT
from api.openai.file_object import OpenAIFile
from api.openai.file_upload import form_of, taken_in
from api.openai.ids import seconds
from api.openai.pages import refusals
from api.refusals import BodyTooLarge, DigestMismatch, InvalidRequest
from api.schemas import Schema
from api.upload import give_up
from api.upload_body import blocks, paced
from neftune_core.spec_faults import faults_of
from neftune_store.blobs import Blobs, staging_key
from neftune_store.errors import BlobNotFound, StorageUnavailable, UploadNotPending
from neftune_store.files import FileLedger, StoredFile
from neftune_store.quotas import check_room
from neftune_store.uploads import Part, Upload, UploadLedger

router = APIRouter(prefix=f"{ROOT}/uploads", tags=["openai"])

PART_BYTES = 64 * 1024 * 1024
_MOST_PARTS = 1000  # as many ids as a JSON body holds, and 64 GB

Body = TypeVar("Body", bound=Asked)


class CreateUpload(Asked):
    """What will come."""

    bytes: Annotated[int, Field(ge=1, strict=True)]
    filename: Annotated[str, Field(min_length=1, max_length=5000)]
    mime_type: Annotated[str, Field(max_length=255)] = Field("", description="Not looked at.")
    purpose: Literal["fine-tune"]


class CompleteUpload(Asked):
    """Which parts it is, in which order."""

    part_ids: Annotated[
        list[Annotated[str, Field(max_length=64)]], Field(min_length=1, max_length=_MOST_PARTS)
    ]
    md5: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{32}$")] | None = None


class OpenAIUpload(Schema):
    """A promise of bytes, and what it became."""

    id: str
    object: Literal["upload"] = "upload"
    bytes: int
    created_at: int
    expires_at: int
    filename: str
    purpose: Literal["fine-tune"] = "fine-tune"
    status: Literal["pending", "completed", "cancelled", "expired"]
    file: OpenAIFile | None

    @classmethod
    def of(cls, upload: Upload, file: StoredFile | None = None) -> Self:
        """Show an upload."""
        return cls(
            id=upload.id,
            bytes=upload.bytes,
            created_at=seconds(upload.created_at),
            expires_at=seconds(upload.expires_at),
            filename=upload.name,
            status=upload.state,
            file=OpenAIFile.of(file) if file is not None else None,
        )


class OpenAIPart(Schema):
    """Some of the bytes."""

    id: str
    object: Literal["upload.part"] = "upload.part"
    created_at: int
    upload_id: str


async def promised(body: Annotated[object, Depends(json_body)]) -> CreateUpload:
    """Read the body as a promise."""
    return _read(CreateUpload, body)


async def named(body: Annotated[object, Depends(json_body)]) -> CompleteUpload:
    """Read the body as names of parts."""
    return _read(CompleteUpload, body)


def _described(body: type[Asked]) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{body.__name__}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


_DATA = {
    "type": "object",
    "required": ["data"],
    "properties": {"data": {"type": "string", "format": "binary"}},
}
_FORM = {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _DATA}}}}


@router.post(
    "",
    summary="Begin an upload in parts",
    openapi_extra=_described(CreateUpload),
    responses=refusals(400, 401, 403, 413, 415, 429),
)
def create(
    request: Request, who: Writer, tx: Tx, wanted: Annotated[CreateUpload, Depends(promised)]
) -> OpenAIUpload:
    """Note how many bytes will come; they may come for an hour."""
    limit = request.app.state.settings.max_dataset_bytes
    if wanted.bytes > limit:
        raise BodyTooLarge(limit)
    check_room(tx, who.project_id, wanted.bytes, hold=False)
    return OpenAIUpload.of(UploadLedger(tx).add(who.project_id, display_name(wanted.filename), wanted.bytes))


@router.post(
    "/{upload}/parts",
    summary="Send a part of an upload",
    openapi_extra=_FORM,
    responses=refusals(400, 401, 403, 404, 408, 409, 413, 429, 503),
)
async def add_part(request: Request, who: Writer, upload: str) -> OpenAIPart:
    """Take up to 64 MiB; the parts may come side by side and in any order."""
    state = request.app.state
    await state.database.ask(lambda tx: UploadLedger(tx).get(who.project_id, upload))  # before any byte
    chunks = paced(
        request,
        min_bytes_per_s=state.settings.upload_min_bytes_per_s,
        patience_s=state.settings.upload_patience_s,
    )
    form = form_of(request.headers.get("content-type", ""), chunks, "data")
    key = staging_key()
    try:
        with state.uploads.one(who.project_id):
            size = await _staged(state.blobs, key, blocks(aiter(form)))
        part: Part = await state.database.ask(
            lambda tx: UploadLedger(tx).add_part(who.project_id, upload, key, size)
        )
    except BaseException:
        await _dropped(state.blobs, [key])
        raise
    return OpenAIPart(id=part.id, created_at=seconds(part.created_at), upload_id=upload)


@router.post(
    "/{upload}/complete",
    summary="Make a file of an upload's parts",
    openapi_extra=_described(CompleteUpload),
    responses=refusals(400, 401, 403, 404, 409, 413, 415, 429, 503),
)
async def complete(
    request: Request, who: Writer, upload: str, wanted: Annotated[CompleteUpload, Depends(named)]
) -> OpenAIUpload:
    """Put the parts together in the order in which they are named; what comes of it is as of any file."""
    try:
        done = await _put_together(request, who.project_id, upload, wanted)
    except UploadNotPending:  # perhaps because it is done: asked again, having lost the answer
        again = partial(_as_completed, who.project_id, upload)
        known: OpenAIUpload | None = await request.app.state.database.ask(again)
        if known is None:
            raise
        return known
    await _forgotten(request, upload)
    return done


@router.post("/{upload}/cancel", summary="Give an upload up", responses=refusals(401, 403, 404, 409))
async def cancel(request: Request, who: Writer, upload: str) -> OpenAIUpload:
    """Take no more parts. The body, if any, is not read."""
    ended: Upload = await request.app.state.database.ask(
        lambda tx: UploadLedger(tx).end(who.project_id, upload, "cancelled")
    )
    await _forgotten(request, upload)
    return OpenAIUpload.of(ended)


async def _put_together(
    request: Request, project_id: str, upload: str, wanted: CompleteUpload
) -> OpenAIUpload:
    """Make the file; it and the upload's end are one transaction, so of two that try one does."""
    state = request.app.state
    found: Upload = await state.database.ask(lambda tx: UploadLedger(tx).get(project_id, upload))
    parts = await state.database.ask(lambda tx: UploadLedger(tx).parts(project_id, upload, wanted.part_ids))
    pieces = _pieces(state.blobs, parts, wanted.md5)
    write = await taken_in(state, project_id, blocks(pieces), lambda: found.name)

    def ended(tx: Session) -> OpenAIUpload:
        file = write(tx)
        return OpenAIUpload.of(UploadLedger(tx).end(project_id, upload, "completed", file.tail), file)

    done: OpenAIUpload = await state.database.ask(ended)
    return done


async def _staged(blobs: Blobs, key: str, data: AsyncIterator[bytes]) -> int:
    """Put one part into storage; give its size."""
    size = 0
    writer = await blobs.writer(key)
    try:
        async for block in data:
            size += len(block)
            if size > PART_BYTES:
                raise BodyTooLarge(PART_BYTES)
            await writer.write(block)
        await writer.close()
    except BaseException:
        with anyio.CancelScope(shield=True):
            await give_up(writer)
        raise
    return size


async def _pieces(blobs: Blobs, parts: Sequence[Part], md5: str | None) -> AsyncIterator[bytes]:
    """Give the bytes of the parts; at the end, refuse them if they are not those that were meant."""
    seen = hashlib.md5(usedforsecurity=False)
    for part in parts:
        if not part.bytes:
            continue
        try:
            chunks = await anyio.to_thread.run_sync(blobs.stream, part.blob_key)
        except BlobNotFound as gone:  # somebody completes it at this moment: asking again will tell
            raise StorageUnavailable from gone
        while chunk := await anyio.to_thread.run_sync(next, chunks, b""):
            seen.update(chunk)
            yield chunk
    if md5 is not None and seen.hexdigest() != md5.lower():
        raise DigestMismatch


async def _forgotten(request: Request, upload: str) -> None:
    """Drop what was staged; what stays, the collector sweeps."""
    state = request.app.state
    parts: list[Part] = await state.database.ask(lambda tx: UploadLedger(tx).all_parts(upload))
    await _dropped(state.blobs, [part.blob_key for part in parts])


async def _dropped(blobs: Blobs, keys: Sequence[str]) -> None:
    def drop() -> None:
        for key in keys:
            blobs.delete(key)

    with anyio.CancelScope(shield=True):
        with contextlib.suppress(StorageUnavailable):  # no reason to refuse what is done
            await anyio.to_thread.run_sync(drop)


def _as_completed(project_id: str, upload: str, session: Session) -> OpenAIUpload | None:
    """Show an upload that is done already, and what it became."""
    found = UploadLedger(session).get(project_id, upload)
    if found.file is None:
        return None
    return OpenAIUpload.of(found, FileLedger(session).get(project_id, found.file))


def _read(kind: type[Body], body: object) -> Body:
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        raise InvalidRequest("The body has faults; see errors.", faults_of(error, kind)) from error

"""Datasets: taken in, looked at, deleted. Sealed at upload: what was accepted never changes."""

import contextlib
import re
import unicodedata
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy.orm import Session

from api.database import Database
from api.deps import Cursor, DatasetId, Datasets, Limit, Reader, Writer, problems
from api.refusals import IncompleteUpload, TooManyUploads, UnsupportedMedia
from api.schemas import DatasetRead, Listing
from api.upload import Intake, Sealed, promised_digest, too_large
from api.upload_body import FormFile, blocks, paced
from api.upload_check import Declared, UploadCheck
from neftune_core.rows import Limits
from neftune_store.collection import revive
from neftune_store.datasets import DatasetLedger
from neftune_store.quotas import check_room

router = APIRouter(prefix="/datasets", tags=["datasets"])

_NAME_LENGTH = 255
_BODY = {"schema": {"type": "string", "format": "binary"}}
_FORM = {"schema": {"type": "object", "required": ["file"], "properties": {"file": _BODY["schema"]}}}
_UPLOAD_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": _BODY, "multipart/form-data": _FORM},
    }
}


class UploadSlots:
    """How many uploads this process takes at once, and of them half for one project.

    A body may come as slowly as a kibibyte a second: whoever sends as many as are taken would keep all
    others out for days.
    """

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._share = max(at_once // 2, 1)
        self._taken: Counter[str] = Counter()

    @contextlib.contextmanager
    def one(self, project_id: str) -> Iterator[None]:
        """Hold a slot for a project, or refuse."""
        if self._taken.total() >= self._at_once or self._taken[project_id] >= self._share:
            raise TooManyUploads
        self._taken[project_id] += 1
        try:
            yield
        finally:
            self._taken[project_id] -= 1
            self._taken += Counter()  # forgets who holds none


@router.post(
    "",
    status_code=201,
    summary="Upload a dataset",
    openapi_extra=_UPLOAD_BODY,
    responses=problems(400, 401, 403, 408, 413, 415, 422, 429, 503, 507),
)
async def upload(
    request: Request,
    response: Response,
    who: Writer,
    name: Annotated[str | None, Query(max_length=5000, description="Display text.")] = None,
    format: Annotated[Declared, Query(description="Refuse rows of another form.")] = "auto",
) -> DatasetRead:
    """Take JSONL, a JSON array, CSV or Parquet: the raw file as body, or a form with the part `file`.

    The rows are checked as they come in. The answer is a sealed dataset, or every fault by line.
    """
    state = request.app.state
    limits = Limits(max_bytes=state.settings.max_dataset_bytes, max_rows=state.settings.max_dataset_rows)
    promised = promised_digest(request.headers.getlist("content-digest"))
    refuse_at_once(request, limits)
    await state.database.ask(lambda tx: check_room(tx, who.project_id, promised_bytes(request), hold=False))
    chunks = paced(
        request,
        min_bytes_per_s=state.settings.upload_min_bytes_per_s,
        patience_s=state.settings.upload_patience_s,
    )
    form = _form(request, chunks)

    admit = partial(admitted, state.database, who.project_id)
    intake = Intake(state.blobs, admit, limits, state.upload_threads, state.table_threads)
    with (
        state.uploads.one(who.project_id),
        UploadCheck(declared=format, limits=limits, spool_dir=state.settings.spool_dir) as check,
    ):
        sealed = await intake.take(
            blocks(aiter(form) if form else chunks), check=check, project_id=who.project_id, promised=promised
        )
    shown = display_name(name or (form.filename if form else None))
    dataset: DatasetRead = await state.database.ask(partial(_recorded, who.project_id, shown, sealed))
    if await request.is_disconnected():  # who gave it up at its end hears of no dataset, so there is none
        await state.database.ask(lambda tx: DatasetLedger(tx).delete(who.project_id, dataset.id))
        raise IncompleteUpload
    response.headers["location"] = f"/datasets/{dataset.id}"
    return dataset


@router.get("", summary="List datasets, newest first", responses=problems(401, 422))
def list_datasets(
    who: Reader, datasets: Datasets, cursor: Cursor = None, limit: Limit = 50
) -> Listing[DatasetRead]:
    """List the project's datasets."""
    page = datasets.list(who.project_id, cursor, limit)
    return Listing(items=[DatasetRead.of(one) for one in page.items], next=page.next)


@router.get("/{dataset_id}", summary="Look at a dataset", responses=problems(401, 404))
def get_dataset(who: Reader, datasets: Datasets, dataset_id: DatasetId) -> DatasetRead:
    """Tell what the dataset holds."""
    return DatasetRead.of(datasets.get(who.project_id, dataset_id))


@router.delete(
    "/{dataset_id}", status_code=204, summary="Delete a dataset", responses=problems(401, 403, 404, 409)
)
def delete_dataset(who: Writer, datasets: Datasets, dataset_id: DatasetId) -> None:
    """Delete a dataset that no unfinished job needs."""
    datasets.delete(who.project_id, dataset_id)


def display_name(given: str | None) -> str:
    """Make display text of a name from outside: one line, no control or direction signs, at most 255."""
    kept = "".join(
        sign for sign in given or "" if unicodedata.category(sign) not in {"Cc", "Cf", "Cs", "Zl", "Zp"}
    )
    return re.sub(r"\s+", " ", kept).strip()[:_NAME_LENGTH] or "dataset"


def refuse_at_once(request: Request, limits: Limits) -> None:
    """Refuse by the headers what needs no look at the body."""
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMedia("Uploads are read uncompressed; leave Content-Encoding out.")
    if int(request.headers.get("content-length", "0")) > limits.max_bytes:
        raise too_large(limits)


def promised_bytes(request: Request) -> int:
    """Give how many bytes are sure to come, by the headers; a form says nothing of its file's length."""
    if request.headers.get("content-type", "").lower().startswith("multipart/"):
        return 1
    return int(request.headers.get("content-length", "1"))


async def admitted(database: Database, project_id: str, key: str, size: int) -> None:
    """Ask for room for bytes that are about to be sealed, and keep the collector from them."""

    def asked(tx: Session) -> None:
        check_room(tx, project_id, size, hold=False)
        revive(tx, key)

    await database.ask(asked)


def _form(request: Request, chunks: AsyncIterator[bytes]) -> FormFile | None:
    content_type = request.headers.get("content-type", "")
    if not content_type.lower().startswith("multipart/form-data"):
        return None
    return FormFile(chunks, content_type)


def _recorded(project_id: str, name: str, sealed: Sealed, session: Session) -> DatasetRead:
    """Write the dataset down, in a transaction that is over before the answer."""
    summary = sealed.summary
    dataset = DatasetLedger(session).add(
        project_id,
        name=name,
        format=summary.format,
        rows=summary.rows,
        bytes=sealed.bytes,
        sha256=sealed.sha256,
        blob_key=sealed.blob_key,
        stats=dict(summary.stats),
        warnings=list(summary.warnings),
    )
    return DatasetRead.of(dataset)

"""An upload as this surface takes it: the native way in, but what has faults leaves its report behind.

The whole body is read, also when its first row is wrong, for the answer is no refusal. Bytes of a file with
faults are dropped.
"""

from collections.abc import AsyncIterator, Callable
from functools import partial
from types import TracebackType
from typing import Any, Self

from sqlalchemy.orm import Session
from starlette.datastructures import State

from api.datasets import admitted
from api.refusals import BadMultipart, UnsupportedPurpose
from api.upload import Intake, Sealed
from api.upload_body import FormFile
from api.upload_check import UploadCheck
from neftune_core.errors import DatasetError
from neftune_core.rows import DatasetSummary, Limits
from neftune_core.rows_faults import FAULTS_TOLD, DatasetTooLarge
from neftune_core.spec_faults import Fault
from neftune_store.datasets import DatasetLedger
from neftune_store.files import FileLedger, StoredFile


class PatientCheck:
    """A check that tells a fault only when all bytes have come."""

    def __init__(self, check: UploadCheck) -> None:
        self._check = check
        self._fault: DatasetError | None = None
        self.bytes = 0

    def __enter__(self) -> Self:
        self._check.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._check.__exit__(kind, error, trace)

    @property
    def is_table(self) -> bool:
        """Tell whether most of the work is left for the end."""
        return self._check.is_table

    def feed(self, block: bytes) -> None:
        """Look at some bytes; after a fault that ends it all, only count them."""
        self.bytes += len(block)
        if self._fault is not None:
            return
        try:
            self._check.feed(block)
        except DatasetTooLarge:
            raise
        except DatasetError as fault:
            self._fault = fault

    def finish(self) -> DatasetSummary:
        """Tell what was seen."""
        if self._fault is not None:
            raise self._fault
        return self._check.finish()


async def taken_in(
    state: State, project_id: str, blocks: AsyncIterator[bytes], name: Callable[[], str]
) -> Callable[[Session], StoredFile]:
    """Take bytes in; give what writes the file down, be they sound or not. ``name`` is asked at the end."""
    limits = Limits(max_bytes=state.settings.max_dataset_bytes, max_rows=state.settings.max_dataset_rows)

    admit = partial(admitted, state.database, project_id)
    intake = Intake(state.blobs, admit, limits, state.upload_threads, state.table_threads)
    check = PatientCheck(UploadCheck(declared="auto", limits=limits, spool_dir=state.settings.spool_dir))
    with state.uploads.one(project_id), check:
        try:
            sealed = await intake.take(blocks, check=check, project_id=project_id, promised=None)
        except DatasetTooLarge:
            raise
        except DatasetError as fault:
            return partial(_reported, project_id, name(), check.bytes, report_of(fault))
    return partial(_kept, project_id, name(), sealed)


def _kept(project_id: str, name: str, sealed: Sealed, session: Session) -> StoredFile:
    summary = sealed.summary
    about: dict[str, Any] = {"stats": dict(summary.stats), "warnings": list(summary.warnings)}
    dataset = DatasetLedger(session).add(
        project_id,
        name=name,
        format=summary.format,
        rows=summary.rows,
        bytes=sealed.bytes,
        sha256=sealed.sha256,
        blob_key=sealed.blob_key,
        **about,
    )
    return FileLedger(session).get(project_id, dataset.id.removeprefix("ds_"))


def _reported(project_id: str, name: str, size: int, report: dict[str, Any], session: Session) -> StoredFile:
    return FileLedger(session).add_faulty(project_id, name=name, bytes=size, report=report)


def report_of(fault: DatasetError) -> dict[str, Any]:
    """Give what is kept of a file with faults: what the native surface answers with."""
    faults = getattr(fault, "faults", ())[:FAULTS_TOLD]
    return {
        "code": fault.code,
        "detail": str(fault),
        "errors": [{"line": one.line, "code": one.code, "msg": one.msg, "path": one.path} for one in faults],
        "counts": getattr(fault, "counts", {}),
    }


async def for_tuning(form: FormFile) -> AsyncIterator[bytes]:
    """Yield the file's bytes; refuse a form that wants something else with them, before they are kept."""
    looked = False
    async for chunk in form:
        if not looked and form.field("purpose") is not None:
            _check_purpose(form)
            looked = True
        yield chunk
    _check_purpose(form)


def _check_purpose(form: FormFile) -> None:
    purpose = form.field("purpose")
    if purpose is None:
        raise _unfit("purpose", "missing_field", "It should be there: fine-tune")
    if purpose != "fine-tune":
        raise _unfit("purpose", "unsupported_purpose", "It should be fine-tune; nothing else is served")
    if form.field("expires_after[anchor]") is not None or form.field("expires_after[seconds]") is not None:
        raise _unfit("expires_after", "not_supported", "Files do not expire here; leave it out")


def _unfit(param: str, code: str, told: str) -> UnsupportedPurpose:
    return UnsupportedPurpose("The form asks for what is not served.", [Fault((param,), code, told)])


def form_of(content_type: str, chunks: AsyncIterator[bytes], part: str = "file") -> FormFile:
    """Read the body as a form with one large part."""
    if not content_type.lower().startswith("multipart/form-data"):
        raise BadMultipart(f"Send a form with the part {part}.")
    return FormFile(chunks, content_type, part.encode())

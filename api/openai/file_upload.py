"""An upload as this surface takes it: the native way in, but what has faults leaves its report behind.

The whole body is read, also when its first row is wrong, for the answer is no refusal. Bytes of a file with
faults are dropped.
"""

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self

from api.refusals import BadMultipart, UnsupportedPurpose
from api.upload_body import FormFile
from api.upload_check import UploadCheck
from neftune_core.errors import DatasetError
from neftune_core.rows import DatasetSummary
from neftune_core.rows_faults import FAULTS_TOLD, DatasetTooLarge
from neftune_core.spec_faults import Fault


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


def form_of(content_type: str, chunks: AsyncIterator[bytes]) -> FormFile:
    """Read the body as a form."""
    if not content_type.lower().startswith("multipart/form-data"):
        raise BadMultipart("Send a form with the parts purpose and file.")
    return FormFile(chunks, content_type)

"""A file as this surface shows it."""

from typing import Any, Literal, Self

from pydantic import Field

from api.openai.ids import ours, seconds
from api.schemas import Schema
from neftune_store.files import Kind, StoredFile

Purpose = Literal["fine-tune", "fine-tune-results"]

KINDS: dict[Purpose, tuple[Kind, ...]] = {
    "fine-tune": ("dataset", "faulty"),
    "fine-tune-results": ("result",),
}


class OpenAIFile(Schema):
    """A file, or what is left of one that had faults."""

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    expires_at: None = None
    filename: str
    purpose: Purpose
    status: Literal["processed", "error"]
    status_details: str | None = Field(description="The first fault of a file with faults.")
    validation: dict[str, Any] | None = Field(
        description="What the rows are, or `code`, `detail`, `errors` by line and `counts` of what is wrong."
    )

    @classmethod
    def of(cls, file: StoredFile) -> Self:
        """Show a file."""
        faulty = file.kind == "faulty"
        return cls(
            id=ours("file-", file.id),
            bytes=file.bytes,
            created_at=seconds(file.created_at),
            filename=file.name,
            purpose="fine-tune-results" if file.kind == "result" else "fine-tune",
            status="error" if faulty else "processed",
            status_details=file.report.get("detail") if faulty else None,
            validation=None if file.kind == "result" else file.report,
        )


class FileDeleted(Schema):
    """A file that is no more."""

    id: str
    object: Literal["file"] = "file"
    deleted: bool = True

"""How answers look, for type checkers. They are plain dictionaries, with all that was sent."""

from typing import Any, TypedDict


class Problem(TypedDict):
    """Why a job failed."""

    code: str
    detail: str
    retryable: bool


class Artifact(TypedDict):
    """A stored result."""

    name: str
    kind: str
    bytes: int
    sha256: str
    partial: bool


class Dataset(TypedDict):
    """Sealed rows."""

    id: str
    name: str
    format: str
    rows: int
    bytes: int
    sha256: str
    stats: dict[str, Any]
    warnings: list[Any]
    created_at: str


class Key(TypedDict):
    """A key of a project, without the key itself."""

    id: str
    name: str
    prefix: str
    scopes: list[str]
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None


class NewKey(Key):
    """A key that was just made; ``key`` is told this once."""

    key: str


class Queued(TypedDict):
    """Why a job waits."""

    position: int | None
    reason: str


class _JobRow(TypedDict):
    id: str
    name: str | None
    status: str
    intent: str
    spec: dict[str, Any]
    resolved: dict[str, Any] | None
    progress: dict[str, Any] | None
    metrics: dict[str, Any]
    queue: Queued | None
    attempt: int
    error: Problem | None
    tags: list[str]
    created_at: str
    started_at: str | None
    finished_at: str | None


class Job(_JobRow, total=False):
    """What was asked, and where it is; ``artifacts`` is there when one job was asked for."""

    artifacts: list[Artifact]

"""The tables. Private to the store and the migrations: everyone else speaks to a ledger.

Every constraint is named by convention, so that a migration can name it too. Relations are
``lazy="raise"``: each query is one somebody wrote. Rules about moves are not here but in the trigger
that the first migration makes.
"""

from neftune_store.models.base import NOW, Base, Json
from neftune_store.models.datasets import DatasetRow, FaultyFileRow, UploadPartRow, UploadRow
from neftune_store.models.jobs import (
    JOB_METADATA,
    JOB_TAGS,
    IdempotencyKeyRow,
    JobInputRow,
    JobRow,
    RecentBodyRow,
    SweepRow,
)
from neftune_store.models.projects import ApiKeyRow, AuditRow, LoginRow, ProjectRow, SecretRow
from neftune_store.models.runs import (
    TERMINAL_EVENTS,
    ArtifactRecord,
    CheckpointRow,
    CondemnedBlobRow,
    EventRow,
    LogPartRow,
    MetricRow,
    MetricSpanRow,
    ResultRow,
    RunRow,
)
from neftune_store.models.webhooks import DeliveryRow, WebhookRow
from neftune_store.models.workers import WorkerRow

__all__ = [
    "JOB_METADATA",
    "JOB_TAGS",
    "NOW",
    "TERMINAL_EVENTS",
    "ApiKeyRow",
    "ArtifactRecord",
    "AuditRow",
    "Base",
    "CheckpointRow",
    "CondemnedBlobRow",
    "DatasetRow",
    "DeliveryRow",
    "EventRow",
    "FaultyFileRow",
    "IdempotencyKeyRow",
    "JobInputRow",
    "JobRow",
    "Json",
    "LogPartRow",
    "LoginRow",
    "MetricRow",
    "MetricSpanRow",
    "ProjectRow",
    "RecentBodyRow",
    "ResultRow",
    "RunRow",
    "SecretRow",
    "SweepRow",
    "UploadPartRow",
    "UploadRow",
    "WebhookRow",
    "WorkerRow",
]

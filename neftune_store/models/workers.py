"""The processes that run jobs."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    CheckConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from neftune_store.models.base import NOW, Base


class WorkerRow(Base):
    """A process that trains or answers, as long as it says so itself."""

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    name: Mapped[str]  # what leases call it
    device: Mapped[str]
    gpus: Mapped[list[Any]]
    address: Mapped[str | None]  # where the api reaches one that answers, and by which token: shown to nobody
    token: Mapped[str | None]
    started_at: Mapped[datetime] = mapped_column(server_default=NOW)
    heartbeat_at: Mapped[datetime] = mapped_column(server_default=NOW)

    __table_args__ = (
        CheckConstraint("kind IN ('train', 'generate')", name="kind"),
        CheckConstraint("(address IS NULL) = (token IS NULL)", name="reached"),
    )

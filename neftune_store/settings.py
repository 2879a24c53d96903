"""Where rows, blobs and bells live, and the numbers of the lease.

Built once at start-up and passed on. Other packages extend this class with what only they need.
"""

import os
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from neftune_store.sealing import keys_in

IDLE_SECONDS = 10.0  # idle_in_transaction_session_timeout, where a lease says nothing shorter


def with_driver(url: str) -> str:
    """Name the driver, so that the URL every other tool takes works here too."""
    for plain in ("postgresql://", "postgres://"):
        if url.startswith(plain):
            return "postgresql+psycopg://" + url.removeprefix(plain)
    return url


def _postgres(url: str) -> str:
    if not url.startswith("postgresql+psycopg://"):
        raise ValueError("it must start with postgresql://")
    return url


def _split(separator: str) -> BeforeValidator:
    def split(given: object) -> object:
        if not isinstance(given, str):
            return given
        return tuple(part.strip() for part in given.split(separator) if part.strip())

    return BeforeValidator(split)


def _on(given: object) -> object:
    return given.strip().lower() if isinstance(given, str) else given


DatabaseUrl = Annotated[str, AfterValidator(with_driver), AfterValidator(_postgres)]
Patterns = Annotated[tuple[str, ...], NoDecode, _split(",")]
Paths = Annotated[tuple[Path, ...], NoDecode, _split(os.pathsep)]


class StoreSettings(BaseSettings):
    """What everything that remembers needs to know."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", populate_by_name=True, env_ignore_empty=True
    )

    database_url: DatabaseUrl = Field(description="postgresql://user:password@host/name")
    redis_url: str = Field("redis://127.0.0.1:6379/0", description="The broker: a bell, never the truth.")
    storage_url: str = Field(description="file:///folder, or s3://bucket/prefix")
    s3_endpoint_url: str | None = Field(None, description="For S3-compatible stores; http:// is allowed.")
    aws_access_key_id: SecretStr | None = Field(None, description="For s3:// storage.")
    aws_secret_access_key: SecretStr | None = Field(None, description="For s3:// storage.")
    aws_region: str = Field("us-east-1", description="For s3:// storage.")

    lease_seconds: float = Field(60, gt=0, le=3600, description="How long a claim lives without heartbeat.")
    heartbeat_seconds: float = Field(15, gt=0, le=600, description="How often a claim is renewed.")
    lease_stop_seconds: float = Field(
        45, gt=0, le=3600, description="A supervisor without a good heartbeat for so long stops its runner."
    )
    reconcile_seconds: float = Field(5, gt=0, le=600, description="Seconds between looks at lost leases.")

    collect_seconds: float = Field(3600, gt=0, description="Seconds between collections of unnamed objects.")
    collect_grace_seconds: float = Field(
        86400, ge=3600, description="How long an object stays after it was first seen without a name."
    )
    checkpoint_days: float = Field(7, ge=0, description="How long an ended job keeps its checkpoints.")

    webhook_allow: Patterns = Field(
        (), description="Patterns of hosts that webhooks may have although their address is not public."
    )

    neftune_secret_key: SecretStr | None = Field(
        None,
        description="32 random bytes in base64, to encrypt secrets with; of several, comma-separated, the "
        "first encrypts. Without it no secrets are kept, and those of webhooks lie in plain text.",
    )

    allowed_models: Patterns = Field((), description="Patterns of model ids that may be used.")
    models_dirs: Paths = Field((), description="Folders with models as <folder>/<org>/<name>.")
    hub: Annotated[bool, BeforeValidator(_on)] = Field(False, description="May models be fetched? on | off")
    model_cache: Path | None = Field(None, description="Where fetched models are kept.")

    max_dataset_bytes: int = Field(2 * 1024**3, ge=1, description="Largest upload.")
    max_dataset_rows: int = Field(2_000_000, ge=1, description="Most rows of an upload.")
    queue_limit: int = Field(100, ge=1, description="Queued jobs a project may have, unless its quota says.")

    @field_validator("neftune_secret_key")
    @classmethod
    def _whole_keys(cls, given: SecretStr | None) -> SecretStr | None:
        if given is not None:
            keys_in(given.get_secret_value())
        return given

    @field_validator("storage_url")
    @classmethod
    def _known_storage(cls, url: str) -> str:
        if not url.startswith(("file:///", "s3://")):
            raise ValueError("it must start with file:/// or s3://")
        return url

    def secret_keys(self) -> str | None:
        """Give the keys that secrets are sealed with, as they were set."""
        return None if self.neftune_secret_key is None else self.neftune_secret_key.get_secret_value()

    def idle_seconds(self) -> float:
        """Give the longest silence inside a transaction; its session has ended before the lease has."""
        return min(IDLE_SECONDS, 0.75 * self.lease_seconds)

    @model_validator(mode="after")
    def _runner_dies_before_its_lease(self) -> Self:
        if not self.heartbeat_seconds < self.lease_stop_seconds < self.lease_seconds:
            raise ValueError(
                "HEARTBEAT_SECONDS < LEASE_STOP_SECONDS < LEASE_SECONDS must hold, or two runs could overlap"
            )
        return self

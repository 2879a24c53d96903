"""What the api can be told from outside, beside what the store is told."""

import re
import tempfile
from pathlib import Path

from pydantic import Field, SecretStr, field_validator

from neftune_store.settings import StoreSettings


class ApiSettings(StoreSettings):
    """How the api listens and what it bears. Read once, at start-up."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on.")
    docs: bool = Field(True, description="Serve /docs and /openapi.json.")
    trusted_hosts: str = Field(
        "*", description="Host names this service answers for, comma-separated patterns."
    )
    json_body_limit: int = Field(64 * 1024, ge=1024, description="Largest JSON body, in bytes.")
    trusted_proxies: str = Field(
        "",
        description="Addresses or networks of proxies whose X-Forwarded-For and -Proto are believed,"
        " comma-separated.",
    )
    sse_per_key: int = Field(20, ge=1, description="Live streams one key may hold open.")
    sse_seconds: float = Field(600, gt=0, description="A live stream ends by itself after this long.")
    sse_poll_seconds: float = Field(2, gt=0, description="How often a stream looks without being woken.")
    uploads_at_once: int = Field(
        16, ge=1, description="Uploads this process takes at the same time, half of them of one project."
    )
    upload_min_bytes_per_s: int = Field(1024, ge=0, description="Slower bodies are refused with 408.")
    upload_patience_s: float = Field(30, gt=0, description="Over how long the rate of a body is judged.")
    stalled_reader_s: float = Field(
        60, gt=0, description="A client that reads nothing for so long is let go."
    )
    database_pool: int = Field(16, ge=1, description="Connections to Postgres this process may hold.")
    header_timeout_s: float = Field(10, gt=0, description="Time a connection has to send its headers.")
    spool_dir: Path = Field(
        Path(tempfile.gettempdir()), description="Where CSV and Parquet uploads lie while they are read."
    )
    wrong_keys_per_minute: int = Field(20, ge=1, description="Wrong keys an address may try in a minute.")
    rate_per_minute: int = Field(
        6000, ge=0, description="Requests a key may make in a minute, counted in each process; 0: no limit."
    )
    login_hours: float = Field(
        12, gt=0, le=720, description="How long a browser stays logged in, at the most."
    )
    metrics: bool = Field(True, description="Serve GET /metrics.")
    metrics_token: SecretStr | None = Field(
        None,
        min_length=16,
        description="What Prometheus sends as its bearer token; else an operator's key is needed.",
    )
    openai_strict_status: bool = Field(
        False, description="Show paused jobs as queued under /v1, for typed clients that know no paused."
    )
    s3_public_endpoint_url: str | None = Field(
        None, description="Where clients reach the store of s3:// themselves: downloads then lead there."
    )

    @field_validator("s3_public_endpoint_url")
    @classmethod
    def _an_address(cls, url: str | None) -> str | None:
        if url is not None and not re.fullmatch(r"https?://[^/?#@\s]+(/[^?#\s]*)?", url):
            raise ValueError("it must be an http:// or https:// address without a query")
        return url

    def hosts(self) -> list[str]:
        """List the patterns of host names we answer for."""
        return [host.strip() for host in self.trusted_hosts.split(",") if host.strip()]

"""What the standalone service can be told from outside. Everything has a default."""

import os
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from neftune_store.projects import SHORTEST_PRESET
from neftune_store.settings import DatabaseUrl
from standalone.errors import HomeUnusable


class StandaloneSettings(BaseSettings):
    """Read once, at start-up. What is set here wins over what would be embedded."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    neftune_home: Path | None = Field(None, description="Where everything lies.")
    neftune_api_key: SecretStr | None = Field(
        None, min_length=SHORTEST_PRESET, description="Presets the first API key."
    )
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int | None = Field(None, ge=1, le=65535, description="Port to listen on; 8000 unless told.")
    database_url: DatabaseUrl | None = Field(
        None, description="A PostgreSQL of yours instead of the embedded one."
    )
    redis_url: str | None = Field(None, description="A Redis of yours instead of the embedded one.")
    storage_url: str | None = Field(None, description="Object storage instead of a folder in the home.")
    allowed_models: str | None = Field(None, description="Patterns of model ids, comma-separated.")
    models_dirs: str | None = Field(None, description="More folders with models as <folder>/<org>/<name>.")
    model_cache: Path | None = Field(None, description="Where fetched models are kept.")
    hub: str = Field("off", description="May models be fetched? on | off")

    def home(self, name: str = "neftune") -> Path:
        """The folder of everything: the one that was named, or this user's own."""
        return self.neftune_home if self.neftune_home is not None else _data_folder() / name


def _data_folder() -> Path:
    if os.geteuid() == 0:
        return Path("/var/lib")
    if data := os.environ.get("XDG_DATA_HOME"):
        return Path(data)
    try:
        return Path.home() / ".local" / "share"
    except RuntimeError as error:
        raise HomeUnusable("This user has no home folder: set NEFTUNE_HOME to a folder of yours.") from error

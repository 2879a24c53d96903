"""What a worker needs to know beyond where things are stored."""

import os
import socket
import sys
from pathlib import Path

from pydantic import Field, SecretStr

from neftune_store.settings import Patterns, StoreSettings

DEFAULT_RUNNER = (sys.executable, "-m", "neftune_core", "run")
DEFAULT_GENERATOR = (sys.executable, "-m", "neftune_core", "serve")


class WorkerSettings(StoreSettings):
    """Read once at start-up; passed on, never looked up."""

    work_dir: Path = Field(description="Folder for the private folders of runs; emptied of dead ones.")
    runner: tuple[str, ...] = Field(
        DEFAULT_RUNNER, min_length=1, description="The runner's command, as a JSON list; for tests."
    )
    worker_name: str = Field(
        default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}",
        description="What runs and leases call this worker.",
    )

    grace_seconds: float = Field(120, gt=10, description="What the worker is given to leave.")
    stop_seconds: float = Field(10, gt=0, le=3600, description="From SIGTERM to SIGKILL of a runner.")
    drain_seconds: float = Field(
        25, gt=2, description="What a leaving worker's run is given to end its step, save and store."
    )
    pause_seconds: float = Field(
        300, gt=0, le=3600, description="The same for a run that is to pause, or whose end is not urgent."
    )
    stall_seconds: float = Field(600, gt=0, description="Without a word from the runner: stalled.")
    first_step_seconds: float = Field(1800, gt=0, description="The same before its first word.")
    model_fetch_seconds: float = Field(4 * 3600, gt=0, description="The longest download of a model.")
    max_log_bytes: int = Field(16 * 1024**2, ge=1024, description="What is kept of a run's log.")
    max_file_bytes: int = Field(1 << 40, ge=1 << 20, description="The largest file a runner may write.")
    token_cache_bytes: int = Field(
        2 * 1024**3, ge=0, description="Tokens of rows kept in WORK_DIR for other runs on them; 0: none."
    )

    benchmarks_dir: Path | None = Field(
        None, description="Folder with the operator's benchmarks: YAML of lm-eval, and the data they name."
    )
    judge_allow: Patterns = Field(
        (), description="Patterns of hosts that judges may have although their address is not public."
    )

    hf_token: SecretStr | None = Field(None, description="For gated models; only the fetcher gets it.")
    hf_endpoint: str | None = Field(None, description="Another hub than the public one.")

    def lease_grace_seconds(self) -> float:
        """Give the time from SIGTERM to SIGKILL when the lease runs out; the runner is dead before."""
        return min(5.0, (self.lease_seconds - self.lease_stop_seconds) / 3)


class GenerateSettings(WorkerSettings):
    """What the process needs that answers beside the workers."""

    generate_device: str = Field(
        "auto",
        pattern=r"^(auto|off|cpu|cuda:[0-9]{1,2})$",
        description="auto: a GPU on which nothing trains, or the CPU where there is none; cpu; cuda:N; off",
    )
    generate_queue: int = Field(
        8, ge=0, le=1000, description="Requests that wait while one is answered; half of them of one key."
    )
    generate_idle_seconds: float = Field(
        600, gt=0, description="The model leaves memory when nobody has asked for so long."
    )
    generate_stall_seconds: float = Field(
        600, gt=0, description="Without a word from the process that holds the model: it is ended."
    )
    generate_listen: str = Field(
        "127.0.0.1:0",
        pattern=r"^(unix:/.+|[^/\s]+:[0-9]{1,5})$",
        description="Where the api asks: host:port (port 0: any that is free), or unix:/path",
    )
    generate_address: str | None = Field(
        None,
        pattern=r"^(unix:/.+|[^/\s]+:[0-9]{1,5})$",
        description="The same as the api sees it, if otherwise.",
    )
    generate_cache_bytes: int = Field(
        20 * 1024**3, ge=0, description="Tuned files kept in WORK_DIR, beside those in use."
    )
    generator: tuple[str, ...] = Field(
        DEFAULT_GENERATOR,
        min_length=1,
        description="The command that holds the model, as a JSON list; for tests.",
    )

"""``python -m worker.fetch MODEL CACHE [--revision R]``: bring a model from the hub into the cache.

The one process that holds the hub's token, and it holds nothing else. Resolves the revision to a commit,
takes only safetensors, configuration and tokenizer, refuses code and pickles before the weights come, and
makes the folder ``CACHE/<org>--<name>/<commit>`` appear whole or not at all. Speaks JSON lines on stdout:
progress, then one line with what came or why nothing did. Errors are told in our words: a library's may
hold a signed URL.
"""

import argparse
import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

os.environ.setdefault("HF_HUB_DISABLE_XET", "1")  # before the import: plain HTTP, which proxies understand
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import (
    DisabledRepoError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from neftune_core.catalog import inspect_model
from neftune_core.errors import CoreError, ModelDownload, ModelNotAvailable, UnsafeWeights

WEIGHTS = ("*.safetensors",)
SMALL = (
    *("config.json", "generation_config.json", "model.safetensors.index.json"),
    *("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json"),
    *("added_tokens.json", "vocab.json", "vocab.txt", "merges.txt", "spiece.model", "chat_template.*"),
    *("LICENSE*", "NOTICE*"),
)
MOST_SMALL_BYTES = 64 * 1024**2  # of a file that is no weights
TELL_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """One file of the repository that we take."""

    name: str
    size: int
    sha256: str | None  # known for large files

    @property
    def is_weights(self) -> bool:
        """Tell weights from what describes them."""
        return _like(self.name, WEIGHTS)


def _like(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def choose(files: Iterable[Wanted]) -> list[Wanted]:
    """Pick what we take: top-level files of known kinds, the small ones first; no second copy of weights."""
    known = [file for file in files if "/" not in file.name and _like(file.name, (*WEIGHTS, *SMALL))]
    if any(file.name.startswith("model") and file.is_weights for file in known):
        known = [file for file in known if not file.is_weights or file.name.startswith("model")]
    if not any(file.is_weights for file in known):
        raise UnsafeWeights("The model has no safetensors; only those are loaded, never pickles.")
    if any(not file.is_weights and file.size > MOST_SMALL_BYTES for file in known):
        raise ModelDownload("A configuration or tokenizer file of the model is unreasonably large.")
    return sorted(known, key=lambda file: (file.is_weights, file.name))


def fetch(model: str, revision: str | None, cache: Path) -> dict[str, object]:
    """Bring the model into the cache; tell where it lies."""
    info = HfApi().model_info(model, revision=revision, files_metadata=True, timeout=30)
    if not info.sha:
        raise ModelDownload("The hub names no commit for this revision.")
    home = cache / model.replace("/", "--")
    target = home / info.sha
    files = choose(
        Wanted(file.rfilename, file.size or 0, file.lfs.sha256 if file.lfs else None)
        for file in info.siblings or ()
    )
    if not target.is_dir():
        home.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=".part-", dir=home))
        try:
            _download(model, info.sha, files, part)
            _place(part, target)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    size = sum(file.size for file in files)
    return {"model": model, "commit": info.sha, "path": str(target), "bytes": size}


def _download(model: str, commit: str, files: list[Wanted], part: Path) -> None:
    """Take the small files, look at them, then take the weights."""
    total, done, told = sum(file.size for file in files), 0, 0.0
    if shutil.disk_usage(part).free < total:
        raise ModelDownload("The model cache has no room for this model.")
    looked = False
    for file in files:
        if file.is_weights and not looked:
            _look(part)
            looked = True
        _one(model, commit, file, part)
        done += file.size
        if time.monotonic() - told > TELL_SECONDS:
            told = time.monotonic()
            say(model=model, commit=commit, bytes_done=done, bytes_total=total)
    shutil.rmtree(part / ".cache", ignore_errors=True)
    inspect_model(part)


def _look(part: Path) -> None:
    """Refuse code of the model's own before gigabytes come. The weights are looked at when they are there."""
    try:
        inspect_model(part)
    except UnsafeWeights:
        return


def _one(model: str, commit: str, file: Wanted, part: Path) -> None:
    got = Path(hf_hub_download(model, file.name, revision=commit, local_dir=part))
    if file.sha256 is not None:
        with got.open("rb") as source:
            if hashlib.file_digest(source, "sha256").hexdigest() != file.sha256:
                raise ModelDownload("A file of the model came with other bytes than the hub promised.")


def _place(part: Path, target: Path) -> None:
    part.chmod(0o755)  # mkdtemp makes it private; runs of other users read it
    try:
        part.rename(target)
    except OSError:
        if not target.is_dir():  # another worker brought it meanwhile: the same commit, the same bytes
            raise


def say(**facts: object) -> None:
    """Speak one line."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def explained(fault: Exception, model: str) -> CoreError:
    """Say in our words why nothing came."""
    match fault:
        case CoreError():
            return fault
        case GatedRepoError():
            return ModelNotAvailable(f"{model} is gated; the token it is asked for with has no access to it.")
        case RepositoryNotFoundError() | DisabledRepoError():
            return ModelNotAvailable(
                f"The hub has no model {model} that the token it is asked for with may read."
            )
        case RevisionNotFoundError():
            return ModelNotAvailable(f"The hub has no such revision of {model}.")
        case HfHubHTTPError():
            return ModelDownload(f"The hub refused with status {fault.response.status_code}.")
        case _:
            return ModelDownload(f"The hub did not give the model ({type(fault).__name__}).")


def main() -> int:
    """Fetch, and tell how it went."""
    parser = argparse.ArgumentParser(prog="worker.fetch")
    parser.add_argument("model")
    parser.add_argument("cache", type=Path)
    parser.add_argument("--revision")
    given = parser.parse_args()
    try:
        say(**fetch(given.model, given.revision, given.cache))
    except Exception as fault:
        reason = explained(fault, given.model)
        say(code=reason.code, message=str(reason), retryable=reason.retryable)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

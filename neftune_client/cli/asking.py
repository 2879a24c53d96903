"""From what was typed to a spec: file, options, dataset and model put together."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neftune_client.cli import spec_text, terminal
from neftune_client.errors import BadInput, ClientError, Refused
from neftune_client.shapes import Dataset

if TYPE_CHECKING:  # HTTP is loaded by whoever asks something
    from neftune_client.client import Client


@dataclass(frozen=True, slots=True)
class Asked:
    """The options that say what a job shall be."""

    data: str | None
    model: str | None
    name: str | None
    tags: Sequence[str]
    file: Path | None
    sets: Sequence[str]

    def spec(self) -> dict[str, Any]:
        """Join them: what is nearer to the user's fingers wins."""
        spec = spec_text.read(self.file) if self.file else {}
        if self.model is not None:
            spec["model"] = self.model
        if self.name is not None:
            spec["name"] = self.name
        if self.tags:
            spec["tags"] = [*(spec.get("tags") or ()), *self.tags]
        return spec_text.assign(spec, self.sets)


def with_model(client: "Client", spec: dict[str, Any]) -> dict[str, Any]:
    """Take the only model there is, where none is named."""
    if spec.get("model"):
        return spec
    found = client.models()
    if len(found) != 1:
        some = ": " + ", ".join(found[:10]) if found else "; none is at hand yet"
        raise BadInput(f"Name a base model with --model{some}.")
    terminal.note(f"model    {found[0]}, the only one at hand")
    return {**spec, "model": found[0]}


@contextmanager
def with_dataset(client: "Client", data: str | None, spec: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Upload what is a file; where the job is refused for good then, what was uploaded goes again.

    Where asking again may help, it stays, and how to ask without sending it twice is said.
    """
    if data is None:
        if not spec.get("dataset"):
            raise BadInput("Name the rows: a file, the id of a dataset, or `dataset` in the spec.")
        yield spec
        return
    if not is_file(data):
        yield {**spec, "dataset": data}
        return
    dataset = send(client, Path(data))
    try:
        yield {**spec, "dataset": dataset["id"]}
    except ClientError as error:
        if isinstance(error, Refused) and 400 <= error.status < 500 and error.status != 429:
            _take_back(client, dataset["id"])
        else:
            terminal.note(f"The rows are kept as {dataset['id']}: name it instead of {data} to ask again.")
        raise


def _take_back(client: "Client", dataset_id: str) -> None:
    try:
        client.delete_dataset(dataset_id)
    except ClientError:  # such as a sweep's, of which some jobs are there
        terminal.note(f"The rows are kept as {dataset_id}.")
    else:
        terminal.note("The rows that were uploaded for it are deleted again.")


def is_file(data: str) -> bool:
    """Tell a file from a dataset's id."""
    if Path(data).exists():
        return True
    if data.startswith("ds_"):
        return False
    raise BadInput(f"There is no file {data}.")


def send(client: "Client", path: Path, name: str | None = None) -> Dataset:
    """Upload a file, showing how far it is; interrupted, nothing of it is kept."""
    try:
        with terminal.progress(f"uploading {path.name}") as show:
            dataset = client.upload(path, name, show)
    except KeyboardInterrupt:
        terminal.note("\nStopped in the middle of the upload: nothing was kept.")
        raise
    terminal.note(f"dataset  {dataset['id']}, {dataset['rows']} rows, {dataset['format']}")
    for warning in dataset["warnings"]:
        terminal.note(f"  {_said(warning)}", "yellow")
    return dataset


def _said(warning: object) -> str:
    return str(warning.get("msg", warning)) if isinstance(warning, dict) else str(warning)

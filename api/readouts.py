"""Looks at a dataset before it is trained on: as the model will see it, and in tokens.

A limited child process reads the rows; here is who asks, of what, and how many may look at once. Nothing of
it runs on the event loop, and no transaction is open meanwhile.
"""

import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import anyio
import anyio.to_thread
from fastapi import APIRouter, Depends, Query, Request

from api.deps import DatasetId, Reader, problems
from api.models import Models
from api.readout_sample import Fetched, fetch
from api.readout_schemas import PreviewRead, TokensRead
from api.refusals import InvalidRequest, TooManyReadouts
from neftune_core import readout
from neftune_core.catalog import Catalog
from neftune_core.errors import ModelNotAvailable
from neftune_core.spec import MODEL_ID, TrainingSpec
from neftune_store.blobs import Blobs
from neftune_store.datasets import Dataset, DatasetLedger

router = APIRouter(prefix="/datasets/{dataset_id}", tags=["datasets"])

AT_ONCE = 2
WAITING = 8
_Read = Callable[[Fetched, Path, TrainingSpec], Mapping[str, Any]]


class ReadoutSlots:
    """How many looks this process bears: two at once, and some that wait for their turn."""

    def __init__(self) -> None:
        self._free = anyio.Semaphore(AT_ONCE)

    @contextlib.asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Hold a turn, or refuse."""
        if self._free.statistics().tasks_waiting >= WAITING:
            raise TooManyReadouts
        async with self._free:
            yield


async def visible_dataset(request: Request, who: Reader, which: DatasetId) -> Dataset:
    """Find the dataset in a transaction that is over before the look begins."""
    found: Dataset = await request.app.state.database.ask(
        lambda tx: DatasetLedger(tx).get(who.project_id, which)
    )
    return found


VisibleDataset = Annotated[Dataset, Depends(visible_dataset)]


async def training(
    template: Annotated[Literal["auto", "alpaca", "vicuna", "chat", "plain"], Query()] = "auto",
    max_length: Annotated[int, Query(ge=8, le=131_072, description="Tokens kept of an example.")] = 512,
    train_on: Annotated[Literal["response", "all"], Query()] = "response",
) -> TrainingSpec:
    """Read what of a job's training decides how rows become tokens."""
    return TrainingSpec(template=template, max_length=max_length, train_on=train_on)


Training = Annotated[TrainingSpec, Depends(training)]
ModelName = Annotated[
    str | None,
    Query(pattern=MODEL_ID, description="May be left out where exactly one model is at hand."),
]
_REFUSALS = problems(401, 404, 422, 429, 503, 507)


@router.get("/preview", summary="Show rows as the model will see them", responses=_REFUSALS)
async def preview(  # noqa: PLR0913, PLR0917 - each thing a request carries, by name
    request: Request,
    dataset: VisibleDataset,
    models: Models,
    asked: Training,
    model: ModelName = None,
    rows: Annotated[int, Query(ge=1, le=100, description="So many from the first.")] = 20,
) -> PreviewRead:
    """Show the first rows by the model's tokenizer and template, with the spans that are trained on."""
    named = named_model(models, model)
    told, _ = await look(request, dataset, named, asked, partial(_previewed, rows), first=True)
    return PreviewRead(dataset=dataset.id, model=named, max_length=asked.max_length, **told)


@router.get("/tokens", summary="Count tokens, and what alpha comes to", responses=_REFUSALS)
async def tokens(
    request: Request, dataset: VisibleDataset, models: Models, asked: Training, model: ModelName = None
) -> TokensRead:
    """Tell lengths, what is cut and what is trained, and the noise at alpha 5, 10 and 15.

    Rows are read for five seconds, of a dataset over 16 MiB at some places only; `sampled` says so.
    """
    named = named_model(models, model)
    told, how = await look(request, dataset, named, asked, counted)
    return TokensRead(
        dataset=dataset.id, model=named, max_length=asked.max_length, **scaled(told, dataset.rows, how)
    )


def _previewed(rows: int, got: Fetched, model_dir: Path, asked: TrainingSpec) -> Mapping[str, Any]:
    return readout.preview(got.sample, model_dir, asked, rows)


def counted(got: Fetched, model_dir: Path, asked: TrainingSpec) -> Mapping[str, Any]:
    """Count the tokens of what was fetched."""
    return readout.token_counts(got.sample, model_dir, asked)


def scaled(told: Mapping[str, Any], rows: int, how: str) -> dict[str, Any]:
    """Put the figures of a sample in terms of the whole dataset."""
    figures = {name: value for name, value in told.items() if name != "shape"}
    read, all_tokens, trained = (figures.pop(name) for name in ("rows_read", "tokens", "trained_tokens"))
    of_all = rows / read
    if read < rows and how == "all rows":
        how = "rows by chance, as many as were read in the time that a look has"
    figures["sampled"] = {"rows": read, "of": rows, "whole": read == rows, "how": how}
    figures["tokens_per_epoch"] = round(all_tokens * of_all)
    figures["trained_tokens_per_epoch"] = round(trained * of_all)
    return figures


def named_model(models: Catalog, model: str | None, revision: str | None = None) -> str:
    """Give the model that is meant; refuse one that a job could not name."""
    if model is None:
        cards = models.list()
        if len(cards) != 1:
            raise InvalidRequest("Say by which model: add model=<org>/<name>; GET /models lists them.")
        return cards[0].id
    models.check(model, revision)
    return model


async def look(  # noqa: PLR0913 - who looks at what, and how
    request: Request, dataset: Dataset, model: str, asked: TrainingSpec, read: _Read, *,
    first: bool = False, revision: str | None = None,
) -> tuple[Mapping[str, Any], str]:  # fmt: skip
    """Fetch what is to be read and have it read, both on a thread; tell how it was sampled."""
    state = request.app.state
    where = state.catalog.find(model, revision)
    if where is None:
        raise ModelNotAvailable("The model was not fetched yet; the first job that names it does so.")
    work = partial(_looked, state.blobs, dataset, state.settings.spool_dir, where, asked, read, first)
    async with state.readouts.one():
        return await anyio.to_thread.run_sync(work, limiter=state.readout_threads)


def _looked(  # noqa: PLR0913, PLR0917 - as above
    blobs: Blobs, dataset: Dataset, spool_dir: Path, model_dir: Path, asked: TrainingSpec, read: _Read,
    first: bool,
) -> tuple[Mapping[str, Any], str]:  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="neftune-readout-", dir=spool_dir) as folder:
        fetched = fetch(blobs, dataset, Path(folder), first_only=first)
        return read(fetched, model_dir, asked), fetched.how

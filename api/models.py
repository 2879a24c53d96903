"""Base models that jobs may name."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from api.deps import Reader, problems
from api.schemas import Listing, Schema
from neftune_core.catalog import Catalog

router = APIRouter(tags=["models"])


class ModelRead(Schema):
    """A base model."""

    id: str


async def catalog(request: Request) -> Catalog:
    """Give the models this service knows."""
    found: Catalog = request.app.state.catalog
    return found


Models = Annotated[Catalog, Depends(catalog)]


@router.get("/models", summary="List base models", responses=problems(401))
def list_models(_who: Reader, models: Models) -> Listing[ModelRead]:
    """List the base models at hand; all of them on one page."""
    return Listing(items=[ModelRead(id=card.id) for card in models.list()], next=None)

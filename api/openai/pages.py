"""Lists as this surface pages them: ``after`` is the id of the last item that the client has."""

from typing import Annotated, Any, Generic, Literal, TypeVar

from fastapi import Query

from api.schemas import Schema

T = TypeVar("T")

After = Annotated[str | None, Query(max_length=128, description="Id of the last item of the page before.")]


class OpenAIPage(Schema, Generic[T]):
    """One page."""

    object: Literal["list"] = "list"
    data: list[T]
    has_more: bool = False


class OpenAIPageBetween(OpenAIPage[T], Generic[T]):
    """One page, with the ids it begins and ends with."""

    first_id: str | None
    last_id: str | None


def between(data: list[Any], *, more: bool) -> dict[str, Any]:
    """Give the members of a page that says where it begins and ends."""
    ends = (data[0].id, data[-1].id) if data else (None, None)
    return {"data": data, "has_more": more, "first_id": ends[0], "last_id": ends[1]}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe in OpenAPI that these statuses answer with the envelope of errors."""
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/OpenAIError"}}}
    return {status: {"description": "Error", "content": content} for status in statuses}

"""Secrets: kept, replaced, forgotten, and never shown."""

import re
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from api.bodies import json_body
from api.deps import Audited, Reader, Tx, Writer, problems
from api.refusals import InvalidRequest
from api.schemas import Listing, Schema
from neftune_core.spec import KEPT_NAME
from neftune_core.spec_faults import Fault, faults_of
from neftune_store.errors import SecretNotFound
from neftune_store.secrets import Secret, SecretLedger

router = APIRouter(prefix="/secrets", tags=["secrets"])

_BAD_NAME = "It should begin with a letter, and have at most 64 letters, digits and _ . -"


class SecretSpec(BaseModel):
    """A value to keep."""

    model_config = ConfigDict(extra="forbid", strict=True)

    # Refused signs are those that no environment, header or form could carry.
    value: str = Field(
        min_length=1, max_length=8192, pattern=r"^[^\x00-\x1f\x7f]*$", description="It is not shown again."
    )


class SecretRead(Schema):
    """That there is one."""

    name: str
    created_at: datetime
    updated_at: datetime = Field(description="When its value was last put.")

    @classmethod
    def of(cls, secret: Secret) -> "SecretRead":
        """Show a secret's name."""
        return cls(name=secret.name, created_at=secret.created_at, updated_at=secret.updated_at)


async def ledger(request: Request, tx: Tx) -> SecretLedger:
    """Give the ledger of secrets."""
    return SecretLedger(tx, request.app.state.sealer)


async def asked(body: Annotated[object, Depends(json_body)]) -> SecretSpec:
    """Read the body as what it must be."""
    try:
        return SecretSpec.model_validate(body)
    except ValidationError as error:
        told = "The secret has faults; see errors for the places."
        raise InvalidRequest(told, faults_of(error, SecretSpec)) from error


Secrets = Annotated[SecretLedger, Depends(ledger, scope="function")]
Name = Annotated[str, Path(description="What specs call it.")]
_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": SecretSpec.model_json_schema()}},
    }
}


@router.get("", summary="List secrets by name", responses=problems(401))
def list_secrets(who: Reader, secrets: Secrets) -> Listing[SecretRead]:
    """List the project's secrets, without their values; all of them on one page."""
    return Listing(items=[SecretRead.of(one) for one in secrets.list(who.project_id)], next=None)


@router.put(
    "/{name}",
    summary="Keep a secret",
    openapi_extra=_BODY,
    responses={
        201: {"model": SecretRead, "description": "It is new"},
        **problems(400, 401, 403, 409, 413, 415, 422),
    },
)
def put_secret(  # noqa: PLR0913, PLR0917 - each thing a request carries, by name
    response: Response,
    who: Writer,
    audit: Audited,
    secrets: Secrets,
    name: Name,
    wanted: Annotated[SecretSpec, Depends(asked)],
) -> SecretRead:
    """Keep the value, encrypted, in the place of an earlier one of this name."""
    if not re.fullmatch(KEPT_NAME, name):
        raise InvalidRequest(
            "The name does not fit; see errors.", [Fault(("name",), "secret_name", _BAD_NAME)]
        )
    secret, is_new = secrets.put(who.project_id, name, wanted.value)
    audit.note(who.project_id, "secret.created" if is_new else "secret.replaced", name)
    response.status_code = 201 if is_new else 200
    return SecretRead.of(secret)


@router.delete("/{name}", status_code=204, summary="Forget a secret", responses=problems(401, 403, 404))
def delete_secret(who: Writer, audit: Audited, secrets: Secrets, name: Name) -> None:
    """Forget it; a job that needs it and has not fetched its model fails with ``secret_unknown``."""
    if not re.fullmatch(KEPT_NAME, name):
        raise SecretNotFound
    secrets.delete(who.project_id, name)
    audit.note(who.project_id, "secret.deleted", name)

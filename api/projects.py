"""Projects and their quotas: made and changed by the operator, looked at by their own admins."""

from datetime import datetime
from typing import Annotated, Any, Self

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field, field_validator

from api.bodies import body_as, described
from api.deps import PLAIN, Audited, Cursor, Limit, Operator, Overseer, Tx, overseen, problems
from api.schemas import Listing, Schema
from neftune_store.ids import is_id
from neftune_store.projects import Project, ProjectLedger

router = APIRouter(prefix="/projects", tags=["projects"])

_MOST_BYTES = 2**62


class QuotasSpec(BaseModel):
    """Bounds to set; null sets one back to the default, and what is left out stays."""

    model_config = ConfigDict(extra="forbid", strict=True)

    queued_jobs: int | None = Field(
        None, ge=0, le=1_000_000, description="Jobs that may wait; null: QUEUE_LIMIT."
    )
    running_jobs: int | None = Field(
        None, ge=0, le=100_000, description="Jobs that may run at once, one GPU each; null: no bound."
    )
    stored_bytes: int | None = Field(
        None, ge=0, le=_MOST_BYTES, description="Bytes of datasets and artifacts together; null: no bound."
    )

    def given(self) -> dict[str, int | None]:
        """Give what was named."""
        return self.model_dump(exclude_unset=True)


def _name_of_a_project(name: str) -> str:
    if name != name.strip():
        raise ValueError("must not begin or end with spaces")
    if is_id("prj", name):  # one would be chosen for the other
        raise ValueError("must not look like the id of a project")
    return name


class ProjectSpec(BaseModel):
    """A new project."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field(min_length=1, max_length=120, pattern=PLAIN, description="Nobody else's.")
    quotas: QuotasSpec = QuotasSpec()

    _sound = field_validator("name")(_name_of_a_project)


class ProjectChange(BaseModel):
    """What shall be otherwise."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field("", min_length=1, max_length=120, pattern=PLAIN, description="Left out: it stays.")
    quotas: QuotasSpec = QuotasSpec()

    _sound = field_validator("name")(_name_of_a_project)


class QuotasRead(Schema):
    """How much a project may have; null: the default of queued jobs, and no bound on the others."""

    queued_jobs: int | None
    running_jobs: int | None
    stored_bytes: int | None


class ProjectRead(Schema):
    """Who owns rows."""

    id: str
    name: str
    quotas: QuotasRead
    created_at: datetime

    @classmethod
    def of(cls, project: Project) -> Self:
        """Show a project."""
        quotas = project.quotas
        shown = QuotasRead(
            queued_jobs=quotas.queued_jobs,
            running_jobs=quotas.running_jobs,
            stored_bytes=quotas.stored_bytes,
        )
        return cls(id=project.id, name=project.name, quotas=shown, created_at=project.created_at)


@router.get("", summary="List projects", responses=problems(401, 403, 422))
def list_projects(who: Overseer, tx: Tx, cursor: Cursor = None, limit: Limit = 50) -> Listing[ProjectRead]:
    """List all projects for the operator, newest first; for anybody else their own."""
    projects = ProjectLedger(tx)
    if (own := overseen(who)) is not None:
        return Listing(items=[ProjectRead.of(projects.get(own))], next=None)
    page = projects.page(cursor, limit)
    return Listing(items=[ProjectRead.of(one) for one in page.items], next=page.next)


@router.post(
    "",
    status_code=201,
    summary="Make a project",
    openapi_extra=described(ProjectSpec),
    responses=problems(400, 401, 403, 409, 413, 415, 422),
)
def make_project(
    response: Response,
    _who: Operator,
    tx: Tx,
    audit: Audited,
    wanted: Annotated[ProjectSpec, Depends(body_as(ProjectSpec))],
) -> ProjectRead:
    """Make a project. It has no key yet: make one with its id in the header Neftune-Project."""
    project = ProjectLedger(tx).add(wanted.name, wanted.quotas.given())
    audit.note(project.id, "project.created", project.id, quotas=wanted.quotas.given())
    response.headers["location"] = f"/projects/{project.id}"
    return ProjectRead.of(project)


@router.get("/{project_id}", summary="Look at a project", responses=problems(401, 403, 404))
def get_project(who: Overseer, tx: Tx, project_id: str) -> ProjectRead:
    """Tell a project's quotas, to the operator or to its own admin."""
    own = None if who.is_operator else who.project_id
    return ProjectRead.of(ProjectLedger(tx).get(project_id, seen_from=own))


@router.patch(
    "/{project_id}",
    summary="Change a project",
    openapi_extra=described(ProjectChange),
    responses=problems(400, 401, 403, 404, 409, 413, 415, 422),
)
def change_project(
    _who: Operator,
    tx: Tx,
    audit: Audited,
    project_id: str,
    wanted: Annotated[ProjectChange, Depends(body_as(ProjectChange))],
) -> ProjectRead:
    """Rename a project or change its quotas; what is there already stays, only more is refused."""
    quotas = wanted.quotas.given()
    project = ProjectLedger(tx).change(project_id, wanted.name or None, quotas)
    said: dict[str, Any] = {"quotas": quotas, **({"renamed": True} if wanted.name else {})}
    audit.note(project.id, "project.changed", project.id, **said)
    return ProjectRead.of(project)

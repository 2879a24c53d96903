"""What clients of OpenAI's API know and this service does not serve: told as such, and never tried again."""

from fastapi import APIRouter

from api.deps import Reader, Writer
from api.openai.envelope import ROOT
from api.openai.pages import refusals
from api.refusals import NotBuilt

router = APIRouter(prefix=f"{ROOT}/fine_tuning", tags=["openai"])

_TOLD = "Not served"
_ANSWERS = refusals(401, 403, 501)


@router.get("/checkpoints/{model:path}/permissions", status_code=501, summary=_TOLD, responses=_ANSWERS)
def list_permissions(_who: Reader) -> None:
    """Models belong to one project and are not shared."""
    raise NotBuilt


@router.post("/checkpoints/{model:path}/permissions", status_code=501, summary=_TOLD, responses=_ANSWERS)
def create_permissions(_who: Writer) -> None:
    """Models belong to one project and are not shared."""
    raise NotBuilt


@router.delete(
    "/checkpoints/{model:path}/permissions/{permission}", status_code=501, summary=_TOLD, responses=_ANSWERS
)
def delete_permission(_who: Writer) -> None:
    """Models belong to one project and are not shared."""
    raise NotBuilt


@router.post("/alpha/graders/run", status_code=501, summary=_TOLD, responses=_ANSWERS)
def run_grader(_who: Writer) -> None:
    """Graders belong to reinforcement, which is not served."""
    raise NotBuilt


@router.post("/alpha/graders/validate", status_code=501, summary=_TOLD, responses=_ANSWERS)
def validate_grader(_who: Writer) -> None:
    """Graders belong to reinforcement, which is not served."""
    raise NotBuilt

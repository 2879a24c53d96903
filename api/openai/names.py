"""Names of tuned models: ``ft:<base>:<organization>:<suffix>:<8 characters>``, made of the job alone.

The last eight characters are those of the job's id, so a name finds its job without a table of names. A
checkpoint has its step behind the name. Knows names, and asks nobody whether there is such a model.
"""

import re
from dataclasses import dataclass

from neftune_store.jobs import Job

_SUFFIX = 40
_NAME = re.compile(
    r"(?P<model>ft:[^:]{1,200}:[^:]{1,64}:[^:]{0,64}:(?P<tail>[0-9a-z]{8}))(?::ckpt-step-(?P<step>[1-9][0-9]{0,17}))?"
)


@dataclass(frozen=True, slots=True)
class Tuned:
    """A name, taken apart."""

    model: str
    tail: str
    step: int | None


def organization(project_id: str) -> str:
    """Name a project as this surface names an organization."""
    return f"org-{project_id.partition('_')[2]}"


def tuned_model(job: Job) -> str:
    """Name what a job makes."""
    owner = f"org-{job.project_id[-8:]}"
    return f"ft:{job.model}:{owner}:{_slug(job.name)}:{job.id[-8:]}"


def tuned_checkpoint(job: Job, step: int) -> str:
    """Name one of its checkpoints."""
    return f"{tuned_model(job)}:ckpt-step-{step}"


def taken_apart(name: str) -> Tuned | None:
    """Read a name; what is none belongs to no job."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    return Tuned(match["model"], match["tail"], int(match["step"]) if match["step"] else None)


def _slug(name: str | None) -> str:
    return re.sub(r"[^a-z0-9]+", "-", (name or "").lower()).strip("-")[:_SUFFIX].rstrip("-")

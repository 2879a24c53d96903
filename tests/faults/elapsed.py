"""How long a fault went unnoticed: from its moment to the moment at which its effect was written down."""

from pathlib import Path

from sqlalchemy import text

from neftune_store.job import Job
from tests.worker_house import House


def lost_after(house: House, job: Job, fault: float) -> float:
    """Seconds from a fault, a time of the epoch, to the first run that was found lost after it."""
    asked = text(
        "SELECT extract(epoch FROM min(created_at)) FROM events"
        " WHERE job_id = :job AND name = 'run.lost' AND created_at >= to_timestamp(:fault)"
    )
    with house.engine.connect() as connection:
        return round(float(connection.scalar(asked, {"job": job.id, "fault": fault})) - fault, 2)


def hurt_at(folder: str | Path) -> float:
    """Give the moment at which a failpoint acted, by the file it left in ``FAILPOINTS_ONCE``."""
    return max(path.stat().st_mtime for path in Path(folder).iterdir())

"""Checkpoints that are let go, found damaged, or taken over by a retry.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# A retry begins where the job it repeats was last saved; every other job at the beginning.
_BEGINS_AT_ZERO = "OR NEW.committed_step <> 0 OR NEW.crashes <> 0"
_MAY_TAKE_OVER = "OR (NEW.committed_step <> 0 AND NEW.retry_of IS NULL) OR NEW.crashes <> 0"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.add_column("checkpoints", sa.Column("dropped_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("checkpoints", sa.Column("dropped_why", sa.Text(), nullable=True))
    op.create_check_constraint(
        op.f("ck_checkpoints_dropped"),
        "checkpoints",
        "(dropped_at IS NULL) = (dropped_why IS NULL) AND dropped_why IN ('old', 'corrupt', 'expired')",
    )
    op.create_index(
        "ix_checkpoints_job_id_step",
        "checkpoints",
        ["job_id", sa.text("step DESC")],
        unique=False,
        postgresql_where=sa.text("dropped_at IS NULL"),
    )
    _change_guard(_BEGINS_AT_ZERO, _MAY_TAKE_OVER)
    # The first few of each project, so that a claim sorts no deep queue.
    op.create_index(
        "ix_jobs_queued_project_id_first",
        "jobs",
        ["project_id", sa.text("priority DESC"), "created_at", "id"],
        unique=False,
        postgresql_where=sa.text("status = 'queued'"),
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.drop_index("ix_jobs_queued_project_id_first", "jobs")
    _change_guard(_MAY_TAKE_OVER, _BEGINS_AT_ZERO)
    op.drop_index("ix_checkpoints_job_id_step", "checkpoints")
    op.drop_constraint(op.f("ck_checkpoints_dropped"), "checkpoints")
    op.drop_column("checkpoints", "dropped_why")
    op.drop_column("checkpoints", "dropped_at")


def _change_guard(before: str, after: str) -> None:
    """Replace one condition in the trigger's function, as it stands in the database."""
    found = op.get_bind().scalar(sa.text("SELECT pg_get_functiondef('jobs_guard'::regproc)"))
    if before not in found:
        raise RuntimeError("jobs_guard is not as the first migration made it")
    op.get_bind().exec_driver_sql(found.replace(before, after).replace("%", "%%"))

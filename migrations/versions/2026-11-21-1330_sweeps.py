"""Series of jobs: what was asked, which jobs are whose, and where jobs of a halving series wait.

Revision ID: 0013
Revises: 0012
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_NOW = sa.text("clock_timestamp()")

SWEEP_GUARD = """
CREATE FUNCTION jobs_sweep_guard() RETURNS trigger LANGUAGE plpgsql AS $guard$
BEGIN
    IF NEW.sweep_id IS DISTINCT FROM OLD.sweep_id THEN
        RAISE EXCEPTION 'what was asked never changes' USING ERRCODE = 'JB004';
    END IF;
    RETURN NEW;
END
$guard$
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.create_table(
        "sweeps",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("spec", JSONB(), nullable=False),
        sa.Column("rungs", JSONB(), server_default=sa.text("'[]'::jsonb"), nullable=False),
        sa.Column("intent", sa.Text(), server_default="run", nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("body_sha256", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.CheckConstraint("intent IN ('run', 'pause', 'cancel')", name=op.f("ck_sweeps_intent")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_sweeps_project_id_projects"),
        sa.PrimaryKeyConstraint("id", name="pk_sweeps"),
        sa.UniqueConstraint("project_id", "idempotency_key", name="uq_sweeps_project_id_idempotency_key"),
    )
    newest = [sa.text("created_at DESC"), sa.text("id DESC")]
    op.create_index("ix_sweeps_project_id_created_at_id", "sweeps", ["project_id", *newest], unique=False)
    op.add_column("jobs", sa.Column("sweep_id", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("cancel_reason", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("hold_at", sa.Double(), nullable=True))
    op.add_column("jobs", sa.Column("held_step", sa.BigInteger(), nullable=True))
    op.add_column("jobs", sa.Column("held_loss", sa.Double(), nullable=True))
    op.create_foreign_key("fk_jobs_sweep_id_sweeps", "jobs", "sweeps", ["sweep_id"], ["id"])
    op.create_index(
        "ix_jobs_sweep_id",
        "jobs",
        ["sweep_id", "created_at"],
        unique=False,
        postgresql_where=sa.text("sweep_id IS NOT NULL"),
    )
    _guard_sweeps()


def _guard_sweeps() -> None:
    op.execute(SWEEP_GUARD)
    op.execute(
        "CREATE TRIGGER jobs_sweep_guard BEFORE UPDATE OF sweep_id ON jobs"
        " FOR EACH ROW EXECUTE FUNCTION jobs_sweep_guard()"
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.execute("DROP TRIGGER jobs_sweep_guard ON jobs")
    op.execute("DROP FUNCTION jobs_sweep_guard()")
    op.drop_index("ix_jobs_sweep_id", table_name="jobs")
    op.drop_constraint("fk_jobs_sweep_id_sweeps", "jobs")
    for column in ("held_loss", "held_step", "hold_at", "cancel_reason", "sweep_id"):
        op.drop_column("jobs", column)
    op.drop_index("ix_sweeps_project_id_created_at_id", table_name="sweeps")
    op.drop_table("sweeps")

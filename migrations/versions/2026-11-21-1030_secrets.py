"""Secrets, what a run prints while it goes on, and jobs that are about another job.

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_NOW = sa.text("clock_timestamp()")

SUBJECT_GUARD = """
CREATE FUNCTION jobs_subject_guard() RETURNS trigger LANGUAGE plpgsql AS $guard$
BEGIN
    IF (NEW.of_job, NEW.options) IS DISTINCT FROM (OLD.of_job, OLD.options) THEN
        RAISE EXCEPTION 'what was asked never changes' USING ERRCODE = 'JB004';
    END IF;
    RETURN NEW;
END
$guard$
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.create_table(
        "secrets",
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_secrets_project_id_projects"),
        sa.PrimaryKeyConstraint("project_id", "name", name="pk_secrets"),
    )
    op.create_table(
        "log_parts",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("fence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("said", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_log_parts_job_id_jobs"),
        sa.PrimaryKeyConstraint("job_id", "fence", "number", name="pk_log_parts"),
    )
    op.add_column("jobs", sa.Column("of_job", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("options", JSONB(), nullable=True))
    op.create_foreign_key("fk_jobs_of_job_jobs", "jobs", "jobs", ["of_job"], ["id"])
    op.create_check_constraint(op.f("ck_jobs_of_job"), "jobs", "(kind = 'train') = (of_job IS NULL)")
    op.create_index(
        "ix_jobs_of_job", "jobs", ["of_job"], unique=False, postgresql_where=sa.text("of_job IS NOT NULL")
    )
    op.create_index(
        "uq_jobs_export",
        "jobs",
        ["of_job", sa.text("(options ->> 'kind')")],
        unique=True,
        postgresql_where=sa.text(
            "kind = 'export' AND status NOT IN ('failed', 'cancelled') AND deleted_at IS NULL"
        ),
    )
    _guard_subjects()


def _guard_subjects() -> None:
    op.execute(SUBJECT_GUARD)
    op.execute(
        "CREATE TRIGGER jobs_subject_guard BEFORE UPDATE OF of_job, options ON jobs"
        " FOR EACH ROW EXECUTE FUNCTION jobs_subject_guard()"
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.execute("DROP TRIGGER jobs_subject_guard ON jobs")
    op.execute("DROP FUNCTION jobs_subject_guard()")
    op.drop_index("uq_jobs_export", table_name="jobs")
    op.drop_index("ix_jobs_of_job", table_name="jobs")
    op.drop_constraint(op.f("ck_jobs_of_job"), "jobs")
    op.drop_column("jobs", "options")
    op.drop_column("jobs", "of_job")
    op.drop_table("log_parts")
    op.drop_table("secrets")

"""Uploads with faults, creations that a client repeats, and tuned models found by their names.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_NOW = sa.text("clock_timestamp()")


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.create_table(
        "faulty_files",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("report", JSONB(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_faulty_files_project_id_projects"),
        sa.PrimaryKeyConstraint("id", name="pk_faulty_files"),
    )
    op.create_index(
        "ix_faulty_files_project_id_created_at_id",
        "faulty_files",
        ["project_id", sa.text("created_at DESC"), sa.text("id DESC")],
        unique=False,
    )
    op.create_table(
        "recent_bodies",
        sa.Column("api_key_id", sa.Text(), nullable=False),
        sa.Column("body_sha256", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.ForeignKeyConstraint(["api_key_id"], ["api_keys.id"], name="fk_recent_bodies_api_key_id_api_keys"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_recent_bodies_job_id_jobs"),
        sa.PrimaryKeyConstraint("api_key_id", "body_sha256", name="pk_recent_bodies"),
    )
    op.create_index("ix_jobs_project_id_tail", "jobs", ["project_id", sa.text("right(id, 8)")], unique=False)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.drop_index("ix_jobs_project_id_tail", table_name="jobs")
    op.drop_table("recent_bodies")
    op.drop_table("faulty_files")

"""Indexes for lists of jobs by what hardly any of them has, and for the spans of all curves of a job.

Revision ID: 0010
Revises: 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_NEWEST = [sa.text("created_at DESC"), sa.text("id DESC")]


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.create_index("ix_jobs_project_id_status", "jobs", ["project_id", "status", *_NEWEST], unique=False)
    op.create_index("ix_jobs_project_id_model", "jobs", ["project_id", "model", *_NEWEST], unique=False)
    op.create_index("ix_jobs_project_id_alpha", "jobs", ["project_id", "alpha"], unique=False)
    op.create_index(
        "ix_jobs_tags",
        "jobs",
        [sa.literal_column("(spec -> 'tags')").label("held")],
        unique=False,
        postgresql_ops={"held": "jsonb_path_ops"},
        postgresql_using="gin",
        postgresql_with={"fastupdate": "off"},
    )
    op.create_index(
        "ix_jobs_metadata",
        "jobs",
        [sa.literal_column("(spec -> 'metadata')").label("held")],
        unique=False,
        postgresql_ops={"held": "jsonb_path_ops"},
        postgresql_using="gin",
        postgresql_with={"fastupdate": "off"},
    )
    op.create_index(
        "ix_metric_spans_job_id_width_span", "metric_spans", ["job_id", "width", "span"], unique=False
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.drop_index("ix_metric_spans_job_id_width_span", table_name="metric_spans")
    op.drop_index("ix_jobs_metadata", table_name="jobs")
    op.drop_index("ix_jobs_tags", table_name="jobs")
    op.drop_index("ix_jobs_project_id_alpha", table_name="jobs")
    op.drop_index("ix_jobs_project_id_model", table_name="jobs")
    op.drop_index("ix_jobs_project_id_status", table_name="jobs")

"""Spans of curves: the smallest and largest value of 64, 128, 256 … steps, and how far they reach.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.create_table(
        "metric_spans",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("width", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("span", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("low", sa.Double(), nullable=False),
        sa.Column("low_step", sa.BigInteger(), nullable=False),
        sa.Column("high", sa.Double(), nullable=False),
        sa.Column("high_step", sa.BigInteger(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "width", "key", "span", name="pk_metric_spans"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_metric_spans_job_id_jobs"),
    )
    op.add_column("jobs", sa.Column("spans_until", sa.BigInteger(), server_default="0", nullable=False))


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.drop_column("jobs", "spans_until")
    op.drop_table("metric_spans")

"""What a job reads beside its own rows: other datasets, weights that were saved, what another job has left.

Revision ID: 0014
Revises: 0013
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.create_table(
        "job_inputs",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("dataset_id", sa.Text(), nullable=True),
        sa.Column("of_job", sa.Text(), nullable=True),
        sa.Column("weights", JSONB(), nullable=True),
        sa.CheckConstraint(
            "(dataset_id IS NULL) = (weights IS NOT NULL) AND (weights IS NULL) = (of_job IS NULL)",
            name=op.f("ck_job_inputs_one"),
        ),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_job_inputs_job_id_jobs"),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name="fk_job_inputs_dataset_id_datasets"),
        sa.ForeignKeyConstraint(["of_job"], ["jobs.id"], name="fk_job_inputs_of_job_jobs"),
        sa.PrimaryKeyConstraint("job_id", "place", name="pk_job_inputs"),
    )
    for column in ("dataset_id", "of_job"):
        op.create_index(
            f"ix_job_inputs_{column}",
            "job_inputs",
            [column],
            unique=False,
            postgresql_where=sa.text(f"{column} IS NOT NULL"),
        )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.drop_table("job_inputs")

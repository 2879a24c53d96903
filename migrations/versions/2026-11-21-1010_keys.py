"""Keys that end and are known to be used, quotas of projects, logins of browsers, and who changed what.

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_NOW = sa.text("clock_timestamp()")


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.add_column("api_keys", sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("api_keys", sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("projects", sa.Column("max_queued", sa.Integer(), nullable=True))
    op.add_column("projects", sa.Column("max_running", sa.Integer(), nullable=True))
    op.add_column("projects", sa.Column("max_bytes", sa.BigInteger(), nullable=True))
    op.create_check_constraint(
        op.f("ck_projects_quotas"), "projects", "max_queued >= 0 AND max_running >= 0 AND max_bytes >= 0"
    )
    op.create_table(
        "logins",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("api_key_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name=op.f("ck_logins_sha256")),
        sa.ForeignKeyConstraint(["api_key_id"], ["api_keys.id"], name="fk_logins_api_key_id_api_keys"),
        sa.PrimaryKeyConstraint("id", name="pk_logins"),
        sa.UniqueConstraint("sha256", name="uq_logins_sha256"),
    )
    op.create_index("ix_logins_api_key_id_created_at", "logins", ["api_key_id", "created_at"], unique=False)
    op.create_table(
        "audit_events",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=True),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=True),
        sa.Column("data", JSONB(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_events"),
    )
    op.create_index(
        "ix_audit_events_created_at_id",
        "audit_events",
        [sa.text("created_at DESC"), sa.text("id DESC")],
        unique=False,
    )
    op.create_index(
        "ix_audit_events_project_id_created_at_id",
        "audit_events",
        ["project_id", sa.text("created_at DESC"), sa.text("id DESC")],
        unique=False,
    )
    op.execute(
        """
        CREATE FUNCTION audit_guard() RETURNS trigger LANGUAGE plpgsql AS $guard$
        BEGIN
            RAISE EXCEPTION 'what was done stays written down' USING ERRCODE = 'JB016';
        END
        $guard$
        """
    )
    op.execute(
        "CREATE TRIGGER audit_guard BEFORE UPDATE OR DELETE ON audit_events"
        " FOR EACH ROW EXECUTE FUNCTION audit_guard()"
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.drop_table("audit_events")
    op.execute("DROP FUNCTION audit_guard()")
    op.drop_table("logins")
    op.drop_constraint(op.f("ck_projects_quotas"), "projects")
    op.drop_column("projects", "max_bytes")
    op.drop_column("projects", "max_running")
    op.drop_column("projects", "max_queued")
    op.drop_column("api_keys", "last_used_at")
    op.drop_column("api_keys", "expires_at")

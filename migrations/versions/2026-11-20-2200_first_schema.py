"""The first schema: projects, keys, datasets, jobs, and what runs leave behind.

The trigger on jobs is the table of moves inside the database: whoever connects, by whatever program, a
job can only move as `neftune_store.lifecycle` says. Its refusals carry SQLSTATE class JB.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

JOBS_GUARD = """
CREATE FUNCTION jobs_guard() RETURNS trigger LANGUAGE plpgsql AS $guard$
DECLARE
    claimed boolean;
    moved boolean;
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF OLD.status NOT IN ('succeeded', 'failed', 'cancelled') THEN
            RAISE EXCEPTION 'a job that has not ended cannot be removed' USING ERRCODE = 'JB001';
        END IF;
        RETURN OLD;
    END IF;
    IF TG_OP = 'INSERT' THEN
        IF NEW.status <> 'queued' OR NEW.intent <> 'run' OR NEW.fence <> 0 OR NEW.attempt <> 0
           OR NEW.committed_step <> 0 OR NEW.crashes <> 0 OR NEW.deleted_at IS NOT NULL THEN
            RAISE EXCEPTION 'a job begins queued, wanted and never run' USING ERRCODE = 'JB002';
        END IF;
        RETURN NEW;
    END IF;
    IF OLD.status IN ('succeeded', 'failed', 'cancelled') THEN
        IF to_jsonb(NEW) - 'deleted_at' IS DISTINCT FROM to_jsonb(OLD) - 'deleted_at' THEN
            RAISE EXCEPTION 'the job has ended (%), and an ended job never changes', OLD.status
                USING ERRCODE = 'JB003';
        END IF;
        RETURN NEW;
    END IF;
    IF NEW.deleted_at IS NOT NULL THEN
        RAISE EXCEPTION 'a job that has not ended cannot be deleted' USING ERRCODE = 'JB001';
    END IF;

    IF (NEW.id, NEW.project_id, NEW.kind, NEW.name, NEW.model, NEW.alpha, NEW.tags, NEW.priority,
        NEW.spec, NEW.spec_sha256, NEW.dataset_id, NEW.validation_dataset_id, NEW.retry_of, NEW.clone_of,
        NEW.created_at) IS DISTINCT FROM
       (OLD.id, OLD.project_id, OLD.kind, OLD.name, OLD.model, OLD.alpha, OLD.tags, OLD.priority,
        OLD.spec, OLD.spec_sha256, OLD.dataset_id, OLD.validation_dataset_id, OLD.retry_of, OLD.clone_of,
        OLD.created_at) THEN
        RAISE EXCEPTION 'what was asked never changes' USING ERRCODE = 'JB004';
    END IF;
    moved := NEW.status <> OLD.status;
    claimed := OLD.status = 'queued' AND NEW.status = 'running';

    IF NEW.fence <> OLD.fence + claimed::int OR NEW.attempt <> OLD.attempt + claimed::int THEN
        RAISE EXCEPTION 'fence and attempt rise by one with each claim, only then' USING ERRCODE = 'JB005';
    END IF;
    IF NEW.committed_step < OLD.committed_step OR NEW.last_seq < OLD.last_seq THEN
        RAISE EXCEPTION 'committed_step and last_seq never fall' USING ERRCODE = 'JB006';
    END IF;
    IF NEW.committed_step > OLD.committed_step AND (moved OR OLD.status <> 'running') THEN
        RAISE EXCEPTION 'only a running job commits steps' USING ERRCODE = 'JB006';
    END IF;
    IF OLD.status = 'running' AND NEW.status = 'running' AND NEW.lease_owner IS DISTINCT FROM OLD.lease_owner
    THEN
        RAISE EXCEPTION 'a lease changes hands only through a claim' USING ERRCODE = 'JB007';
    END IF;

    IF moved AND NOT (
        OLD.status = 'queued' AND NEW.status IN ('running', 'paused', 'cancelled', 'failed')
        OR OLD.status = 'running' AND NEW.status IN ('queued', 'paused', 'succeeded', 'failed', 'cancelled')
        OR OLD.status = 'paused' AND NEW.status IN ('queued', 'cancelled')
    ) THEN
        RAISE EXCEPTION 'a job cannot move from % to %', OLD.status, NEW.status USING ERRCODE = 'JB008';
    END IF;
    IF NEW.intent <> OLD.intent AND OLD.intent = 'cancel' THEN
        RAISE EXCEPTION 'a cancel cannot be taken back' USING ERRCODE = 'JB009';
    END IF;
    IF (NEW.status IN ('queued', 'succeeded') AND NEW.intent <> 'run')
       OR (claimed AND NEW.intent <> 'run')
       OR (NEW.status = 'paused' AND NEW.intent <> 'pause')
       OR (NEW.status = 'cancelled' AND NEW.intent <> 'cancel') THEN
        RAISE EXCEPTION 'a job with the intent % cannot be %', NEW.intent, NEW.status USING ERRCODE = 'JB010';
    END IF;

    IF claimed AND (OLD.run_after > clock_timestamp()
                    OR coalesce(NEW.lease_expires_at, '-infinity') <= clock_timestamp()) THEN
        RAISE EXCEPTION 'a claim waits for run_after and brings a lease' USING ERRCODE = 'JB011';
    END IF;
    IF moved AND NEW.status = 'succeeded' AND (OLD.lease_expires_at <= clock_timestamp()
        OR NOT EXISTS (SELECT FROM results
                       WHERE id = NEW.result_id AND job_id = NEW.id AND fence = NEW.fence)) THEN
        RAISE EXCEPTION 'success needs a living lease and this run''s result' USING ERRCODE = 'JB012';
    END IF;
    IF OLD.status = 'queued' AND NEW.status = 'failed' AND NEW.crashes < 3 THEN
        RAISE EXCEPTION 'a queued job fails only after three crashes' USING ERRCODE = 'JB013';
    END IF;
    RETURN NEW;
END
$guard$
"""

DATASETS_GUARD = """
CREATE FUNCTION datasets_guard() RETURNS trigger LANGUAGE plpgsql AS $guard$
BEGIN
    IF to_jsonb(NEW) - 'deleted_at' IS DISTINCT FROM to_jsonb(OLD) - 'deleted_at'
       OR (OLD.deleted_at IS NOT NULL AND NEW.deleted_at IS DISTINCT FROM OLD.deleted_at) THEN
        RAISE EXCEPTION 'a dataset is sealed: it never changes' USING ERRCODE = 'JB014';
    END IF;
    RETURN NEW;
END
$guard$
"""


def upgrade() -> None:
    # Waiting for a lock holds up everyone behind it: give up early and try again instead.
    op.execute("SET LOCAL lock_timeout = '3s'")

    op.create_table(
        "projects",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("served_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_projects"),
        sa.UniqueConstraint("name", name="uq_projects_name"),
    )

    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("scopes", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name=op.f("ck_api_keys_sha256")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_api_keys_project_id_projects"),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.UniqueConstraint("sha256", name="uq_api_keys_sha256"),
    )
    op.create_index("ix_api_keys_project_id", "api_keys", ["project_id"], unique=False)

    op.create_table(
        "datasets",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("blob_key", sa.Text(), nullable=False),
        sa.Column("stats", JSONB(), nullable=False),
        sa.Column("warnings", JSONB(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name=op.f("ck_datasets_sha256")),
        sa.CheckConstraint("rows > 0 AND bytes > 0", name=op.f("ck_datasets_not_empty")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_datasets_project_id_projects"),
        sa.PrimaryKeyConstraint("id", name="pk_datasets"),
    )
    op.create_index("ix_datasets_blob_key", "datasets", ["blob_key"], unique=False)
    op.create_index(
        "ix_datasets_project_id_created_at_id",
        "datasets",
        ["project_id", sa.text("created_at DESC"), sa.text("id DESC")],
        unique=False,
    )

    op.create_table(
        "jobs",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), server_default="train", nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("alpha", sa.Double(), nullable=False),
        sa.Column("tags", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("priority", sa.Integer(), server_default="0", nullable=False),
        sa.Column("spec", JSONB(), nullable=False),
        sa.Column("spec_sha256", sa.Text(), nullable=False),
        sa.Column("dataset_id", sa.Text(), nullable=False),
        sa.Column("validation_dataset_id", sa.Text(), nullable=True),
        sa.Column("retry_of", sa.Text(), nullable=True),
        sa.Column("clone_of", sa.Text(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("intent", sa.Text(), server_default="run", nullable=False),
        sa.Column("status", sa.Text(), server_default="queued", nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("fence", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("lease_owner", sa.Text(), nullable=True),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("run_after", sa.DateTime(timezone=True), nullable=True),
        sa.Column("crashes", sa.Integer(), server_default="0", nullable=False),
        sa.Column("infra_errors", sa.Integer(), server_default="0", nullable=False),
        sa.Column("drains", sa.Integer(), server_default="0", nullable=False),
        sa.Column("resolved", JSONB(), nullable=True),
        sa.Column("progress", JSONB(), nullable=True),
        sa.Column("metrics_summary", JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("committed_step", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("live_step", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("progress_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ckpt_id", sa.Text(), nullable=True),
        sa.Column("last_seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("result_id", sa.Text(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("error_retryable", sa.Boolean(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(status = 'failed') = (error_code IS NOT NULL)", name=op.f("ck_jobs_error")),
        sa.CheckConstraint(
            "(status = 'running') = (lease_owner IS NOT NULL AND lease_expires_at IS NOT NULL)",
            name=op.f("ck_jobs_lease"),
        ),
        sa.CheckConstraint("(status = 'succeeded') = (result_id IS NOT NULL)", name=op.f("ck_jobs_result")),
        sa.CheckConstraint(
            "(status IN ('cancelled', 'failed', 'succeeded')) = (finished_at IS NOT NULL)",
            name=op.f("ck_jobs_finished"),
        ),
        sa.CheckConstraint("intent IN ('run', 'pause', 'cancel')", name=op.f("ck_jobs_intent")),
        sa.CheckConstraint("jsonb_typeof(spec) = 'object'", name=op.f("ck_jobs_spec")),
        sa.CheckConstraint("kind IN ('train', 'evaluate', 'export')", name=op.f("ck_jobs_kind")),
        sa.CheckConstraint(
            "status IN ('queued', 'running', 'paused', 'succeeded', 'failed', 'cancelled')",
            name=op.f("ck_jobs_status"),
        ),
        sa.CheckConstraint(
            "(lease_owner IS NULL) = (lease_expires_at IS NULL)", name=op.f("ck_jobs_lease_whole")
        ),
        sa.CheckConstraint("alpha >= 0 AND alpha <= 100", name=op.f("ck_jobs_alpha")),
        sa.ForeignKeyConstraint(["clone_of"], ["jobs.id"], name="fk_jobs_clone_of_jobs"),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name="fk_jobs_dataset_id_datasets"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_jobs_project_id_projects"),
        sa.ForeignKeyConstraint(["retry_of"], ["jobs.id"], name="fk_jobs_retry_of_jobs"),
        sa.ForeignKeyConstraint(
            ["validation_dataset_id"], ["datasets.id"], name="fk_jobs_validation_dataset_id_datasets"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
        postgresql_with={"fillfactor": 70},
    )
    op.create_index("ix_jobs_dataset_id", "jobs", ["dataset_id"], unique=False)
    op.create_index(
        "ix_jobs_project_id_created_at_id",
        "jobs",
        ["project_id", sa.text("created_at DESC"), sa.text("id DESC")],
        unique=False,
    )
    op.create_index(
        "ix_jobs_queued",
        "jobs",
        [sa.text("priority DESC"), "created_at", "id"],
        unique=False,
        postgresql_where=sa.text("status = 'queued'"),
    )
    op.create_index(
        "ix_jobs_queued_project_id",
        "jobs",
        ["project_id"],
        unique=False,
        postgresql_where=sa.text("status = 'queued'"),
    )
    op.create_index(
        "ix_jobs_running_project_id",
        "jobs",
        ["project_id"],
        unique=False,
        postgresql_where=sa.text("status = 'running'"),
    )
    op.create_index(
        "ix_jobs_validation_dataset_id",
        "jobs",
        ["validation_dataset_id"],
        unique=False,
        postgresql_where=sa.text("validation_dataset_id IS NOT NULL"),
    )

    op.create_table(
        "artifacts",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("blob_key", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name=op.f("ck_artifacts_sha256")),
        sa.CheckConstraint("bytes >= 0", name=op.f("ck_artifacts_bytes")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_artifacts_job_id_jobs"),
        sa.PrimaryKeyConstraint("id", name="pk_artifacts"),
        sa.UniqueConstraint("job_id", "name", name="uq_artifacts_job_id_name"),
    )
    op.create_index("ix_artifacts_blob_key", "artifacts", ["blob_key"], unique=False)

    op.create_table(
        "checkpoints",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("manifest", JSONB(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint("step > 0", name=op.f("ck_checkpoints_step")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_checkpoints_job_id_jobs"),
        sa.PrimaryKeyConstraint("id", name="pk_checkpoints"),
        sa.UniqueConstraint("job_id", "step", "fence", name="uq_checkpoints_job_id_step_fence"),
    )

    op.create_table(
        "events",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), server_default="event", nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("data", JSONB(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint("kind IN ('event', 'status')", name=op.f("ck_events_kind")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_events_job_id_jobs"),
        sa.PrimaryKeyConstraint("job_id", "seq", name="pk_events"),
    )
    op.create_index(
        "uq_events_terminal",
        "events",
        ["job_id"],
        unique=True,
        postgresql_where=sa.text(
            "kind = 'event' AND name IN ('job.cancelled', 'job.failed', 'job.succeeded')"
        ),
    )

    op.create_table(
        "idempotency_keys",
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("body_sha256", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint("length(key) BETWEEN 1 AND 255", name=op.f("ck_idempotency_keys_key")),
        sa.ForeignKeyConstraint(
            ["job_id"],
            ["jobs.id"],
            name="fk_idempotency_keys_job_id_jobs",
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name="fk_idempotency_keys_project_id_projects"
        ),
        sa.PrimaryKeyConstraint("project_id", "key", name="pk_idempotency_keys"),
    )

    op.create_table(
        "metrics",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("step", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("numbers", JSONB(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint("step >= 0", name=op.f("ck_metrics_step")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_metrics_job_id_jobs"),
        sa.PrimaryKeyConstraint("job_id", "step", name="pk_metrics"),
    )
    op.create_index("uq_metrics_job_id_seq", "metrics", ["job_id", "seq"], unique=True)

    op.create_table(
        "results",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("record", JSONB(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_results_job_id_jobs"),
        sa.PrimaryKeyConstraint("id", name="pk_results"),
        sa.UniqueConstraint("job_id", name="uq_results_job_id"),
    )

    op.create_table(
        "runs",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column(
            "started_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("exit", sa.Integer(), nullable=True),
        sa.Column("log_tail", sa.Text(), nullable=True),
        sa.CheckConstraint("(ended_at IS NULL) = (outcome IS NULL)", name=op.f("ck_runs_outcome")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_runs_job_id_jobs"),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
        sa.UniqueConstraint("job_id", "fence", name="uq_runs_job_id_fence"),
    )
    op.create_foreign_key("fk_jobs_ckpt_id_checkpoints", "jobs", "checkpoints", ["ckpt_id"], ["id"])
    op.create_foreign_key("fk_jobs_result_id_results", "jobs", "results", ["result_id"], ["id"])

    op.execute(JOBS_GUARD)
    op.execute(
        "CREATE TRIGGER jobs_guard BEFORE INSERT OR UPDATE OR DELETE ON jobs"
        " FOR EACH ROW EXECUTE FUNCTION jobs_guard()"
    )
    op.execute(DATASETS_GUARD)
    op.execute(
        "CREATE TRIGGER datasets_guard BEFORE UPDATE ON datasets"
        " FOR EACH ROW EXECUTE FUNCTION datasets_guard()"
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.drop_constraint("fk_jobs_result_id_results", "jobs")
    op.drop_constraint("fk_jobs_ckpt_id_checkpoints", "jobs")
    for table in (
        "artifacts",
        "results",
        "checkpoints",
        "metrics",
        "events",
        "runs",
        "idempotency_keys",
        "jobs",
        "datasets",
        "api_keys",
        "projects",
    ):
        op.drop_table(table)
    op.execute("DROP FUNCTION jobs_guard()")
    op.execute("DROP FUNCTION datasets_guard()")

"""All tables of the first release."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

JSON_TYPE = sa.JSON().with_variant(JSONB(), "postgresql")
TABLES = (
    "dataset",
    "original",
    "expansion",
    "training_run",
    "snapshot",
    "model",
    "model_original",
    "generation_job",
    "image",
    "evaluation",
    "export",
    "reader_answer",
)


def upgrade() -> None:
    """Create every table."""
    _data()
    _training()
    _generation()
    _results()


def downgrade() -> None:
    """Drop every table, those that refer to others first; indexes go with them."""
    for table in reversed(TABLES):
        op.drop_table(table)


def _data() -> None:
    op.create_table(
        "dataset",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("class_names", JSON_TYPE, nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("channels", sa.Integer(), nullable=False),
        sa.Column("microns_per_pixel", sa.Float(precision=53), nullable=True),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("split_fingerprints", JSON_TYPE, nullable=False),
        sa.Column("licence", sa.String(), nullable=True),
        sa.Column("source", sa.String(), nullable=True),
        sa.Column("options", JSON_TYPE, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_dataset"),
        sa.UniqueConstraint("name", "version", name="uq_dataset_name_version"),
    )
    op.create_table(
        "original",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=True),
        sa.Column("key", sa.String(), nullable=True),
        sa.Column("class_name", sa.String(), nullable=True),
        sa.Column("group_id", sa.String(), nullable=True),
        sa.Column("split", sa.String(), nullable=True),
        sa.Column("accepted", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("findings", JSON_TYPE, nullable=False),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], name="fk_original_dataset_id_dataset"),
        sa.PrimaryKeyConstraint("id", name="pk_original"),
        sa.UniqueConstraint("dataset_id", "name", name="uq_original_dataset_id_name"),
    )
    op.create_index("ix_original_sha256", "original", ["sha256"])
    op.create_table(
        "expansion",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("parent_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("parameters", JSON_TYPE, nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], name="fk_expansion_dataset_id_dataset"),
        sa.ForeignKeyConstraint(["parent_id"], ["original.id"], name="fk_expansion_parent_id_original"),
        sa.PrimaryKeyConstraint("id", name="pk_expansion"),
        sa.UniqueConstraint("dataset_id", "position", name="uq_expansion_dataset_id_position"),
    )
    op.create_index("ix_expansion_parent_id", "expansion", ["parent_id"])


def _training() -> None:
    op.create_table(
        "training_run",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("architecture", sa.String(), nullable=False),
        sa.Column("config", JSON_TYPE, nullable=False),
        sa.Column("code_version", sa.String(), nullable=True),
        sa.Column("device", sa.String(), nullable=True),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("status_reason", sa.Text(), nullable=True),
        sa.Column("images_seen", sa.BigInteger(), nullable=False),
        sa.Column("elapsed_sec", sa.Float(precision=53), nullable=False),
        sa.Column("history_key", sa.String(), nullable=True),
        sa.Column("events", JSON_TYPE, nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], name="fk_training_run_dataset_id_dataset"),
        sa.PrimaryKeyConstraint("id", name="pk_training_run"),
    )
    op.create_index("ix_training_run_dataset_id", "training_run", ["dataset_id"])
    op.create_table(
        "snapshot",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("images_seen", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("scores", JSON_TYPE, nullable=False),
        sa.Column("chosen", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["training_run.id"], name="fk_snapshot_run_id_training_run"),
        sa.PrimaryKeyConstraint("id", name="pk_snapshot"),
        sa.UniqueConstraint("run_id", "step", name="uq_snapshot_run_id_step"),
    )
    op.create_table(
        "model",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=True),
        sa.Column("snapshot_id", sa.Integer(), nullable=True),
        sa.Column("dataset_id", sa.Integer(), nullable=True),
        sa.Column("architecture", sa.String(), nullable=False),
        sa.Column("class_names", JSON_TYPE, nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("channels", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("card", JSON_TYPE, nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], name="fk_model_dataset_id_dataset"),
        sa.ForeignKeyConstraint(["run_id"], ["training_run.id"], name="fk_model_run_id_training_run"),
        sa.ForeignKeyConstraint(["snapshot_id"], ["snapshot.id"], name="fk_model_snapshot_id_snapshot"),
        sa.PrimaryKeyConstraint("id", name="pk_model"),
    )
    op.create_index("ix_model_dataset_id", "model", ["dataset_id"])
    op.create_table(
        "model_original",
        sa.Column("model_id", sa.String(), nullable=False),
        sa.Column("original_sha256", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name="fk_model_original_model_id_model"),
        sa.PrimaryKeyConstraint("model_id", "original_sha256", name="pk_model_original"),
    )
    op.create_index("ix_model_original_original_sha256", "model_original", ["original_sha256"])


def _generation() -> None:
    op.create_table(
        "generation_job",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("model_id", sa.String(), nullable=False),
        sa.Column("request", JSON_TYPE, nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("n_requested", sa.Integer(), nullable=False),
        sa.Column("n_accepted", sa.Integer(), nullable=False),
        sa.Column("n_rejected", sa.Integer(), nullable=False),
        sa.Column("n_attempts", sa.Integer(), nullable=False),
        sa.Column("screened", sa.Boolean(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("seconds", sa.Float(precision=53), nullable=False),
        sa.Column("message", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name="fk_generation_job_model_id_model"),
        sa.PrimaryKeyConstraint("id", name="pk_generation_job"),
    )
    op.create_index("ix_generation_job_model_id", "generation_job", ["model_id"])
    op.create_table(
        "image",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("model_id", sa.String(), nullable=False),
        sa.Column("class_index", sa.Integer(), nullable=False),
        sa.Column("class_name", sa.String(), nullable=False),
        sa.Column("index", sa.Integer(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("truncation", sa.Float(precision=53), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("pixel_sha256", sa.String(), nullable=False),
        sa.Column("bytes", sa.Integer(), nullable=False),
        sa.Column("scores", JSON_TYPE, nullable=False),
        sa.Column("nearest_original", sa.String(), nullable=True),
        sa.Column("nearest_distance", sa.Float(precision=53), nullable=True),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("screened", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["generation_job.id"], name="fk_image_job_id_generation_job"),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name="fk_image_model_id_model"),
        sa.PrimaryKeyConstraint("id", name="pk_image"),
        sa.UniqueConstraint("job_id", "class_index", "index", name="uq_image_job_id_class_index_index"),
    )
    op.create_index("ix_image_created_at_id", "image", ["created_at", "id"])
    op.create_index("ix_image_model_id_class_index_index", "image", ["model_id", "class_index", "index"])
    op.create_index("ix_image_model_id_class_index_verdict_id", "image", ["model_id", "class_index", "verdict", "id"])


def _results() -> None:
    op.create_table(
        "evaluation",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("subject_kind", sa.String(), nullable=False),
        sa.Column("subject_id", sa.String(), nullable=False),
        sa.Column("reference_fingerprint", sa.String(), nullable=True),
        sa.Column("metric", sa.String(), nullable=False),
        sa.Column("class_name", sa.String(), nullable=True),
        sa.Column("value", sa.Float(precision=53), nullable=True),
        sa.Column("low", sa.Float(precision=53), nullable=True),
        sa.Column("high", sa.Float(precision=53), nullable=True),
        sa.Column("floor", sa.Float(precision=53), nullable=True),
        sa.Column("floor_low", sa.Float(precision=53), nullable=True),
        sa.Column("floor_high", sa.Float(precision=53), nullable=True),
        sa.Column("n_real", sa.Integer(), nullable=False),
        sa.Column("n_fake", sa.Integer(), nullable=False),
        sa.Column("higher_is_better", sa.Boolean(), nullable=False),
        sa.Column("seconds", sa.Float(precision=53), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_evaluation"),
    )
    op.create_index("ix_evaluation_subject_kind_subject_id", "evaluation", ["subject_kind", "subject_id"])
    op.create_table(
        "export",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=True),
        sa.Column("model_id", sa.String(), nullable=True),
        sa.Column("format", sa.String(), nullable=False),
        sa.Column("target", sa.String(), nullable=False),
        sa.Column("counts", JSON_TYPE, nullable=False),
        sa.Column("sha256", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["generation_job.id"], name="fk_export_job_id_generation_job"),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name="fk_export_model_id_model"),
        sa.PrimaryKeyConstraint("id", name="pk_export"),
    )
    op.create_table(
        "reader_answer",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("session", sa.String(), nullable=False),
        sa.Column("reader", sa.String(), nullable=False),
        sa.Column("image_id", sa.String(), nullable=True),
        sa.Column("original_id", sa.Integer(), nullable=True),
        sa.Column("truth", sa.String(), nullable=False),
        sa.Column("answer", sa.String(), nullable=False),
        sa.Column("milliseconds", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name="fk_reader_answer_image_id_image"),
        sa.ForeignKeyConstraint(["original_id"], ["original.id"], name="fk_reader_answer_original_id_original"),
        sa.PrimaryKeyConstraint("id", name="pk_reader_answer"),
    )
    op.create_index("ix_reader_answer_session", "reader_answer", ["session"])

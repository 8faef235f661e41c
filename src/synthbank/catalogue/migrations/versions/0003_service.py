"""The queue, the keys and the audit log of the service; indexes for every way to ask for a page of images."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

JSON_TYPE = sa.JSON().with_variant(JSONB(), "postgresql")
QUEUE = ("targets", "revision", "queued_at", "worker", "lease_until", "claims", "cancelled_at")
IMAGE_INDEXES = {
    "ix_image_newest": ["verdict", "created_at", "id"],
    "ix_image_class_newest": ["class_name", "verdict", "created_at", "id"],
    "ix_image_model_newest": ["model_id", "class_name", "verdict", "created_at", "id"],
    "ix_image_job_newest": ["job_id", "class_name", "verdict", "created_at", "id"],
    "ix_image_nearest": ["verdict", "nearest_distance", "id"],
    "ix_image_class_nearest": ["class_name", "verdict", "nearest_distance", "id"],
    "ix_image_model_nearest": ["model_id", "class_name", "verdict", "nearest_distance", "id"],
}
REPLACED = "ix_image_model_id_class_index_verdict_id"


def upgrade() -> None:
    """Add the queue's columns, two tables and the indexes."""
    for column in (
        sa.Column("targets", JSON_TYPE, nullable=True),
        sa.Column("revision", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("queued_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("worker", sa.String(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("claims", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("cancelled_at", sa.DateTime(timezone=True), nullable=True),
    ):
        op.add_column("generation_job", column)
    op.create_index("ix_generation_job_status_queued_at", "generation_job", ["status", "queued_at"])
    op.create_index("ix_generation_job_started_at_id", "generation_job", ["started_at", "id"])
    op.drop_index(REPLACED, "image")
    for name, columns in IMAGE_INDEXES.items():
        op.create_index(name, "image", columns)
    _tables()


def downgrade() -> None:
    """Back to the first release; keys, audit log and the queue's state are lost, jobs and images stay."""
    op.drop_table("audit_event")
    op.drop_table("api_key")
    for name in IMAGE_INDEXES:
        op.drop_index(name, "image")
    op.create_index(REPLACED, "image", ["model_id", "class_index", "verdict", "id"])
    op.drop_index("ix_generation_job_started_at_id", "generation_job")
    op.drop_index("ix_generation_job_status_queued_at", "generation_job")
    for name in QUEUE:
        op.drop_column("generation_job", name)


def _tables() -> None:
    op.create_table(
        "api_key",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("secret_sha256", sa.String(), nullable=False),
        sa.Column("scopes", JSON_TYPE, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("replaced_by", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_api_key"),
    )
    op.create_table(
        "audit_event",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("subject_kind", sa.String(), nullable=False),
        sa.Column("subject_id", sa.String(), nullable=False),
        sa.Column("details", JSON_TYPE, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_event"),
    )
    op.create_index("ix_audit_event_at", "audit_event", ["at"])
    op.create_index("ix_audit_event_subject_kind_subject_id", "audit_event", ["subject_kind", "subject_id"])

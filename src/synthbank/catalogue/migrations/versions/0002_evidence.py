"""Scores of single groups, how a score was measured, and reader studies with their items."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

JSON_TYPE = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    """Add two columns of an evaluation, and two tables of reader studies."""
    op.add_column("evaluation", sa.Column("group_name", sa.String(), nullable=True))
    op.add_column("evaluation", sa.Column("details", JSON_TYPE, nullable=True))
    op.create_table(
        "reader_study",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("options", JSON_TYPE, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["generation_job.id"], name="fk_reader_study_job_id_generation_job"),
        sa.PrimaryKeyConstraint("id", name="pk_reader_study"),
    )
    op.create_table(
        "reader_item",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("token", sa.String(), nullable=False),
        sa.Column("class_name", sa.String(), nullable=False),
        sa.Column("truth", sa.String(), nullable=False),
        sa.Column("image_id", sa.String(), nullable=True),
        sa.Column("original_id", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name="fk_reader_item_image_id_image"),
        sa.ForeignKeyConstraint(["original_id"], ["original.id"], name="fk_reader_item_original_id_original"),
        sa.ForeignKeyConstraint(["study_id"], ["reader_study.id"], name="fk_reader_item_study_id_reader_study"),
        sa.PrimaryKeyConstraint("id", name="pk_reader_item"),
        sa.UniqueConstraint("study_id", "position", name="uq_reader_item_study_id_position"),
        sa.UniqueConstraint("study_id", "token", name="uq_reader_item_study_id_token"),
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_table("reader_item")
    op.drop_table("reader_study")
    op.drop_column("evaluation", "details")
    op.drop_column("evaluation", "group_name")

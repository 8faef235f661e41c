"""Scores of single groups and how a score was measured."""

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
    """Add the two columns of an evaluation."""
    op.add_column("evaluation", sa.Column("group_name", sa.String(), nullable=True))
    op.add_column("evaluation", sa.Column("details", JSON_TYPE, nullable=True))


def downgrade() -> None:
    """Drop them."""
    op.drop_column("evaluation", "details")
    op.drop_column("evaluation", "group_name")

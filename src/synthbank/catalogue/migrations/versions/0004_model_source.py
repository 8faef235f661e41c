"""Source of an imported model."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add one column; models recorded before have no source."""
    op.add_column("model", sa.Column("source", sa.Text(), nullable=True))


def downgrade() -> None:
    """Drop the column."""
    op.drop_column("model", "source")

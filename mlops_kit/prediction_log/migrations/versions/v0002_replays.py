"""What watchers found in replays, for viewers to read."""

import sqlalchemy as sa
from alembic import op

revision = "v0002"
down_revision = "v0001"


def upgrade() -> None:
    """Add the table of replays."""
    op.create_table(
        "replays",
        sa.Column("model", sa.Text, primary_key=True),
        sa.Column("environment", sa.Text, primary_key=True),
        sa.Column("champion", sa.Text, primary_key=True),
        sa.Column("candidate", sa.Text, primary_key=True),
        sa.Column("computed", sa.Float, nullable=False),
        sa.Column("counts", sa.Text, nullable=False),
        sa.Column("faults", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )

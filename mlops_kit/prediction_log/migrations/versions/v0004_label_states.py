"""Labels are provisional or final."""

import sqlalchemy as sa
from alembic import op

revision = "v0004"
down_revision = "v0003"


def upgrade() -> None:
    """Take each label of before for final."""
    for name in ("labels", "waiting", "waiting_keys"):
        is_final = sa.Column("is_final", sa.Boolean, nullable=False, server_default=sa.true())
        op.add_column(name, is_final)

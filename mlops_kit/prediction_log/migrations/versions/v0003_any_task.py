"""Labels of any task, features of any type, and the clients' own keys."""

import sqlalchemy as sa
from alembic import op

revision = "v0003"
down_revision = "v0002"

_WITHOUT_ROWID = {"sqlite_with_rowid": False}


def upgrade() -> None:
    """Keep labels as numbers, and say how features are written."""
    op.add_column(
        "predictions", sa.Column("encoding", sa.Text, nullable=False, server_default="f8")
    )
    op.add_column(
        "predictions", sa.Column("client_key", sa.Text, nullable=False, server_default="")
    )
    has_key = sa.text("client_key <> ''")
    op.create_index(
        "predictions_by_client_key",
        "predictions",
        ["client_key", "time"],
        sqlite_where=has_key,
        postgresql_where=has_key,
    )
    for name in ("labels", "waiting"):
        with op.batch_alter_table(name, table_kwargs=_WITHOUT_ROWID) as table:
            table.alter_column("label", type_=sa.Float, existing_nullable=False)
            table.add_column(sa.Column("origin", sa.Text, nullable=False, server_default=""))
    with op.batch_alter_table("label_changes") as table:
        table.alter_column("label", type_=sa.Float, existing_nullable=False)
        table.alter_column("previous", type_=sa.Float, nullable=True)
    # A regression's label may be -1.
    op.execute("UPDATE label_changes SET previous = NULL WHERE previous = -1")
    _make_keys_and_sources()


def _make_keys_and_sources() -> None:
    op.create_table(
        "waiting_keys",
        sa.Column("model", sa.Text, primary_key=True),
        sa.Column("environment", sa.Text, primary_key=True),
        sa.Column("client_key", sa.Text, primary_key=True),
        sa.Column("row", sa.Integer, primary_key=True),
        sa.Column("label", sa.Float, nullable=False),
        sa.Column("time", sa.Float, nullable=False),
        sa.Column("is_conflict", sa.Boolean, nullable=False),
        sa.Column("origin", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "label_sources",
        sa.Column("source", sa.Text, primary_key=True),
        sa.Column("position", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )

"""Predictions, labels and their counters."""

import sqlalchemy as sa
from alembic import op

revision = "v0001"
down_revision = None

_KEY = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the first tables."""
    _make_names()
    _make_predictions()
    _make_counts()
    _make_labels()


def _make_names() -> None:
    op.create_table(
        "splits",
        sa.Column("key", _KEY, primary_key=True),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("environment", sa.Text, nullable=False),
        sa.Column("champion", sa.Text, nullable=False),
        sa.Column("candidate", sa.Text, nullable=False),
        sa.Column("weight", sa.SmallInteger, nullable=False),
        sa.UniqueConstraint("model", "environment", "champion", "candidate", "weight"),
    )
    op.create_table(
        "answerers",
        sa.Column("key", _KEY, primary_key=True),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("environment", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.UniqueConstraint("model", "environment", "digest"),
    )


def _make_predictions() -> None:
    op.create_table(
        "predictions",
        sa.Column("key", _KEY, primary_key=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("split", _KEY, sa.ForeignKey("splits.key"), nullable=False),
        sa.Column("answerer", _KEY, sa.ForeignKey("answerers.key"), nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("revision", sa.Text, nullable=False),
        sa.Column("time", sa.Float, nullable=False),
        sa.Column("client", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("latency_ms", sa.Float, nullable=False),
        sa.Column("rows", sa.Integer, nullable=False),
        sa.Column("scores", sa.LargeBinary, nullable=False),
        sa.Column("decisions", sa.LargeBinary, nullable=False),
        sa.Column("features_digest", sa.Text, nullable=False),
        sa.Column("features", sa.LargeBinary, nullable=False),
    )
    op.create_index("predictions_by_answerer", "predictions", ["answerer", "time", "key"])
    op.create_index("predictions_by_split", "predictions", ["split", "key"])


def _make_counts() -> None:
    op.create_table(
        "counters",
        sa.Column("split", _KEY, sa.ForeignKey("splits.key"), primary_key=True),
        sa.Column("role", sa.Text, primary_key=True),
        sa.Column("slow_ms", sa.Float, primary_key=True),
        sa.Column("bucket", sa.Float, primary_key=True),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sa.Column("errors", sa.BigInteger, nullable=False),
        sa.Column("slow", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "tallies",
        sa.Column("answerer", _KEY, sa.ForeignKey("answerers.key"), primary_key=True),
        sa.Column("outcome", sa.Text, primary_key=True),
        sa.Column("bucket", sa.Float, primary_key=True),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("labelled", sa.BigInteger, nullable=False),
        sa.Column("conflicts", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )


def _make_labels() -> None:
    op.create_table(
        "labels",
        sa.Column("prediction", _KEY, sa.ForeignKey("predictions.key"), primary_key=True),
        sa.Column("row", sa.Integer, primary_key=True),
        sa.Column("label", sa.SmallInteger, nullable=False),
        sa.Column("time", sa.Float, nullable=False),
        sa.Column("is_conflict", sa.Boolean, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "label_changes",
        sa.Column("seq", _KEY, primary_key=True),
        sa.Column("answerer", _KEY, sa.ForeignKey("answerers.key"), nullable=False),
        sa.Column("prediction", _KEY, sa.ForeignKey("predictions.key"), nullable=False),
        sa.Column("row", sa.Integer, nullable=False),
        sa.Column("label", sa.SmallInteger, nullable=False),
        sa.Column("previous", sa.SmallInteger, nullable=False),
    )
    op.create_index("label_changes_by_answerer", "label_changes", ["answerer", "seq"])
    op.create_table(
        "waiting",
        sa.Column("prediction", sa.Text, primary_key=True),
        sa.Column("row", sa.Integer, primary_key=True),
        sa.Column("label", sa.SmallInteger, nullable=False),
        sa.Column("time", sa.Float, nullable=False),
        sa.Column("is_conflict", sa.Boolean, nullable=False),
        sqlite_with_rowid=False,
    )

"""The tables of predictions, labels and counters; the same for SQLite and PostgreSQL.

`migrations/` makes them in a store, one step a version. Nothing is ever deleted, so keys only
grow, and what is read in their order stays as it was read.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
    true,
)

# The versions of the schema that this kit knows, oldest first.
REVISIONS = ("v0001", "v0002", "v0003", "v0004")
# Seconds that one row of `tallies` covers.
TALLY_SECONDS = 10.0

metadata = MetaData()
# SQLite numbers rows by itself only where the type is exactly INTEGER.
_KEY = BigInteger().with_variant(Integer, "sqlite")


def _label_table(name: str, *prediction: Column[Any]) -> Table:
    """Return a table of labels by row; `prediction` are the columns that name the request."""
    return Table(
        name,
        metadata,
        *prediction,
        Column("row", Integer, primary_key=True),
        Column("label", Float, nullable=False),
        Column("time", Float, nullable=False),
        Column("is_conflict", Boolean, nullable=False),
        Column("origin", Text, nullable=False),
        Column("is_final", Boolean, nullable=False, server_default=true()),
        sqlite_with_rowid=False,
    )


# A release pair at one weight. The texts stand here once, as predictions are many.
splits = Table(
    "splits",
    metadata,
    Column("key", _KEY, primary_key=True),
    Column("model", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("champion", Text, nullable=False),
    Column("candidate", Text, nullable=False),
    Column("weight", SmallInteger, nullable=False),
    UniqueConstraint("model", "environment", "champion", "candidate", "weight"),
)

# Who answered, whichever role it had.
answerers = Table(
    "answerers",
    metadata,
    Column("key", _KEY, primary_key=True),
    Column("model", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("digest", Text, nullable=False),
    UniqueConstraint("model", "environment", "digest"),
)

predictions = Table(
    "predictions",
    metadata,
    Column("key", _KEY, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("split", ForeignKey("splits.key"), nullable=False),
    Column("answerer", ForeignKey("answerers.key"), nullable=False),
    Column("role", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("revision", Text, nullable=False),
    Column("time", Float, nullable=False),
    Column("client", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("latency_ms", Float, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("scores", LargeBinary, nullable=False),
    Column("decisions", LargeBinary, nullable=False),
    Column("features_digest", Text, nullable=False),
    Column("features", LargeBinary, nullable=False),
    # How the features are written: "f8" or "json".
    Column("encoding", Text, nullable=False, server_default="f8"),
    # The client's own, by which labels may come; `key` is the log's.
    Column("client_key", Text, nullable=False, server_default=""),
    Index("predictions_by_answerer", "answerer", "time", "key"),
    Index("predictions_by_split", "split", "key"),
    Index(
        "predictions_by_client_key",
        "client_key",
        "time",
        sqlite_where=text("client_key <> ''"),
        postgresql_where=text("client_key <> ''"),
    ),
)

# Requests by pair, weight, role and interval, so that no look has to count predictions.
counters = Table(
    "counters",
    metadata,
    Column("split", ForeignKey("splits.key"), primary_key=True),
    Column("role", Text, primary_key=True),
    Column("slow_ms", Float, primary_key=True),
    Column("bucket", Float, primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("errors", BigInteger, nullable=False),
    Column("slow", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# Rows by answerer and time of the prediction, and how many of them are labelled.
tallies = Table(
    "tallies",
    metadata,
    Column("answerer", ForeignKey("answerers.key"), primary_key=True),
    Column("outcome", Text, primary_key=True),
    Column("bucket", Float, primary_key=True),
    Column("rows", BigInteger, nullable=False),
    Column("labelled", BigInteger, nullable=False),
    Column("conflicts", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# The label that counts, for each labelled row of a stored prediction.
labels = _label_table(
    "labels", Column("prediction", ForeignKey("predictions.key"), primary_key=True)
)

# Every change of a label that counts; `previous` is NULL for a row's first.
label_changes = Table(
    "label_changes",
    metadata,
    Column("seq", _KEY, primary_key=True),
    Column("answerer", ForeignKey("answerers.key"), nullable=False),
    Column("prediction", ForeignKey("predictions.key"), nullable=False),
    Column("row", Integer, nullable=False),
    Column("label", Float, nullable=False),
    Column("previous", Float, nullable=True),
    Index("label_changes_by_answerer", "answerer", "seq"),
)

# Labels whose prediction isn't stored: it may still come, or the id is unknown.
waiting = _label_table("waiting", Column("prediction", Text, primary_key=True))

# Labels by a client's key that no stored prediction has.
waiting_keys = _label_table(
    "waiting_keys",
    Column("model", Text, primary_key=True),
    Column("environment", Text, primary_key=True),
    Column("client_key", Text, primary_key=True),
)

# How far a folder or a table of labels was read.
label_sources = Table(
    "label_sources",
    metadata,
    Column("source", Text, primary_key=True),
    Column("position", Text, nullable=False),
    sqlite_with_rowid=False,
)

# What a watcher found in the replay of a candidate; the newest for each pair of digests.
replays = Table(
    "replays",
    metadata,
    Column("model", Text, primary_key=True),
    Column("environment", Text, primary_key=True),
    Column("champion", Text, primary_key=True),
    Column("candidate", Text, primary_key=True),
    Column("computed", Float, nullable=False),
    Column("counts", Text, nullable=False),
    Column("faults", Text, nullable=False),
    sqlite_with_rowid=False,
)

"""The prediction log's SQLite file: creation, transactions and faults."""

from __future__ import annotations

import errno
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from mlops_kit import lock
from mlops_kit.errors import ObservationsError, StoreBusyError, StoreFullError
from mlops_kit.prediction_log.schema import REVISIONS

# Seconds to wait for another writer: a batch takes some milliseconds.
_BUSY_TIMEOUT_SECONDS = 1.0
# Seconds to wait for another's migration.
_MIGRATION_TIMEOUT_SECONDS = 60.0
_MIGRATIONS = Path(__file__).parent / "migrations"


class Store:
    """A SQLite file behind a SQLAlchemy URL; opened, and created, on first use.

    One process writes at a time; readers see what was committed when they began. Every method
    raises StoreBusyError when another writer holds the store for over a second, StoreFullError
    when the disk is full, and ObservationsError for any other fault.
    """

    def __init__(self, url: str) -> None:
        """Keep the URL, `sqlite:///` and a path; raises ObservationsError for another kind."""
        try:
            self._url = make_url(url)
        except ArgumentError as error:
            raise ObservationsError(f"The prediction log's URL can't be read: {url!r}.") from error
        if self._url.get_backend_name() != "sqlite" or self._url.database in (None, "", ":memory:"):
            raise ObservationsError(
                f"The prediction log's URL is {self}; expected sqlite:/// and a file's path. "
                "See the setting observations_uri."
            )
        self._file = Path(str(self._url.database))
        self._engine: Engine | None = None
        self._lock = threading.Lock()

    def __str__(self) -> str:
        return self._url.render_as_string(hide_password=True)

    def prepare(self) -> None:
        """Create or migrate the store, once, however many threads and processes ask.

        A kill halfway leaves the store as it was. A current schema costs one query.
        """
        with self._lock:
            if self._engine is not None:
                return
            with self._faults("opened"):
                self._file.parent.mkdir(parents=True, exist_ok=True)
                engine = _engine(self._url.render_as_string(hide_password=False))
                try:
                    if self._revision(engine) != REVISIONS[-1]:
                        self._migrate(engine)
                except BaseException:
                    engine.dispose()
                    raise
                self._engine = engine

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a read transaction: one consistent state, blocking nobody."""
        with self._transaction(writes=False) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Open the only write transaction; it commits as a whole or not at all."""
        with self._transaction(writes=True) as connection:
            yield connection

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            if self._engine is not None:
                self._engine.dispose()
                self._engine = None

    @contextmanager
    def _transaction(self, *, writes: bool) -> Iterator[Connection]:
        self.prepare()
        engine = self._engine
        if engine is None:
            raise ObservationsError(f"The prediction log {self} was closed while in use.")
        with (
            self._faults("written" if writes else "read"),
            engine.connect().execution_options(mlops_kit_writes=writes) as connection,
            connection.begin(),
        ):
            yield connection

    def _revision(self, engine: Engine) -> str:
        """Return the version of the schema; empty where there is none yet."""
        with engine.connect() as connection:
            try:
                found = connection.exec_driver_sql("SELECT version_num FROM alembic_version")
                revision = str(found.scalar() or "")
            except DBAPIError as error:
                if "no such table" not in str(error.orig):
                    raise
                return ""
        if revision not in ("", *REVISIONS):
            raise ObservationsError(
                f"The prediction log {self} has the schema {revision!r}; expected one of "
                f"{list(REVISIONS)}. A newer mlops-kit created it: use that, or another store.",
                code="prediction-log.newer",
            )
        return revision

    def _migrate(self, engine: Engine) -> None:
        # Loaded here, because it takes longer than all that a current store needs.
        from alembic import command
        from alembic.config import Config

        try:
            with lock.hold(
                self._file.with_name(f"{self._file.name}.lock"), _MIGRATION_TIMEOUT_SECONDS
            ):
                if self._revision(engine) == REVISIONS[-1]:
                    return
                with engine.connect() as connection:
                    # Readers then don't wait for writers. It is kept in the file, and can't be
                    # set in a transaction.
                    driver = connection.connection.driver_connection
                    assert driver is not None
                    driver.execute("PRAGMA journal_mode=WAL")
                writer = engine.connect().execution_options(mlops_kit_writes=True)
                with lock.migration, writer as connection, connection.begin():
                    config = Config()
                    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
                    config.attributes["connection"] = connection
                    command.upgrade(config, "head")
        except BlockingIOError as error:
            raise StoreBusyError(
                f"The prediction log {self} has been migrating for over "
                f"{_MIGRATION_TIMEOUT_SECONDS:.0f} s. Try again, or find the process that does it."
            ) from error

    @contextmanager
    def _faults(self, doing: str) -> Iterator[None]:
        """Turn the driver's and the system's faults into the kit's."""
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            kind = str(getattr(cause, "sqlite_errorname", ""))
            what = f"The prediction log {self} can't be {doing}: {cause}"
            if kind.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
                raise StoreBusyError(f"{what}. Another process is writing; try again.") from error
            if kind.startswith(("SQLITE_FULL", "SQLITE_IOERR")) or _is_full(cause):
                raise StoreFullError(f"{what}. Free space on that disk, then try again.") from error
            raise ObservationsError(
                f"{what}. Check the file and its permissions; move a damaged one away."
            ) from error


def _engine(url: str) -> Engine:
    # isolation_level None: the driver begins no transaction by itself, so that _begin can say
    # which kind, and so that a migration's CREATE TABLE is part of it.
    engine = create_engine(
        url,
        connect_args={"timeout": _BUSY_TIMEOUT_SECONDS, "isolation_level": None},
        # A fault's message must not hold what customers sent.
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        # In WAL mode this loses nothing when a process is killed; a power cut may take the
        # newest transactions, whole.
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA cache_size=-16384")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A transaction that reads first and writes later could be refused in its middle.
        writes = connection.get_execution_options().get("mlops_kit_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _is_full(error: object) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

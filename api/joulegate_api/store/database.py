"""The engine: how a database is opened, what a transaction is, and which clock is believed.

What is *not* done here: no table is made or changed; that is the migrations' work.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from joulegate.core.errors import UnavailableError
from joulegate_api.store import tables

BUSY_S: Final = 60
"""How long a writer waits for another *process* on SQLite; threads of one process queue in order before that."""

POOL: Final = 16
"""Connections kept open. Decisions share one; the rest serve records and reads."""

_SHOWN: Final = 200
_READS: Final = "joulegate_reads"

Clock = Callable[[], datetime]


class Database:
    """One database and one tenant of it.

    ``clock`` replaces the database's clock, for tests of what happens as time goes by.
    """

    def __init__(self, url: str, clock: Clock | None = None) -> None:
        """Open nothing yet; :meth:`check` does."""
        self._url = _parsed(url)
        self.is_sqlite = self._url.get_backend_name() == "sqlite"
        self._clock = clock
        self._engine = _engine(self._url, is_sqlite=self.is_sqlite)
        self._writers: AbstractContextManager[Any] = threading.Lock() if self.is_sqlite else nullcontext()

    @property
    def shown_url(self) -> str:
        """The address without its password."""
        return self._url.render_as_string(hide_password=True)

    def check(self) -> None:
        """Raise :class:`UnavailableError` where the database is missing, unreadable, or has other tables."""
        path = self._url.database
        named = path is not None and not path.startswith("file:")
        if self.is_sqlite and path and named and not Path(path).is_file():
            raise UnavailableError(
                f"there is no database at {path}; `python -m joulegate_migrations upgrade` makes one"
            )
        with self.read() as connection:
            known = connection.dialect.has_table(connection, "alembic_version")
            found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar() if known else None
        if found != tables.REVISION:
            raise UnavailableError(
                f"the database {self.shown_url} has tables of revision {found or 'none'}, not {tables.REVISION}; "
                "run `python -m joulegate_migrations upgrade`"
            )

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that writes nothing and waits for no writer."""
        with (
            self._errors(),
            self._engine.connect().execution_options(**{_READS: True}) as connection,
            connection.begin(),
        ):
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that is kept as a whole when the block ends, durably, or not at all."""
        with self._errors(), self._writers, self._engine.connect() as connection, connection.begin():
            yield connection

    def now(self, connection: Connection) -> datetime:
        """The database's clock; SQLite lives in this process, so its clock is ours."""
        if self._clock is not None:
            return self._clock()
        if self.is_sqlite:
            return datetime.now(UTC)
        found: datetime = connection.exec_driver_sql("SELECT clock_timestamp()").scalar_one()
        return found.astimezone(UTC)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            raise UnavailableError(f"the database {self.shown_url} cannot be used: {_line(error)}") from error


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
        name = parsed.get_backend_name()
    except (ArgumentError, ValueError) as error:
        raise UnavailableError(
            f"{url[:_SHOWN]!r} is no database address, such as sqlite:///joulegate.db: {error}"
        ) from error
    if name not in ("sqlite", "postgresql"):
        raise UnavailableError(
            f"{name} is no database that Joulegate knows; it keeps its state in SQLite or PostgreSQL"
        )
    return parsed


def _engine(url: URL, *, is_sqlite: bool) -> Engine:
    try:
        if is_sqlite:
            engine = create_engine(url, pool_size=POOL, max_overflow=POOL, connect_args={"timeout": BUSY_S})
            event.listen(engine, "connect", _on_connect)
            event.listen(engine, "begin", _on_begin)
            return engine
        return create_engine(
            url, pool_size=POOL, max_overflow=POOL, pool_pre_ping=True, connect_args={"connect_timeout": 10}
        )
    except (SQLAlchemyError, ImportError, TypeError) as error:
        raise UnavailableError(
            f"the database {url.render_as_string(hide_password=True)} cannot be used: {error}"
        ) from error


def _on_connect(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # the driver must not begin transactions of its own kind
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _on_begin(connection: Connection) -> None:
    # A transaction that begins by reading cannot become a writer once another has written; so a writer says so at once.
    reads = connection.get_execution_options().get(_READS)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _line(error: SQLAlchemyError) -> str:
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return " ".join(str(cause).split())[:_SHOWN]

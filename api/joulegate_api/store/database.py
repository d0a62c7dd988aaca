"""The engine: how a database is opened, what a transaction is, and which clock is believed.

What is *not* done here: no table is made or changed; that is the migrations' work.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, InvalidatePoolError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from joulegate.core.errors import UnavailableError
from joulegate_api.store import tables
from joulegate_api.store.bulk import PIPELINED

BUSY_S: Final = 60
"""How long a writer waits for another *process* on SQLite; threads of one process queue in order before that."""

POOL: Final = 16
"""Connections kept open. Decisions share one; the rest serve records and reads."""

FRESH_S: Final = 1
"""A connection that was used so short a time ago is not tried before it is used again."""

_POSTGRES: Final = {"connect_timeout": 10, "options": "-c timezone=UTC"}
_SHOWN: Final = 200
_LAST: Final = "joulegate_last"
_USED: Final = "joulegate_used"
_READS: Final = "joulegate_reads"

Clock = Callable[[], datetime]


class RefusedError(UnavailableError):
    """The database refused a row: another process wrote it first, or it cannot hold a value."""


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
    def glance(self) -> Iterator[Connection]:
        """For one statement that reads: without the two journeys that begin and end a transaction."""
        if self.is_sqlite:
            with self.read() as connection:
                yield connection
            return
        with self._errors(), self._engine.connect() as opened:
            yield opened.execution_options(isolation_level="AUTOCOMMIT")

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that is kept as a whole when the block ends, durably, or not at all."""
        with (
            self._errors(),
            self._writers,
            self._engine.connect() as connection,
            connection.begin(),
            ExitStack() as last,
        ):
            connection.info[_LAST], connection.info[PIPELINED] = last, False
            yield connection

    def only_writes(self, connection: Connection) -> None:
        """Send what follows without waiting for each answer; nothing can be read any more in this transaction.

        A row that is refused raises where the transaction ends.
        """
        if not self.is_sqlite:
            raw: Any = connection.connection.driver_connection
            last: ExitStack = connection.info[_LAST]
            last.enter_context(raw.pipeline())

            def commit(raised: object, *_: object) -> None:  # goes with the last rows, not after their answer
                if raised is None:
                    raw.execute("COMMIT")

            last.push(commit)
            connection.info[PIPELINED] = True

    @property
    def tells_time(self) -> bool:
        """Whether the clock is the server's, so that a statement can ask for it with the rest."""
        return self._clock is None and not self.is_sqlite

    def at(self, told: datetime | None) -> datetime:
        """The instant that the server told with a statement; here and now where it is not asked."""
        if told is not None:
            return told.astimezone(UTC)
        return self._clock() if self._clock is not None else datetime.now(UTC)

    def now(self, connection: Connection) -> datetime:
        """The database's clock; SQLite lives in this process, so its clock is ours."""
        told = connection.exec_driver_sql("SELECT clock_timestamp()").scalar_one() if self.tells_time else None
        return self.at(told)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        driver: Any = self._engine.dialect.loaded_dbapi
        try:
            yield
        except (SQLAlchemyError, driver.Error) as error:
            cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
            refused = isinstance(cause, driver.IntegrityError | driver.DataError)
            kind = RefusedError if refused else UnavailableError
            line = " ".join(str(cause).split())[:_SHOWN]
            raise kind(f"the database {self.shown_url} cannot be used: {line}") from error


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
        engine = create_engine(url, pool_size=POOL, max_overflow=POOL, connect_args=_POSTGRES)
    except (SQLAlchemyError, ImportError, TypeError) as error:
        raise UnavailableError(
            f"the database {url.render_as_string(hide_password=True)} cannot be used: {error}"
        ) from error
    event.listen(engine, "checkin", _on_checkin)
    event.listen(engine, "checkout", partial(_on_checkout, engine.dialect))
    return engine


def _on_connect(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # the driver must not begin transactions of its own kind
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _on_checkin(_connection: object, record: ConnectionPoolEntry) -> None:
    record.info[_USED] = time.monotonic()


def _on_checkout(dialect: Any, connection: object, record: ConnectionPoolEntry, _proxy: object) -> None:  # noqa: ANN401 -- asks it to ping, which its type does not know
    if time.monotonic() - record.info.get(_USED, time.monotonic()) < FRESH_S:
        return
    try:
        dialect.do_ping(connection)
    except dialect.loaded_dbapi.Error as error:
        raise InvalidatePoolError from error


def _on_begin(connection: Connection) -> None:
    # A transaction that begins by reading cannot become a writer once another has written; so a writer says so at once.
    reads = connection.get_execution_options().get(_READS)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

"""Many rows, or several questions, at once: each statement has a price of its own, and each wait for an answer another.

On PostgreSQL what is asked most is sent to the driver itself: composed once, prepared there, without the wait between
one question and the next. SQLite lives in this process; there is nothing to wait for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cache, lru_cache, partial
from operator import itemgetter
from typing import Any, Final, NamedTuple

from sqlalchemy import ARRAY, Connection, Dialect, Executable, Table, insert
from sqlalchemy.sql.compiler import SQLCompiler

from joulegate_api.store.columns import Instant

PIPELINED: Final = "joulegate_pipelined"
"""Set in a connection's ``info`` while it sends without waiting, where COPY is impossible."""

WORTH_COPYING: Final = 8
"""Rows from which on COPY is the quicker way."""

Values = Mapping[str, Any]
NOTHING_COMMON: Final[Values] = {}
_Ready = tuple[tuple[str, Callable[[Any], Any]], ...]


class Question(NamedTuple):
    """A statement that is made once, and what it is asked with. Lists go as arrays where the statement has them so."""

    statement: Executable
    values: Values


def ask(connection: Connection, questions: Sequence[Question]) -> list[Sequence[Any]]:
    """The rows that answer each, in turn; each sees what was kept before it began. Their columns are attributes."""
    if connection.dialect.name != "postgresql":
        return [connection.execute(statement, dict(values)).all() for statement, values in questions]
    from psycopg.rows import namedtuple_row  # noqa: PLC0415 -- installed only where PostgreSQL is used

    raw: Any = connection.connection.driver_connection
    cursors = [raw.cursor(row_factory=namedtuple_row) for _ in questions]
    with raw.pipeline():
        for cursor, (statement, values) in zip(cursors, questions, strict=True):
            text, ready = _composed(statement, (), connection.dialect)
            cursor.execute(text, _written(values, ready))
    return [cursor.fetchall() for cursor in cursors]


def send(connection: Connection, statement: Executable, rows: Sequence[Values]) -> None:
    """Do a statement, which was made once, for each of the rows; they all have the same columns."""
    if connection.dialect.name != "postgresql":
        connection.execute(statement, [dict(row) for row in rows])
        return
    text, ready = _composed(statement, tuple(rows[0]), connection.dialect)
    raw: Any = connection.connection.driver_connection
    with raw.cursor() as cursor:
        cursor.executemany(text, [_written(row, ready) for row in rows])


def add_rows(connection: Connection, table: Table, rows: Sequence[Values], common: Values = NOTHING_COMMON) -> None:
    """Insert rows of the same columns, with ``common`` beside each; what is left out is NULL, or at its default."""
    if not rows:
        return
    copies = connection.dialect.name == "postgresql" and not connection.info.get(PIPELINED)
    if not copies or len(rows) < WORTH_COPYING:
        send(connection, _inserting(table), [{**common, **row} for row in rows])
        return
    shared, own = (_ready(table, tuple(values), connection.dialect) for values in (common, rows[0]))
    alike = _written(common, shared).values()
    values_of = itemgetter(*rows[0])
    raw: Any = connection.connection.driver_connection
    with raw.cursor() as cursor, cursor.copy(_copying(table, (*common, *rows[0]), connection.dialect)) as copy:
        for row in rows:
            copy.write_row((*alike, *values_of(_written(row, own))))


def is_listed(dialect: Dialect) -> bool:
    """Whether a list is one array to this database, so that its length does not change the statement."""
    return dialect.name == "postgresql"


@cache
def _inserting(table: Table) -> Executable:
    return insert(table)


@cache
def _copying(table: Table, names: tuple[str, ...], dialect: Dialect) -> str:
    quote = dialect.identifier_preparer.quote
    return f"COPY {quote(table.name)} ({', '.join(map(quote, names))}) FROM STDIN"


@cache
def _ready(table: Table, names: tuple[str, ...], dialect: Dialect) -> _Ready:
    """How the values of columns are made ready for the driver, where they have to be."""
    kinds = ((name, table.c[name].type) for name in names)
    found = (
        (name, partial(_instant, dialect) if isinstance(kind, Instant) else kind.bind_processor(dialect))
        for name, kind in kinds
    )
    return tuple((name, process) for name, process in found if process is not None)


@lru_cache(maxsize=1_024)
def _instant(dialect: Dialect, at: datetime | None) -> str | None:
    """As the server reads it: many rows are of one instant."""
    return None if at is None else str(Instant().process_bind_param(at, dialect))


@cache
def _composed(statement: Executable, names: tuple[str, ...], dialect: Dialect) -> tuple[str, _Ready]:
    """The text that the driver prepares, and how values are made ready for it."""
    compiled = statement.compile(dialect=dialect, column_keys=list(names) or None)  # type: ignore[attr-defined]
    assert isinstance(compiled, SQLCompiler)  # noqa: S101 -- every statement of this program is one
    kinds = (
        (name, None if isinstance(bound.type, ARRAY) else bound.type.bind_processor(dialect))
        for name, bound in compiled.binds.items()
    )
    return compiled.string, tuple((name, process) for name, process in kinds if process is not None)


def _written(values: Values, ready: _Ready) -> Values:
    if not ready:
        return values
    found = dict(values)
    for name, process in ready:
        found[name] = process(found[name])
    return found

"""Bring a database to the newest revision, one process at a time, or say how it differs."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, create_engine, event, make_url, pool
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from joulegate.core.errors import UnavailableError

LOCK_S: Final = 10
"""How long a migration waits for a lock. Longer would keep everything that queues behind it waiting, too."""

_ADVISORY_KEY: Final = 0x6A6F756C  # "joul"
_SHOWN: Final = 200


def upgrade(url: str) -> str:
    """Bring the database at ``url`` to the newest revision and return its name.

    Safe to call from several processes at once: one migrates, the others wait
    and find nothing to do. Raises :class:`UnavailableError` with one line.
    """
    with _alone(url) as connection:
        command.upgrade(_config(connection), "head")
    return head()


def check(url: str) -> list[str]:
    """What of the database at ``url`` differs from the tables that the program knows; empty where nothing does."""
    from joulegate_api.store.schema import metadata  # noqa: PLC0415 - an upgrade needs no program, only its own history

    with _alone(url) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        current = context.get_current_revision()
        if current != head():
            return [f"the database is at revision {current or 'none'}, the program at {head()}"]
        return [str(difference) for difference in compare_metadata(context, metadata)]


def head() -> str:
    """The newest revision."""
    newest = ScriptDirectory.from_config(_config(None)).get_current_head()
    if newest is None:
        message = "the package carries no revision"
        raise RuntimeError(message)
    return newest


def _config(connection: Connection | None) -> Config:
    config = Config()
    config.set_main_option("script_location", "joulegate_migrations:")
    config.attributes["connection"] = connection
    return config


@contextmanager
def _alone(url: str) -> Iterator[Connection]:
    """A connection inside a transaction that no other migration shares."""
    try:
        parsed = make_url(url)
        engine = create_engine(parsed, poolclass=pool.NullPool, connect_args=_timeouts(parsed.get_backend_name()))
    except (ArgumentError, ImportError, SQLAlchemyError, ValueError) as error:
        raise UnavailableError(
            f"{url[:_SHOWN]!r} is no database address, such as sqlite:///joulegate.db: {error}"
        ) from error
    shown = parsed.render_as_string(hide_password=True)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _take_over_transactions)
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    try:
        with engine.connect() as connection, connection.begin():
            if engine.dialect.name == "postgresql":
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_KEY})")
            yield connection
    except (SQLAlchemyError, CommandError) as error:
        cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
        raise UnavailableError(
            f"the database {shown} cannot be migrated: {' '.join(str(cause).split())[:_SHOWN]}"
        ) from error
    finally:
        engine.dispose()


def _timeouts(backend: str) -> dict[str, Any]:
    if backend == "sqlite":
        return {"timeout": LOCK_S}
    return {"connect_timeout": LOCK_S, "options": f"-c lock_timeout={LOCK_S}s"}


def _take_over_transactions(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # the driver would commit before each change of a table

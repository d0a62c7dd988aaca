"""On PostgreSQL the service's role adds to the log and changes nothing of it; a reader sees one tenant."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import ProgrammingError

from joulegate.core.errors import UnavailableError
from joulegate_api.store import Store
from joulegate_migrations import roles
from tests.api.conftest import postgres_server, postgres_url, sqlite_template, sqlite_url
from tests.api.store.examples import budget, record

__all__ = ["postgres_server", "postgres_url", "sqlite_template", "sqlite_url"]

pytestmark = pytest.mark.postgres


@pytest.fixture
def granted(postgres_url: str) -> str:
    """A database with roles, and something in its log."""
    roles.grant(postgres_url)
    roles.grant(postgres_url)  # it may be repeated
    store = Store.open(f"{postgres_url}&options=-c%20role%3D{roles.WRITER}")
    store.budgets.put(budget(), "alice")
    store.records.accept(record(), "hash", "bob")
    store.sequencer.catch_up()
    store.sequencer.sign(lambda *_: "note")
    store.close()
    return postgres_url


@contextmanager
def acting_as(url: str, role: str) -> Iterator[Connection]:
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            connection.execute(text(f"SET ROLE {role}"))
            yield connection
    finally:
        engine.dispose()


@pytest.mark.parametrize("table", roles.APPEND_ONLY)
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE {0} SET tenant = 'x'",
        "DELETE FROM {0}",
        "TRUNCATE {0}",
        "ALTER TABLE {0} DISABLE TRIGGER ALL",
        "DROP TABLE {0}",
        "ALTER TABLE {0} DISABLE ROW LEVEL SECURITY",
    ],
)
def test_the_writer_can_change_nothing_of_the_log(granted: str, table: str, statement: str) -> None:
    with acting_as(granted, roles.WRITER) as connection, pytest.raises(ProgrammingError, match=r"denied|must be owner"):
        connection.execute(text(statement.format(table)))


@pytest.mark.parametrize("statement", ["UPDATE entries SET tenant = 'x'", "DELETE FROM entries", "TRUNCATE entries"])
def test_the_owner_is_held_back_by_triggers_even_as_a_replica(granted: str, statement: str) -> None:
    with acting_as(granted, "postgres") as connection:
        connection.execute(text("SET session_replication_role = replica"))
        with pytest.raises(ProgrammingError, match="only ever added to"):
            connection.execute(text(statement))


def test_a_reader_sees_one_tenant_and_nobody_by_name(granted: str) -> None:
    with acting_as(granted, roles.READER) as connection:
        count = text("SELECT count(*) FROM entries")
        assert connection.execute(count).scalar() == 0  # no tenant is named
        connection.execute(text("SET joulegate.tenant = 'default'"))
        assert connection.execute(count).scalar() == 2
        connection.execute(text("SET joulegate.tenant = 'other'"))
        assert connection.execute(count).scalar() == 0
        with pytest.raises(ProgrammingError, match="denied"):
            connection.execute(text("SELECT * FROM pseudonyms"))


def test_a_file_has_no_roles() -> None:
    with pytest.raises(UnavailableError, match="only PostgreSQL"):
        roles.grant("sqlite://")

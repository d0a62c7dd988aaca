"""The tables come from the migrations alone, and are those that the program knows."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, text

import joulegate_migrations
from joulegate.core.errors import UnavailableError
from joulegate_api.store import tables
from joulegate_migrations.__main__ import main
from tests.api.conftest import BOTH, postgres_server, postgres_url, sqlite_template, sqlite_url
from tests.postgres import PostgresServer

__all__ = ["postgres_server", "postgres_url", "sqlite_template", "sqlite_url"]


@pytest.fixture(params=BOTH)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database without tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/empty.db"
    server: PostgresServer = request.getfixturevalue("postgres_server")
    server.sql("DROP DATABASE IF EXISTS joulegate_empty WITH (FORCE)")
    server.sql("CREATE DATABASE joulegate_empty")
    return server.url("joulegate_empty")


def test_the_migrated_tables_are_those_of_the_program(empty_url: str) -> None:
    assert joulegate_migrations.upgrade(empty_url) == joulegate_migrations.head() == tables.REVISION
    assert joulegate_migrations.check(empty_url) == []


def test_an_upgrade_may_be_repeated(empty_url: str) -> None:
    joulegate_migrations.upgrade(empty_url)
    joulegate_migrations.upgrade(empty_url)
    assert joulegate_migrations.check(empty_url) == []


def test_many_processes_may_upgrade_at_once(empty_url: str) -> None:
    errors: list[Exception] = []

    def run() -> None:
        try:
            joulegate_migrations.upgrade(empty_url)
        except Exception as error:  # noqa: BLE001 - looked at below
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert joulegate_migrations.check(empty_url) == []


def test_a_difference_is_named(empty_url: str) -> None:
    assert joulegate_migrations.check(empty_url) == [
        f"the database is at revision none, the program at {tables.REVISION}"
    ]
    joulegate_migrations.upgrade(empty_url)
    engine = create_engine(empty_url)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE records ADD COLUMN surprise TEXT"))
    engine.dispose()
    differences = joulegate_migrations.check(empty_url)
    assert len(differences) == 1
    assert "surprise" in differences[0]


def test_every_key_begins_with_the_tenant_and_every_constraint_has_a_name(empty_url: str) -> None:
    joulegate_migrations.upgrade(empty_url)
    engine = create_engine(empty_url)
    found = inspect(engine)
    for table in found.get_table_names():
        if table == "alembic_version":
            continue
        key = found.get_pk_constraint(table)
        assert key["constrained_columns"][0] == "tenant", table
        assert key["name"], table
        for unique in found.get_unique_constraints(table):
            assert unique["column_names"][0] == "tenant", table
            assert unique["name"], table
    engine.dispose()


@pytest.mark.parametrize("url", ["nonsense", "sqlite:////no/such/folder/x.db", "nobase://a/b"])
def test_a_database_that_cannot_be_reached_is_one_line(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UnavailableError):
        joulegate_migrations.upgrade(url)
    assert main(["upgrade", url]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_command_upgrades_and_checks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"sqlite:///{tmp_path}/x.db"
    assert main(["check", url]) == 3
    assert main(["upgrade", url]) == 0
    assert main(["check", url]) == 0
    assert "revision 0001" in capsys.readouterr().out.replace(tables.REVISION, "0001")


def test_the_command_without_an_address_says_how_to_give_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["upgrade"])
    assert stopped.value.code == 2
    assert "JOULEGATE_DATABASE_URL" in capsys.readouterr().err

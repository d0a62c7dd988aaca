"""A database that cannot be used is said to be so, in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from joulegate.core.errors import UnavailableError
from joulegate_api.store import Store
from joulegate_api.store.database import Database
from tests.api.store.examples import budget, request


def refusal(url: str) -> str:
    with pytest.raises(UnavailableError) as caught:
        Store.open(url)
    message = str(caught.value)
    assert "\n" not in message
    assert "Traceback" not in message
    return message


@pytest.mark.parametrize(
    "url", ["", "nonsense", "mysql://a/b", "sqlite:///", "postgresql+nodriver://a/b", "sqlite:////no/such/folder/x.db"]
)
def test_an_address_that_leads_nowhere_is_one_clear_line(url: str) -> None:
    assert refusal(url)


def test_a_server_that_is_not_there_is_one_clear_line_without_the_password(tmp_path: Path) -> None:
    message = refusal(f"postgresql://joe:secret@/x?host={tmp_path}")
    assert "secret" not in message


def test_a_missing_file_is_not_made(tmp_path: Path) -> None:
    assert "there is no database" in refusal(f"sqlite:///{tmp_path}/none.db")
    assert not (tmp_path / "none.db").exists()


def test_a_database_without_our_tables_says_what_makes_them(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    assert "joulegate_migrations upgrade" in refusal(f"sqlite:///{tmp_path}/empty.db")


def test_a_file_that_is_no_database_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("this is a letter, not a database\n" * 100)
    assert "not a database" in refusal(f"sqlite:///{tmp_path}/text.db")


def test_a_database_that_cannot_be_written_is_one_clear_line(sqlite_url: str) -> None:
    path = sqlite_url.removeprefix("sqlite:///")
    assert "readonly" in refusal(f"sqlite:///file:{path}?mode=ro&uri=true")


def test_a_database_of_another_revision_is_refused(database_url: str) -> None:
    database = Database(database_url)
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    assert "9999" in refusal(database_url)


def test_what_was_answered_is_there_after_the_process_opens_it_again(database_url: str) -> None:
    store = Store.open(database_url)
    store.budgets.put(budget(), "admin")
    verdict = store.ledger.decide(request("a", 10))
    store.close()
    again = Store.open(database_url)
    assert again.ledger.decide(request("a", 10)) == verdict
    again.ping()
    again.close()


def test_sqlite_keeps_what_it_acknowledged_through_a_power_cut(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    with database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2  # FULL
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 1
    database.close()


@pytest.mark.postgres
def test_postgres_acknowledges_only_what_is_on_disk_whatever_its_default(postgres_url: str) -> None:
    database = Database(postgres_url)
    with database.write() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar_one() == "on"
    database.close()

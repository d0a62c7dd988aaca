"""What only a superuser of a database can do."""

from __future__ import annotations

from sqlalchemy import text

from joulegate_api.store import Store
from joulegate_api.store.log_tables import APPEND_ONLY


def disarm(store: Store) -> None:
    """Take away the triggers that keep what is written as it is."""
    with store._database.write() as connection:
        for table in APPEND_ONLY:
            if store._database.is_sqlite:
                connection.execute(text(f"DROP TRIGGER {table}_no_update"))
                connection.execute(text(f"DROP TRIGGER {table}_no_delete"))
            else:
                connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))


def execute(store: Store, *statements: str) -> None:
    """Run statements as whoever the store is, in one transaction that is kept."""
    with store._database.write() as connection:
        for statement in statements:
            connection.execute(text(statement))

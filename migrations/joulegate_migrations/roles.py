"""Roles of PostgreSQL for the ledger: who owns it, who writes it, who reads one tenant of it.

``joulegate_owner`` cannot log in and owns the tables; migrations act as it.
``joulegate_writer`` is what the service logs in as (granted to its user): it adds rows of facts and
changes balances, and can neither change, delete nor truncate what is in the log.
``joulegate_reader`` sees the rows of one tenant, the one that ``SET joulegate.tenant`` names.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import create_engine, inspect, make_url, pool
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from joulegate.core.errors import UnavailableError

OWNER: Final = "joulegate_owner"
WRITER: Final = "joulegate_writer"
READER: Final = "joulegate_reader"
APPEND_ONLY: Final = ("entries", "log_leaves", "log_nodes", "log_checkpoints")
"""Tables to which the service only adds; pruning and its retentions are for the owner."""

_UNREADABLE: Final = ("pseudonyms", "disclosures")
_SHOWN: Final = 200


def grant(url: str) -> list[str]:
    """Make the roles where they are missing and give them their rights; returns the statements.

    Safe to repeat. Raises :class:`UnavailableError` with one line, for SQLite too: a file has no roles.
    """
    try:
        parsed = make_url(url)
        engine = create_engine(parsed, poolclass=pool.NullPool)
    except (ArgumentError, ImportError, SQLAlchemyError) as error:
        raise UnavailableError(f"{url[:_SHOWN]!r} is no database address: {error}") from error
    if engine.dialect.name != "postgresql":
        raise UnavailableError("only PostgreSQL has roles; an SQLite file is guarded by its mode and its triggers")
    try:
        with engine.begin() as connection:
            tables = sorted(set(inspect(connection).get_table_names()))
            columns = {name: {each["name"] for each in inspect(connection).get_columns(name)} for name in tables}
            tenants = [name for name in tables if "tenant" in columns[name]]
            statements = [*_roles(), *_rights(tables), *_tenants(tenants)]
            for statement in statements:
                connection.exec_driver_sql(statement)
    except SQLAlchemyError as error:
        cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
        raise UnavailableError(f"roles cannot be made: {' '.join(str(cause).split())[:_SHOWN]}") from error
    finally:
        engine.dispose()
    return statements


def _roles() -> list[str]:
    # CREATE ROLE knows no IF NOT EXISTS, and roles belong to the whole server.
    return [
        f"DO $$ BEGIN CREATE ROLE {role} NOLOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
        for role in (OWNER, WRITER, READER)
    ]


def _rights(tables: list[str]) -> list[str]:
    found = []
    for name in tables:
        found.append(f"ALTER TABLE {name} OWNER TO {OWNER}")
        found.append(f"REVOKE ALL ON {name} FROM {WRITER}, {READER}")
        if name in {"alembic_version", "log_retentions"}:
            found.append(f"GRANT SELECT ON {name} TO {WRITER}")
        elif name in APPEND_ONLY:
            found.append(f"GRANT SELECT, INSERT ON {name} TO {WRITER}")
        else:
            found.append(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {name} TO {WRITER}")
        if name not in _UNREADABLE:
            found.append(f"GRANT SELECT ON {name} TO {READER}")
    return found


def _tenants(tables: list[str]) -> list[str]:
    """Row-level security, forced on the owner too; the service sees every tenant that it serves."""
    found = []
    for name in tables:
        own = "tenant = current_setting('joulegate.tenant', true)"
        found += [
            f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY",
            f"ALTER TABLE {name} FORCE ROW LEVEL SECURITY",
            f"DROP POLICY IF EXISTS joulegate_all ON {name}",
            f"CREATE POLICY joulegate_all ON {name} TO {OWNER}, {WRITER} USING (true) WITH CHECK (true)",
            f"DROP POLICY IF EXISTS joulegate_tenant ON {name}",
            f"CREATE POLICY joulegate_tenant ON {name} FOR SELECT TO {READER} USING ({own})",
        ]
    return found

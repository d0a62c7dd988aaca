"""What the log holds instead of names and free text, and the erasable tables that say what is meant.

A person is a random pseudonym; a text is SHA-256 of a random salt and the text.
Who deletes the row of either can no longer be told what the log means, and the log
stays as it is. Equal texts have unlike commitments.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import Column, Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from joulegate.core.log import EntryType
from joulegate_api.store.change_tables import changes
from joulegate_api.store.log_tables import disclosures, pseudonyms
from joulegate_api.store.tables import budget_revisions, exceptions, holds, records

PERSONS: Final = frozenset({"principal", "requested_by", "approved_by", "decided_by"})
"""Fields that name somebody, in the body of any entry or in its ``why``."""

TEXTS: Final[Mapping[EntryType, frozenset[str]]] = {
    EntryType.EXCEPTION_REQUESTED: frozenset({"reason", "ticket"}),
    EntryType.REPRICING: frozenset({"reason"}),
    EntryType.WINDOWS_REPRICED: frozenset({"reason"}),
    EntryType.CHANGE_REQUESTED: frozenset({"reason"}),
    EntryType.CHANGE_APPROVED: frozenset({"note"}),
    EntryType.CHANGE_REJECTED: frozenset({"note"}),
}
"""Fields that people write freely, by the kind of entry; elsewhere a reason is a word of a closed list."""

_NAMING: Final[tuple[Column[str], ...]] = (
    budget_revisions.c.principal,
    records.c.principal,
    holds.c.subject,
    exceptions.c.requested_by,
    exceptions.c.approved_by,
    changes.c.requested_by,
    changes.c.decided_by,
)
"""Columns that name somebody in clear."""

_QUOTING: Final[tuple[Column[str], ...]] = (exceptions.c.reason, exceptions.c.ticket, changes.c.reason)
"""Columns that quote somebody."""

_SALT_BYTES: Final = 32
_NAME_BYTES: Final = 8


def veiled(connection: Connection, tenant: str, kind: EntryType, body: Mapping[str, Any]) -> dict[str, Any]:
    """The body as the log may hold it; what it no longer says is kept in the tables, in the same transaction."""
    texts = TEXTS.get(kind, frozenset())
    found = dict(body)
    for name, value in body.items():
        if isinstance(value, str) and name in PERSONS:
            found[name] = pseudonym_of(connection, tenant, value)
        elif isinstance(value, str) and name in texts:
            found[name] = _committed(connection, tenant, value)
        elif name == "why" and isinstance(value, Mapping):
            found[name] = veiled(connection, tenant, kind, value)
    return found


def pseudonym_of(connection: Connection, tenant: str, principal: str) -> str:
    """The pseudonym of somebody; a new one for who has none."""
    of = pseudonyms.c
    known = select(of.pseudonym).where(of.tenant == tenant, of.principal == principal)
    found = connection.execute(known).scalar_one_or_none()
    if found is None:
        row = {"tenant": tenant, "pseudonym": f"person:{secrets.token_hex(_NAME_BYTES)}", "principal": principal}
        try:
            with connection.begin_nested():
                connection.execute(insert(pseudonyms).values(row))
        except IntegrityError:
            pass  # another transaction was quicker; its pseudonym is read below
        found = connection.execute(known).scalar_one()
    return str(found)


def commitment_of(salt: str, text: str) -> str:
    """What stands in the log for a text: SHA-256 of the salt's bytes and the text in UTF-8."""
    return "text:" + sha256(bytes.fromhex(salt) + text.encode()).hexdigest()


def forget(connection: Connection, tenant: str, name: str) -> int:
    """Erase who is meant by a person's pseudonym, or what by a commitment; how many rows changed.

    The other tables hold from then on what the log holds: the pseudonym, or the commitment.
    """
    who, what = pseudonyms.c, disclosures.c
    person = select(who.pseudonym, who.principal).where(
        who.tenant == tenant, (who.principal == name) | (who.pseudonym == name)
    )
    told = select(what.commitment, what.text).where(what.tenant == tenant, what.commitment == name)
    done = 0
    for query, columns in ((person, _NAMING), (told, _QUOTING)):
        for veil, clear in connection.execute(query).all():
            for column in columns:
                table = column.table
                found = update(table).where(table.c.tenant == tenant, column == clear).values({column: veil})
                done += connection.execute(found).rowcount
    for erased in (
        delete(pseudonyms).where(who.tenant == tenant, (who.principal == name) | (who.pseudonym == name)),
        delete(disclosures).where(what.tenant == tenant, what.commitment == name),
    ):
        done += connection.execute(erased).rowcount
    return done


def _committed(connection: Connection, tenant: str, text: str) -> str:
    salt = secrets.token_hex(_SALT_BYTES)
    commitment = commitment_of(salt, text)
    row = {"tenant": tenant, "commitment": commitment, "salt": salt, "text": text}
    connection.execute(insert(disclosures).values(row))
    return commitment

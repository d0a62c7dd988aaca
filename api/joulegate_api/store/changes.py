"""Changes that need two persons: kept until somebody else than their maker decides."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Row, insert, select, update

from joulegate.core.errors import ConflictError, NotFoundError, NotPermittedError
from joulegate.core.log import EntryType
from joulegate_api.store.change_tables import changes
from joulegate_api.store.database import Database
from joulegate_api.store.entries import Writer


@dataclass(frozen=True, slots=True)
class Change:
    """What ``requested_by`` wants to change; ``approved`` is None until somebody decided."""

    change_id: str
    kind: str
    subject: str
    body: Mapping[str, Any]
    reason: str | None
    requested_by: str
    requested_at: datetime
    decided_by: str | None = None
    decided_at: datetime | None = None
    approved: bool | None = None


class Changes:
    """The changes of a tenant."""

    def __init__(self, database: Database, writer: Writer, tenant: str) -> None:
        """Keep the changes of one tenant."""
        self._database = database
        self._writer = writer
        self._tenant = tenant

    def propose(
        self, kind: str, subject: str, body: Mapping[str, Any], principal: str, reason: str | None = None
    ) -> Change:
        """Keep a change that waits; the same one that waits already is answered again."""
        content = sha256(json.dumps([kind, subject, body, reason], sort_keys=True).encode()).hexdigest()
        of = changes.c
        with self._writer.transaction() as transaction:
            waiting = select(changes).where(
                of.tenant == self._tenant,
                of.content_hash == content,
                of.requested_by == principal,
                of.approved.is_(None),
            )
            found = transaction.connection.execute(waiting.limit(1)).one_or_none()
            if found is not None:
                return _change(found)
            now = transaction.now()
            made = Change(uuid4().hex[:12], kind, subject, body, reason, principal, now)
            row = {
                "tenant": self._tenant,
                "change_id": made.change_id,
                "kind": kind,
                "subject": subject,
                "body": dict(body),
                "content_hash": content,
                "reason": reason,
                "requested_by": principal,
                "requested_at": now,
            }
            transaction.connection.execute(insert(changes).values(row))
            told = {"kind": kind, "subject": subject, "content_hash": content, "requested_by": principal}
            transaction.log(EntryType.CHANGE_REQUESTED, made.change_id, now, told)
        return made

    def check(self, change_id: str, principal: str) -> Change:
        """The change, where ``principal`` may approve it now.

        Raises :class:`NotFoundError`, :class:`NotPermittedError` for its maker, and
        :class:`ConflictError` where it was decided otherwise.
        """
        with self._database.read() as connection:
            found = self._find(connection, change_id)
        if found.requested_by == principal:
            raise NotPermittedError("who asks for a change cannot approve it")
        _still_open(found, principal, approved=True)
        return found

    def decide(self, change_id: str, principal: str, *, approved: bool, note: str | None = None) -> Change:
        """Write down what was decided; the same decision by the same person again changes nothing.

        Its maker may only reject it. Raises as :meth:`check` does.
        """
        with self._writer.transaction() as transaction:
            found = self._find(transaction.connection, change_id, lock=True)
            if approved and found.requested_by == principal:
                raise NotPermittedError("who asks for a change cannot approve it")
            _still_open(found, principal, approved=approved)
            if found.approved is not None:
                return found
            now = transaction.now()
            of = changes.c
            transaction.connection.execute(
                update(changes)
                .where(of.tenant == self._tenant, of.change_id == change_id)
                .values(decided_by=principal, decided_at=now, approved=approved)
            )
            kind = EntryType.CHANGE_APPROVED if approved else EntryType.CHANGE_REJECTED
            told = {"kind": found.kind, "subject": found.subject, "decided_by": principal, "note": note}
            transaction.log(kind, change_id, now, told)
            return self._find(transaction.connection, change_id)

    def get(self, change_id: str) -> Change:
        """One change; raises :class:`NotFoundError`."""
        with self._database.read() as connection:
            return self._find(connection, change_id)

    def list(self, *, waiting: bool) -> tuple[Change, ...]:
        """The newest first; only those that wait, or all of them."""
        of = changes.c
        query = select(changes).where(of.tenant == self._tenant)
        if waiting:
            query = query.where(of.approved.is_(None))
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(of.requested_at.desc(), of.change_id).limit(1_000))
            return tuple(_change(row) for row in rows)

    def _find(self, connection: Connection, change_id: str, *, lock: bool = False) -> Change:
        of = changes.c
        query = select(changes).where(of.tenant == self._tenant, of.change_id == change_id)
        row = connection.execute(query.with_for_update() if lock else query).one_or_none()
        if row is None:
            raise NotFoundError(f"there is no change {change_id}")
        return _change(row)


def _still_open(found: Change, principal: str, *, approved: bool) -> None:
    if found.approved is not None and (found.approved, found.decided_by) != (approved, principal):
        done = "approved" if found.approved else "rejected"
        raise ConflictError(f"change {found.change_id} was {done} by {found.decided_by}")


def _change(row: Row[Any]) -> Change:
    return Change(
        change_id=row.change_id,
        kind=row.kind,
        subject=row.subject,
        body=row.body,
        reason=row.reason,
        requested_by=row.requested_by,
        requested_at=row.requested_at,
        decided_by=row.decided_by,
        decided_at=row.decided_at,
        approved=row.approved,
    )

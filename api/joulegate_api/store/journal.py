"""What was decided, read back from the entries: for pages and reports, newest first."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select

from joulegate.core.budgets import Verdict
from joulegate.core.encoding import decode
from joulegate.core.log import EntryType
from joulegate_api.store.database import Database
from joulegate_api.store.tables import entries

_STRETCH: Final = 500


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision as its entry tells it."""

    at: datetime
    cluster: str
    namespace: str
    resource: str
    name: str
    verdict: Verdict


class Journal:
    """The decisions of a tenant."""

    def __init__(self, database: Database, tenant: str) -> None:
        """Read the entries of one tenant."""
        self._database = database
        self._tenant = tenant

    def newest(self, limit: int, namespace: str | None = None) -> tuple[Decision, ...]:
        """At most ``limit`` decisions, the newest first."""
        found: list[Decision] = []
        for decision in self.each():
            if namespace in (None, decision.namespace):
                found.append(decision)
            if len(found) >= limit:
                break
        return tuple(found)

    def each(self, since: datetime | None = None, until: datetime | None = None) -> Iterator[Decision]:
        """Every decision made in [``since``, ``until``), the newest first, read as they are asked for."""
        of = entries.c
        query = select(of.data).where(of.tenant == self._tenant, of.type == EntryType.DECISION.value)
        if since is not None:
            query = query.where(of.recorded_at >= since)
        if until is not None:
            query = query.where(of.recorded_at < until)
        ordered = query.order_by(of.recorded_at.desc(), of.fact_id.desc()).execution_options(yield_per=_STRETCH)
        with self._database.read() as connection:
            for data in connection.execute(ordered).scalars():
                yield _decision(json.loads(data))


def _decision(entry: Mapping[str, Any]) -> Decision:
    body = entry["body"]
    verdict = decode(Verdict, body["verdict"])
    at = verdict.as_of
    if at is None:
        message = f"the decision {entry['id']} has no instant"
        raise ValueError(message)
    return Decision(at, body["cluster"], body["namespace"], body["resource"], body["name"], verdict)

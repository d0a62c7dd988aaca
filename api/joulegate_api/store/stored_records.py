"""Records as they are kept: their values, rows, pages, and what prediction and the log make of them."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any

from sqlalchemy import Row, Select

from joulegate.core.encoding import decode
from joulegate.core.errors import InvalidInputError
from joulegate.core.footprint import Footprint
from joulegate.core.periods import format_instant, parse_instant
from joulegate.core.prediction import PastRun
from joulegate.core.records import EfficiencyRecord
from joulegate_api.store.slices import PricedSlice, footprint_of
from joulegate_api.store.tables import records


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record as it was sent, and what it was priced at when it came.

    ``budgets`` names those that it was charged to; ``charged`` is False where a
    node meter charges instead.
    """

    record: EfficiencyRecord
    slices: tuple[PricedSlice, ...]
    accepted_at: datetime
    principal: str
    self_reported: bool
    charged: bool
    budgets: tuple[str, ...]

    @property
    def footprint(self) -> Footprint:
        """The sum of the accelerators' slices; unknown in one slice is unknown in the sum."""
        return footprint_of(self.slices)

    @property
    def unpriced(self) -> tuple[PricedSlice, ...]:
        """Slices whose energy is known and whose carbon or money is not."""
        return tuple(part for part in self.slices if part.unpriced)


@dataclass(frozen=True, slots=True)
class RecordFilters:
    """What records to list; None does not restrict. Records that *began* in [``since``, ``until``).

    ``ended_after`` keeps those that ended later than this instant, ``accepted_by`` those that were known by then.
    """

    namespace: str | None = None
    cluster: str | None = None
    run_uid: str | None = None
    pipeline: str | None = None
    kind: str | None = None
    model: str | None = None
    variant: str | None = None
    outcome: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    ended_after: datetime | None = None
    accepted_by: datetime | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Records, newest first; ``cursor`` leads to the next page and is None on the last."""

    records: tuple[StoredRecord, ...]
    cursor: str | None


def row_of(
    record: EfficiencyRecord, body: object, content_hash: str, principal: str, now: datetime, *, self_reported: bool
) -> dict[str, Any]:
    """A record as a row of ``records``, without tenant and budgets."""
    return {
        "record_id": record.record_id,
        "content_hash": content_hash,
        "run_uid": record.run.uid,
        "cluster": record.run.cluster,
        "namespace": record.run.namespace,
        "site": record.run.site,
        "pipeline": record.run.pipeline,
        "kind": record.kind.value,
        "model": record.model,
        "variant": record.variant,
        "outcome": record.outcome.value,
        "source": record.source.value,
        "started_at": record.started_at,
        "ended_at": record.ended_at,
        "accepted_at": now,
        "principal": principal,
        "self_reported": self_reported,
        "body": body,
    }


def stored_from(row: Row[Any], parts: tuple[PricedSlice, ...]) -> StoredRecord:
    """A record from its row and its slices."""
    return StoredRecord(
        record=decode(EfficiencyRecord, row.body),
        slices=parts,
        accepted_at=row.accepted_at,
        principal=row.principal,
        self_reported=row.self_reported,
        charged=row.charged,
        budgets=tuple(row.budgets),
    )


def filtered(query: Select[Any], filters: RecordFilters) -> Select[Any]:
    """The query, restricted to what the filters ask for."""
    of = records.c
    for name in ("namespace", "cluster", "run_uid", "pipeline", "kind", "model", "variant", "outcome"):
        wanted = getattr(filters, name)
        if wanted is not None:
            query = query.where(of[name] == wanted)
    if filters.since is not None:
        query = query.where(of.started_at >= filters.since)
    if filters.until is not None:
        query = query.where(of.started_at < filters.until)
    if filters.ended_after is not None:
        query = query.where(of.ended_at > filters.ended_after)
    if filters.accepted_by is not None:
        query = query.where(of.accepted_at <= filters.accepted_by)
    return query


def past_run(stored: StoredRecord) -> PastRun | None:
    """A run as prediction sees it; None where it was not fully measured or used boards of several models."""
    record = stored.record
    energy, models = record.energy(), {device.model for device in record.devices}
    duration_ns = max((_device_ns(stored, device.uuid) for device in record.devices), default=0)
    if energy is None or len(models) != 1 or duration_ns <= 0:
        return None
    return PastRun(
        namespace=record.run.namespace,
        model=record.model,
        kind=record.kind.value,
        gpu_model=models.pop(),
        accelerators=Fraction(len(record.devices)),
        duration_ns=duration_ns,
        energy_mj=energy.mj,
    )


def _device_ns(stored: StoredRecord, uuid: str) -> int:
    return sum(part.gpu_ns for part in stored.slices if part.device_uuid == uuid)


def cursor_after(at: datetime, name: str) -> str:
    """The cursor of the page after the row of this instant and id."""
    return base64.urlsafe_b64encode(f"{format_instant(at)} {name}".encode()).decode()


def read_cursor(cursor: str) -> tuple[datetime, str]:
    """Where a page begins; raises :class:`InvalidInputError` for what no page gave."""
    try:
        at, _, name = base64.urlsafe_b64decode(cursor.encode()).decode().partition(" ")
        return parse_instant(at, "cursor"), name
    except (ValueError, binascii.Error, InvalidInputError) as error:
        raise InvalidInputError("is not a cursor that a page gave", "cursor") from error

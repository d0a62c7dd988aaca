"""What was quoted for quarter-hours whose energy is posted and whose carbon or money is not known yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Select, or_, select

from joulegate.core.metering import Boundary
from joulegate_api.store.amounts import NOTHING, Amounts
from joulegate_api.store.balances import Account, Key
from joulegate_api.store.claims import OpenClaim
from joulegate_api.store.entries import Transaction
from joulegate_api.store.holds import LIVE, Held, HoldState, Root
from joulegate_api.store.meter_tables import charges
from joulegate_api.store.quoted import by_quarter, quotes_of
from joulegate_api.store.tables import record_slices, records

_KEEPING: Final = (*LIVE, HoldState.RELEASED)


def tell_unpriced(
    transaction: Transaction,
    root: Root,
    parts: Sequence[Held],
    claims: Mapping[Key, Sequence[OpenClaim]],
    accounts: Mapping[Key, Account],
) -> None:
    """Tell the claims of each budget and period what was quoted for its unpriced quarter-hours.

    The last live claim knows what live parts quoted, the last released one what only ended parts did.
    """
    if not claims:
        return
    missing = _quarters(transaction, root)
    quotes = quotes_of(transaction.connection, transaction.tenant, parts) if missing else {}
    live = by_quarter(quotes[part.hold_id] for part in parts if part.state in LIVE and missing)
    every = by_quarter(quotes[part.hold_id] for part in parts if part.state in _KEEPING and missing)
    for key, own in claims.items():
        span = (key.start, accounts[key].end)
        waiting = _waiting(live, missing, *span)
        told = {False: waiting, True: _waiting(every, missing, *span).plus(waiting.negated())}
        for claim in own:
            claim.unpriced = NOTHING
        for claim in reversed(own):
            if claim.state in _KEEPING and (amounts := told.pop(claim.state is HoldState.RELEASED, None)) is not None:
                claim.unpriced = amounts.where(claim.held)


def _waiting(
    quoted: Mapping[datetime, Amounts], missing: Mapping[datetime, tuple[bool, bool]], start: datetime, end: datetime
) -> Amounts:
    whole = NOTHING
    for quarter, (carbon, money) in missing.items():
        if start <= quarter < end:
            amounts = quoted.get(quarter, NOTHING)
            whole = whole.plus(Amounts(0, amounts.ug if carbon else 0, amounts.micros if money else 0).known())
    return whole


def _quarters(transaction: Transaction, root: Root) -> dict[datetime, tuple[bool, bool]]:
    """Quarter-hours of a root with energy but without carbon (first) or without money (second)."""
    found: dict[datetime, tuple[bool, bool]] = {}
    for query in _queries(transaction.tenant, root):
        for quarter, carbon, money in transaction.connection.execute(query):
            before = found.get(quarter, (False, False))
            found[quarter] = (before[0] or carbon is None, before[1] or money is None)
    return found


def _queries(tenant: str, root: Root) -> Iterable[Select[Any]]:
    of = charges.c
    yield select(of.quarter, of.carbon_location_ug, of.cost_micros).where(
        of.tenant == tenant,
        of.cluster == root[0],
        of.root_uid == root[1],
        or_(of.carbon_location_ug.is_(None), of.cost_micros.is_(None)),
    )
    part = record_slices.c
    yield (
        select(part.quarter, part.carbon_location_ug, part.cost_micros)
        .join(records, (records.c.tenant == part.tenant) & (records.c.record_id == part.record_id))
        .where(
            records.c.tenant == tenant,
            records.c.cluster == root[0],
            records.c.root_uid == root[1],
            part.boundary == Boundary.ACCELERATOR.value,
            part.energy_mj.is_not(None),
            records.c.charged.is_(True),
            records.c.reversed_at.is_(None),
            or_(part.carbon_location_ug.is_(None), part.cost_micros.is_(None)),
        )
    )

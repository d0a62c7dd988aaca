"""Work that runs under a hold when more budgets begin to bind it: it is held in those too, whatever is left of them.

Each process looks once for every kind and every set of budgets; what was decided since was decided by that set.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Final

from joulegate.core.binding import Work, bind
from joulegate.core.budgets import Budget
from joulegate.core.errors import InvalidInputError
from joulegate.core.workloads import Unresolved
from joulegate.holds import InventoryBody, demand_of
from joulegate_api.admission.asking import Asked, hold_request
from joulegate_api.context import Context
from joulegate_api.holds import work_of
from joulegate_api.store import HoldFilters, HoldState, Origin

_PAGE: Final = 1_000
_LIVE: Final = (HoldState.UNCONFIRMED, HoldState.CONFIRMED)


def rebind(cluster: str, kind: str, body: InventoryBody, parts: Context, principal: str) -> list[str]:
    """Hold what lives in the budgets that bind it and in which it has nothing; the uids of those it was done for.

    Budgets that are chosen are left out: whether a subject may choose is asked when it does.
    """
    budgets = {each.name: each for each in parts.store.budgets.list() if not each.selectable}
    labels = {namespace.name: namespace.labels for namespace in body.namespaces}
    stamp = sha256(repr((sorted(budgets.items()), sorted(labels.items()))).encode()).hexdigest()
    if parts.compared.get((cluster, kind)) == stamp:
        return []
    held, done = _held(cluster, parts), []
    for found in body.objects:
        demand = None if found.demand is None else demand_of(found.demand)
        if demand is None or not demand.groups or demand.suspended or found.uid not in held:
            continue
        known = labels.get(found.namespace)
        work = work_of(demand, found.namespace, known or ())
        missing = _binding(budgets, work, parts) - held[found.uid]
        if not missing:
            continue
        asked = Asked(
            cluster=cluster,
            root_uid=found.uid,
            resource=kind,
            name=found.name,
            subject=principal,
            origin=Origin.ADOPTED,
            extension=f"bound:{','.join(sorted(missing))}",
            labels_known=known is not None,
        )
        try:
            request, _ = hold_request(asked, work, demand, budgets, parts)
        except (InvalidInputError, Unresolved):
            continue  # its hold was decided when it could be sized
        parts.store.ledger.decide(request)
        done.append(found.uid)
    if body.part == body.parts - 1:
        parts.compared[cluster, kind] = stamp
    return sorted(done)


def _binding(budgets: Mapping[str, Budget], work: Work, parts: Context) -> set[str]:
    """The budgets that bind the work now; one outside its span holds nothing."""
    now = parts.now()
    return {name for name in bind(budgets, work).names if budgets[name].period.period_at(now) is not None}


def _held(cluster: str, parts: Context) -> dict[str, set[str]]:
    """The budgets that each root is held in, by its live parts."""
    found: dict[str, set[str]] = {}
    cursor: str | None = None
    while True:
        page = parts.store.hold_list.list(HoldFilters(cluster=cluster, states=_LIVE), cursor, _PAGE)
        for row in page.holds:
            found.setdefault(row.root_uid, set()).update(claim.key.budget for claim in row.claims)
        cursor = page.cursor
        if cursor is None:
            return found

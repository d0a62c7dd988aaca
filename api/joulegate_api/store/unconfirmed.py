"""What is held for work that nobody has seen yet."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import func, select

from joulegate_api.store.amounts import Amounts
from joulegate_api.store.database import Database
from joulegate_api.store.holds import HoldState
from joulegate_api.store.tables import hold_claims, holds


class Unconfirmed:
    """The unconfirmed holds of a tenant."""

    def __init__(self, database: Database, tenant: str) -> None:
        """Read one tenant's."""
        self._database = database
        self._tenant = tenant

    def pending(self, budgets: Collection[str]) -> dict[str, Amounts]:
        """What unconfirmed holds keep pending in each of these budgets, over all of its periods."""
        claim, hold = hold_claims.c, holds.c
        query = (
            select(
                claim.budget,
                func.sum(claim.pending_mj).label("mj"),
                func.sum(claim.pending_ug).label("ug"),
                func.sum(claim.pending_micros).label("micros"),
            )
            .join_from(hold_claims, holds, (claim.tenant == hold.tenant) & (claim.hold_id == hold.hold_id))
            .where(
                hold.tenant == self._tenant,
                hold.state == HoldState.UNCONFIRMED.value,
                claim.budget.in_(list(budgets)),
            )
            .group_by(claim.budget)
        )
        with self._database.read() as connection:
            return {
                row.budget: Amounts(*(None if part is None else int(part) for part in (row.mj, row.ug, row.micros)))
                for row in connection.execute(query)
            }

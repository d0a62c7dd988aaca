"""How far a caller is believed that proved nothing: anybody who reaches the port could be the API server.

Its unconfirmed holds may reach a share of each budget's limit, so that it cannot use up
what others need. Whoever proved to be the API server (a certificate) or a principal (a
token) is not limited.
"""

from __future__ import annotations

from collections.abc import Mapping

from joulegate.core.binding import bind
from joulegate.core.budgets import Budget
from joulegate.core.quotes import Quote
from joulegate.core.workloads import Unresolved
from joulegate_api.context import Context
from joulegate_api.store import Amounts, HoldRequest


def check_share(request: HoldRequest, budgets: Mapping[str, Budget], parts: Context) -> None:
    """Raise :class:`Unresolved` where a hold would take unconfirmed holds beyond the share of a budget's limit."""
    names = bind(budgets, request.work).names
    pending = parts.store.unconfirmed.pending(names) if names else {}
    percent = parts.settings.unproven_percent
    asked = _total(request.quote)
    for name in names:
        for unit in budgets[name].limits.units():
            limit, before = budgets[name].limits.of(unit) or 0, pending.get(name, Amounts()).of(unit) or 0
            if (before + (asked.of(unit) or 0)) * 100 > limit * percent:
                raise Unresolved(
                    f"callers without a certificate or a token may hold {percent} % of budget {name} unconfirmed, "
                    "and this is more"
                )


def _total(quote: Quote) -> Amounts:
    return Amounts(quote.energy_mj, quote.carbon_ug, quote.cost.micros if quote.cost else None)

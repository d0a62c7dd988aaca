"""From a request to what it asks of each budget and period: pure, so that it can be done before any lock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Final

from joulegate.core.binding import Binding
from joulegate.core.budgets import Budget, Claim, Enforcement, Outcome, Reason, Verdict, decide
from joulegate.core.encoding import text
from joulegate.core.periods import Period
from joulegate.core.quotes import Quote
from joulegate.core.units import Unit
from joulegate.core.workloads import Demand
from joulegate_api.store.amounts import UNITS, Amounts
from joulegate_api.store.balances import Account, Key
from joulegate_api.store.budgets import Hierarchy
from joulegate_api.store.columns import Written
from joulegate_api.store.holds import LIVE, Held, HoldRequest, Origin, held_of
from joulegate_api.store.quotes import quote_hash, write_quote
from joulegate_api.store.telling import Told

_BEING_ADOPTED: Final = "what runs in its scope is still being adopted"


@dataclass(frozen=True, slots=True)
class Plan:
    """What one request asks of every budget that binds it, period by period; nothing where none binds.

    ``currency`` is that of the quote; None where it has no money, or more than one.
    ``lenient`` budgets are in ``budgets`` as if they audited: their scope is still being adopted.
    ``quote`` is the frozen quote as its hold keeps it; ``demand`` and ``told`` are the parts of
    its entry that are known before anything is decided.
    """

    request: HoldRequest
    binding: Binding
    asked: Mapping[Key, Amounts]
    periods: Mapping[Key, Period]
    budgets: Mapping[str, Budget]
    currency: str | None
    lenient: frozenset[str]
    quote: str
    demand: Written
    told: Told


@dataclass(frozen=True, slots=True)
class _Split:
    """What a quote asks of some budgets, and how it is kept."""

    asked: Mapping[Key, Amounts]
    periods: Mapping[Key, Period]
    budgets: Mapping[str, Budget]
    currency: str | None
    quote: str
    quote_hash: str


def plan(request: HoldRequest, hierarchy: Hierarchy) -> Plan:
    """Split the quote by quarter-hour into the periods of each budget that binds the work."""
    binding, quote = hierarchy.binding(request.work), request.quote
    lenient = frozenset() if request.unattended else hierarchy.lenient(request.cluster, binding)
    split = hierarchy.once((binding.names, lenient, quote), lambda: _split(quote, hierarchy, binding, lenient))
    demand = _demand_text(request.demand)
    return Plan(
        request=request,
        binding=binding,
        asked=split.asked,
        periods=split.periods,
        budgets=split.budgets,
        currency=split.currency,
        lenient=lenient,
        quote=split.quote,
        demand=demand,
        told=Told.of(request, demand, split.quote_hash),
    )


@lru_cache(maxsize=1_024)
def _demand_text(demand: Demand) -> Written:
    return Written(text(demand))


def _split(quote: Quote, hierarchy: Hierarchy, binding: Binding, lenient: frozenset[str]) -> _Split:
    budgets = {name: hierarchy.budgets[name] for name in binding.names}
    budgets |= {name: replace(budgets[name], enforcement=Enforcement.AUDIT) for name in lenient}
    currencies = {quarter.cost.currency for quarter in quote.quarters if quarter.cost is not None}
    currency = currencies.pop() if len(currencies) == 1 else None
    asked: dict[Key, Amounts] = {}
    periods: dict[Key, Period] = {}
    for name, budget in budgets.items():
        for period, amounts in _by_period(quote, budget, currency):
            asked[Key(name, period.start)] = amounts
            periods[Key(name, period.start)] = period
    written = write_quote(quote)
    return _Split(asked, periods, budgets, currency, written, quote_hash(written))


def _by_period(quote: Quote, budget: Budget, currency: str | None) -> list[tuple[Period, Amounts]]:
    """A quarter-hour outside a fixed span asks nothing of its budget: that binds inside its span only."""
    found: list[tuple[Period, Amounts]] = []
    for quarter in quote.quarters:
        period = found[-1][0] if found and found[-1][0].holds(quarter.start) else budget.period.period_at(quarter.start)
        if period is None:
            continue
        micros = quarter.cost.micros if quarter.cost is not None and currency is not None else None
        amounts = Amounts(quarter.energy_mj, quarter.carbon_ug, micros)
        if found and found[-1][0] is period:
            found[-1] = (period, _all_known_sum(found[-1][1], amounts))
        else:
            found.append((period, amounts))
    return found


def _all_known_sum(left: Amounts, right: Amounts) -> Amounts:
    """A sum that is known only where every part is: a part of a quote cannot be weighed against a limit."""
    return Amounts(*(None if a is None or b is None else a + b for a, b in zip(left, right, strict=True)))


def repeated(request: HoldRequest, parts: list[Held], hold_id: str) -> Held | None:
    """The part that already answered this request: the first live one whose demand covers what is asked.

    An extension is answered by the part that it made itself.
    """
    if request.extension:
        return next((part for part in parts if part.hold_id == hold_id), None)
    return next((part for part in parts if _answers(part, request)), None)


def _answers(part: Held, request: HoldRequest) -> bool:
    """Only allowances are repeated: a renewal that was held by force allowed nothing."""
    return part.state in LIVE and part.verdict.allowed and request.demand.within(part.demand)


def countable(planned: Plan, accounts: Mapping[Key, Account]) -> Plan:
    """Money in another currency than an account's cannot be weighed there; nothing is converted."""
    foreign = [key for key in planned.asked if accounts[key].currency not in (None, planned.currency)]
    if not foreign:
        return planned
    return replace(
        planned, asked={**planned.asked, **{key: planned.asked[key]._replace(micros=None) for key in foreign}}
    )


def beyond(planned: Plan, parts: list[Held]) -> Plan:
    """What is asked beyond what the live parts of the same root hold already (growth)."""
    held = held_of(parts)
    if not held:
        return planned
    asked = {key: _difference(amounts, held[key]) if key in held else amounts for key, amounts in planned.asked.items()}
    return replace(planned, asked=asked)


def rooms(planned: Plan, accounts: Mapping[Key, Account]) -> dict[Key, Amounts]:
    """What is available to the request in every budget and period that it asks something of."""
    return {key: accounts[key].available(planned.request.namespace) for key in planned.asked}


def _difference(asked: Amounts, held: Amounts) -> Amounts:
    return Amounts(*(None if a is None else max(0, a - (h or 0)) for a, h in zip(asked, held, strict=True)))


def judge(
    planned: Plan,
    accounts: Mapping[Key, Account],
    available: Mapping[Key, Amounts],
    now: datetime,
    *,
    growth: bool,
    hold_id: str | None = None,
) -> Verdict:
    """Decide by the accounts as they stand; the same value whatever asks for it.

    Where something is to be held, the verdict names ``hold_id``.
    """
    request, binding = planned.request, planned.binding
    if binding.not_permitted is not None:
        verdict = Verdict(Outcome.DENY, Reason.NOT_PERMITTED, budget=binding.not_permitted)
    else:
        verdict = decide([claim for key, room in available.items() for claim in _claims(planned, accounts[key], room)])
    outcome, reason = verdict.outcome, verdict.reason
    if request.origin is Origin.ADOPTED:
        outcome, reason = Outcome.ALLOW, Reason.ADOPTED
    elif growth and not verdict.allowed:
        reason = Reason.GROWTH_REFUSED
    is_held = outcome in (Outcome.ALLOW, Outcome.WARN) or request.origin is Origin.RENEWED
    return replace(
        verdict,
        outcome=outcome,
        reason=reason,
        hold=hold_id if is_held else None,
        basis=request.quote.basis,
        n=request.quote.n,
        as_of=now,
        detail=_BEING_ADOPTED if reason is Reason.WARNED and verdict.budget in planned.lenient else verdict.detail,
        warnings=(*binding.warnings, *verdict.warnings, *_lenience(planned)),
    )


def _lenience(planned: Plan) -> list[str]:
    """What is said of budgets that refuse nothing yet."""
    names = ", ".join(sorted(planned.lenient))
    return [f"budget {names} is not enforced yet: {_BEING_ADOPTED}"] if names else []


def _claims(planned: Plan, account: Account, available: Amounts) -> list[Claim]:
    budget = planned.budgets[account.key.budget]
    unused = account.unused(planned.request.namespace)
    return [
        Claim(
            budget=account.key.budget,
            period=planned.periods[account.key],
            unit=unit,
            asked=asked,
            available=room,
            enforcement=budget.enforcement,
            exceptions=extra or 0,
            currency=account.currency if unit is Unit.MICROS else None,
            when_undecidable=budget.when_undecidable,
        )
        for unit, asked, room, extra in zip(UNITS, planned.asked[account.key], available, unused, strict=True)
        if room is not None
    ]

"""A balance explained: what stands behind each figure, and when it will be used up at the rate of late."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from joulegate.core.budgets import Balance
from joulegate.core.exhaustion import exhaustion
from joulegate.core.objects import budget_to_object
from joulegate.core.units import Unit
from joulegate.schema import STRICT, Moment
from joulegate_api.auth import Principal
from joulegate_api.bodies import Body
from joulegate_api.budgets import NAMES, balance_json
from joulegate_api.context import Caller, Context, Parts, answer
from joulegate_api.store import Amounts, RunPending, Statement
from joulegate_api.store.grants import Grant

MOST_RUNS: Final = 20
"""Runs that are named; those with less pending are summed up."""

router = APIRouter(tags=["budgets"])


@dataclass(frozen=True, slots=True)
class StatementQuery:
    """Which period: the one that holds ``at``, now where it is absent."""

    __pydantic_config__ = STRICT
    at: Moment | None = None


QUERY: Final = Body(StatementQuery)


@router.get("/v1/budgets/{name}/statement")
def get_statement(name: str, request: Request, parts: Parts, caller: Caller) -> JSONResponse:
    """A balance with what stands behind it: pending by run, exceptions, and a forecast by the last 24 hours.

    Runs and exceptions of namespaces that the caller may not see are summed up without a name.
    """
    query = QUERY.read_parameters(request.query_params.multi_items())
    found = parts.store.statements.read(name, query.at)
    seen = [run for run in found.runs if caller.sees(run.namespace, run.cluster, parts.here)]
    named = seen[:MOST_RUNS]
    ids = {(run.cluster, run.root_uid) for run in named}
    others = [run for run in found.runs if (run.cluster, run.root_uid) not in ids]
    balances = found.found.balances
    body = {
        "budget": budget_to_object(found.found.budget),
        "period": found.found.period,
        "closed_at": found.closed_at,
        "as_of": found.now,
        **{NAMES[unit]: _unit(unit, balances.get(unit) or Balance(unit, base=None), found) for unit in Unit},
        "runs": [_run(run) for run in named],
        "other_runs": {"count": len(others), "pending": _sum(others).written()},
        "exceptions": [_grant(grant, caller, parts) for grant in found.grants],
    }
    return answer(body)


def _unit(unit: Unit, balance: Balance, found: Statement) -> dict[str, Any]:
    drawn = found.drawn.of(unit) or 0
    ahead = exhaustion(balance, drawn, found.since, found.now, found.found.period)
    rate = {
        "drawn": str(drawn),
        "since": found.since,
        "per_day": str(ahead.per_day),
        "forecast": ahead.forecast,
        "exhausted_at": ahead.at,
    }
    unpriced = {Unit.MJ: 0, Unit.UG: found.unpriced_ug, Unit.MICROS: found.unpriced_micros}[unit]
    return balance_json(unit, balance) | {"rate": rate, "unpriced_mj": str(unpriced)}


def _run(run: RunPending) -> dict[str, Any]:
    return {
        "cluster": run.cluster,
        "root_uid": run.root_uid,
        "resource": run.resource,
        "namespace": run.namespace,
        "name": run.name,
        "state": run.state,
        "since": run.since,
        "pending": run.pending.written(),
        "drawn": run.drawn.written(),
    }


def _grant(grant: Grant, caller: Principal, parts: Context) -> dict[str, Any]:
    is_seen = caller.sees(grant.namespace, parts.settings.cluster, parts.here)
    return {
        "exception_id": grant.exception_id if is_seen else None,
        "namespace": grant.namespace if is_seen else None,
        "granted": grant.granted.written(),
        "used": grant.used.written(),
        "expires_at": grant.expires_at,
        "expired_at": grant.expired_at,
    }


def _sum(runs: list[RunPending]) -> Amounts:
    whole = Amounts()
    for run in runs:
        whole = whole.plus(run.pending.known())
    return whole

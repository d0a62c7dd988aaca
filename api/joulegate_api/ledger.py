"""The ledger itself over HTTP: trial balance, period close, re-pricing."""

from __future__ import annotations

from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from joulegate.closing import CloseBody, RepricingBody
from joulegate.core.budgets import Budget
from joulegate.core.calendar import read_period
from joulegate.core.errors import ConflictError, InvalidInputError, NotFoundError
from joulegate.core.periods import Period, format_instant, parse_instant
from joulegate_api.bodies import Body, Raw
from joulegate_api.context import Caller, Context, Parts, answer, takes
from joulegate_api.second_person import ChangeKind, change_json
from joulegate_api.store import Change, Closed

CLOSE: Final = Body(CloseBody)
REPRICING: Final = Body(RepricingBody)

router = APIRouter(tags=["ledger"])


@router.get("/v1/ledger/check")
def check_ledger(parts: Parts) -> JSONResponse:
    """The trial balance: every balance counted again from the entries; what differs is named to the row."""
    found = parts.store.trial_balance.run()
    parts.metrics.checked(len(found.differences))
    body = {"entries": found.entries, "balances": found.balances, "differences": list(found.differences)}
    return answer(body)


@router.post("/v1/ledger/closes", openapi_extra=takes(CLOSE.reference))
def close_period(raw: Raw, parts: Parts, caller: Caller) -> JSONResponse:
    """Close a period: nothing more is posted there, and what was not used may be carried on. Again changes nothing."""
    body = CLOSE.read(raw)
    meant = read_period(body.period, "period")
    budgets = parts.store.budgets.list() if body.budget is None else (parts.store.budgets.get(body.budget),)
    found = [(budget, period) for budget in budgets if (period := meant.of(budget.period)) is not None]
    if not found:
        whose = f"budget {body.budget}" if body.budget else "any open budget"
        raise NotFoundError(f"{body.period} is not a period of {whose}")
    delay = timedelta(0) if body.early else timedelta(microseconds=parts.settings.close_delay_ns // 1_000)
    closed: list[dict[str, Any]] = []
    refused: list[dict[str, Any]] = []
    for budget, period in found:
        try:
            closed.append(_closed(parts.store.closes.close(budget.name, period.start, caller.name, delay), budget))
        except ConflictError as error:
            refused.append({"budget": budget.name, "period": period, "reason": str(error)})
    return answer({"period": body.period, "closed": closed, "refused": refused})


@router.post("/v1/ledger/repricings", openapi_extra=takes(REPRICING.reference))
def post_repricing(raw: Raw, parts: Parts, caller: Caller) -> JSONResponse:
    """Say what pricing again by the rates in force would post; without `dry_run` it then waits for a second person."""
    body = REPRICING.read(raw)
    if body.until <= body.since:
        raise InvalidInputError("must be after since", "until")
    would = rehearsed(body.since, body.until, parts)
    if body.dry_run:
        return answer(would | {"change": None})
    written = {"since": format_instant(body.since), "until": format_instant(body.until)}
    subject = f"{written['since']}/{written['until']}"
    made = parts.store.changes.propose(ChangeKind.REPRICING, subject, written, caller.name, body.reason)
    return answer(would | {"change": change_json(made)}, HTTPStatus.ACCEPTED)


def rehearsed(since: datetime, until: datetime, parts: Context) -> dict[str, Any]:
    """What a re-pricing would change; amounts are decimal strings in base units."""
    would = parts.store.pricing.rehearse(since, until)
    return {
        "since": since,
        "until": until,
        "records": would.records,
        "roots": would.roots,
        "charges": [
            {"budget": key.budget, "period_start": key.start, "posted": amounts.written()}
            for key, amounts in sorted(would.posted.items())
        ],
    }


def make_repricing(change: Change, parts: Context) -> dict[str, Any]:
    """Do what was approved; what changed."""
    since = parse_instant(change.body["since"], "since")
    until = parse_instant(change.body["until"], "until")
    return {"repriced": parts.store.pricing.reprice(since, until, change.requested_by, change.reason or "")}


def _closed(done: Closed, budget: Budget) -> dict[str, Any]:
    following: Period | None = budget.period.period_at(done.period.end)
    return {
        "budget": done.budget,
        "period": done.period,
        "carry_over": budget.carry_over,
        "carried": done.carried.written(),
        "currency": budget.limits.currency,
        "into": following.start if following else None,
        "repeat": done.repeat,
    }

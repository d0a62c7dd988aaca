"""Budgets and their balances."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from joulegate.core.budgets import Balance
from joulegate.core.errors import InvalidInputError
from joulegate.core.objects import API_VERSION, budget_from_object, budget_to_object
from joulegate.core.units import Unit
from joulegate.schema import STRICT, Moment
from joulegate_api.bodies import Body, Raw, parse
from joulegate_api.context import Caller, Context, Parts, answer, takes
from joulegate_api.second_person import ChangeKind, must_wait, propose
from joulegate_api.store import BudgetBalances, Change, Hierarchy

router = APIRouter(tags=["budgets"])

_OBJECT: Final = {
    "type": "object",
    "description": f"A `Budget` of {API_VERSION}, as in YAML. Unknown fields are refused.",
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": API_VERSION},
        "kind": {"const": "Budget"},
        "metadata": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}},
        "spec": {"type": "object", "required": ["period", "limits"]},
    },
}
NAMES: Final = {Unit.MJ: "energy", Unit.UG: "carbon", Unit.MICROS: "cost"}


@dataclass(frozen=True, slots=True)
class BalanceQuery:
    """Which period (the one that holds ``at``), and as it stood when."""

    __pydantic_config__ = STRICT
    at: Moment | None = None
    as_of: Moment | None = None


QUERY: Final = Body(BalanceQuery)


@router.get("/v1/budgets")
def list_budgets(parts: Parts) -> JSONResponse:
    """Every open budget."""
    return answer({"budgets": [budget_to_object(budget) for budget in parts.store.budgets.list()]})


@router.get("/v1/budgets/{name}")
def get_budget(name: str, parts: Parts) -> JSONResponse:
    """One budget as an object."""
    return answer(budget_to_object(parts.store.budgets.get(name)))


@router.put("/v1/budgets/{name}", openapi_extra=takes(_OBJECT))
def put_budget(name: str, raw: Raw, parts: Parts, caller: Caller) -> JSONResponse:
    """Make or change a budget; 201 where it is new or changed, 200 where it stands so already.

    202 with a change, where changes of limits need a second person.
    """
    budget = budget_from_object(parse(raw))
    if budget.name != name:
        raise InvalidInputError(f"is {budget.name}, and the address says {name}", "metadata.name")
    written = budget_to_object(budget)
    if must_wait(caller, parts):
        return propose(ChangeKind.BUDGET, name, written, caller, parts)
    changed = parts.store.budgets.put(budget, caller.name)
    return answer(written, HTTPStatus.CREATED if changed else HTTPStatus.OK)


@router.delete("/v1/budgets/{name}", status_code=HTTPStatus.NO_CONTENT)
def close_budget(name: str, parts: Parts, caller: Caller) -> Response:
    """Close a budget: it binds no new work, and what it holds and posted stays."""
    if must_wait(caller, parts):
        parts.store.budgets.get(name)
        return propose(ChangeKind.BUDGET_CLOSE, name, {"name": name}, caller, parts)
    parts.store.budgets.close(name, caller.name)
    return Response(status_code=HTTPStatus.NO_CONTENT)


@router.get("/v1/budgets/{name}/balance")
def get_balance(name: str, request: Request, parts: Parts) -> JSONResponse:
    """The balance of one period, unit by unit; a unit without a limit has `limit: null`."""
    query = QUERY.read_parameters(request.query_params.multi_items())
    found = parts.store.budgets.balance(name, query.at, query.as_of)
    return answer(_balances_json(found, parts.store.budgets.hierarchy()))


@router.get("/v1/balances")
def list_balances(parts: Parts) -> JSONResponse:
    """The present balance of every open budget, each as its own route answers; one whose span is not now has none.

    `adopting` names the clusters where a budget refuses nothing yet: what ran in its scope is still being adopted.
    """
    found = parts.store.budgets.current()
    known = parts.store.budgets.remembered()
    return answer({"balances": [_balances_json(each, known) for each in found]})


def make(change: Change, parts: Context) -> dict[str, Any]:
    """Write the budget of a change that was approved."""
    budget = budget_from_object(change.body)
    parts.store.budgets.put(budget, change.requested_by)
    return budget_to_object(budget)


def make_closed(change: Change, parts: Context) -> None:
    """Close the budget of a change that was approved."""
    parts.store.budgets.close(change.body["name"], change.requested_by)


def balance_json(unit: Unit, balance: Balance | None) -> dict[str, Any]:
    """One unit of a balance; amounts are decimal strings in base units."""
    balance = balance or Balance(unit, base=None)
    body: dict[str, Any] = {
        "unit": unit.value,
        "limit": _text(balance.limit),
        "base": _text(balance.base),
        "carried": _text(balance.carried),
        "exceptions": _text(balance.exceptions),
        "posted": _text(balance.posted),
        "pending": _text(balance.pending),
        "available": _text(balance.available),
        "debt": _text(balance.debt),
    }
    return body | {"currency": balance.currency} if unit is Unit.MICROS else body


def _balances_json(found: BudgetBalances, known: Hierarchy) -> dict[str, Any]:
    units = {NAMES[unit]: balance_json(unit, found.balances.get(unit)) for unit in Unit}
    adopting = sorted(cluster for cluster, names in known.unadopted.items() if found.budget.name in names)
    return {
        "budget": found.budget.name,
        "period": found.period,
        **units,
        "as_of": found.as_of,
        "adopting": adopting,
    }


def _text(amount: int | None) -> str | None:
    return None if amount is None else str(amount)

"""Exceptions over HTTP: asked for by one, approved by another who has the right on every budget that is named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from joulegate.core.binding import lineage
from joulegate.core.budgets import Budget, Limits
from joulegate.core.errors import InvalidInputError, NotFoundError, NotPermittedError
from joulegate.core.exceptions import KIND, ExceptionObject, exception_from_object, exception_to_object
from joulegate.core.objects import API_VERSION
from joulegate.holds import ApprovalBody
from joulegate.schema import STRICT, Line
from joulegate.tokens import Role
from joulegate_api.auth import Principal
from joulegate_api.bodies import Body, Raw, parse
from joulegate_api.context import Caller, Context, Parts, answer, takes
from joulegate_api.store import Amounts, BudgetException

APPROVAL: Final = Body(ApprovalBody)

_OBJECT: Final = {
    "type": "object",
    "description": f"A `{KIND}` of {API_VERSION}, as in YAML. Unknown fields are refused.",
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": API_VERSION},
        "kind": {"const": KIND},
        "metadata": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}},
        "spec": {"type": "object", "required": ["budgets", "amount", "reason", "expiresAt"]},
    },
}

router = APIRouter(tags=["exceptions"])


class State(StrEnum):
    """Where an exception stands. At expiry the used part stays."""

    REQUESTED = "requested"
    APPROVED = "approved"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class ExceptionsQuery:
    """Filters of the list."""

    __pydantic_config__ = STRICT
    namespace: Line | None = None
    budget: Line | None = None
    state: State | None = None


QUERY: Final = Body(ExceptionsQuery)


@router.get("/v1/exceptions")
def list_exceptions(request: Request, parts: Parts, caller: Caller) -> JSONResponse:
    """Every exception that the caller may see, the newest first."""
    query = QUERY.read_parameters(request.query_params.multi_items())
    now = parts.now()
    found = [
        exception_json(asked, now)
        for asked in parts.store.exceptions.list()
        if caller.sees(asked.namespace, parts.settings.cluster, parts.here)
        and query.namespace in (None, asked.namespace)
        and (query.budget is None or query.budget in asked.budgets)
        and query.state in (None, state_of(asked, now))
    ]
    return answer({"exceptions": found})


@router.get("/v1/exceptions/{exception_id}")
def get_exception(exception_id: str, parts: Parts, caller: Caller) -> JSONResponse:
    """One exception."""
    return answer(exception_json(_seen(exception_id, parts, caller), parts.now()))


@router.post("/v1/exceptions", openapi_extra=takes(_OBJECT))
def post_exception(raw: Raw, parts: Parts, caller: Caller) -> JSONResponse:
    """Ask for more room: 201 where that is new, 200 for a repeat. It gives nothing before somebody else approves it.

    Its id is the object's uid, or NAMESPACE.NAME. Who asks is the caller; only the
    operator may name somebody else.
    """
    asked = exception_from_object(parse(raw))
    caller.require(asked.namespace, parts.settings.cluster, None, parts.here)
    if asked.approved_by is not None:
        raise InvalidInputError("is set by an approval, not by a request", "spec.approvedBy")
    requested_by = asked.requested_by or caller.name
    if requested_by != caller.name and Role.OPERATOR not in caller.roles:
        raise NotPermittedError(f"{caller.name} cannot ask in the name of {requested_by[:60]}")
    fresh = parts.store.exceptions.request(_kept(asked, requested_by))
    known = parts.store.exceptions.get(asked.exception_id)
    return answer(exception_json(known, parts.now()), HTTPStatus.CREATED if fresh else HTTPStatus.OK)


@router.post("/v1/exceptions/{exception_id}/approval", openapi_extra=takes(APPROVAL.reference))
def approve_exception(exception_id: str, raw: Raw, parts: Parts, caller: Caller) -> JSONResponse:
    """Approve: never who asked, and only with the right on every budget that is named. Again changes nothing."""
    body = APPROVAL.read(raw)
    asked = _seen(exception_id, parts, caller)
    approver = body.approved_by or caller.name
    if approver != caller.name and Role.OPERATOR not in caller.roles:
        raise NotPermittedError(f"{caller.name} cannot approve in the name of {approver[:60]}")
    budgets = {budget.name: budget for budget in parts.store.budgets.list()}
    for name in asked.budgets:
        if not _may_relieve(caller, name, budgets, parts):
            raise NotPermittedError(f"{caller.name} has no grant for all that budget {name} governs")
    return answer(exception_json(parts.store.exceptions.approve(exception_id, approver), parts.now()))


def exception_json(asked: BudgetException, now: datetime) -> dict[str, Any]:
    """The object, with its id and where it stands."""
    written = exception_to_object(_object(asked))
    written["status"] = {
        "id": asked.exception_id,
        "state": state_of(asked, now),
        "requestedAt": asked.requested_at,
        "approvedAt": asked.approved_at,
    }
    return written


def state_of(asked: BudgetException, now: datetime) -> State:
    """Where an exception stands at ``now``."""
    if asked.expires_at <= now:
        return State.EXPIRED
    return State.REQUESTED if asked.approved_by is None else State.APPROVED


def _seen(exception_id: str, parts: Context, caller: Principal) -> BudgetException:
    found = parts.store.exceptions.get(exception_id)
    if not caller.sees(found.namespace, parts.settings.cluster, parts.here):
        raise NotFoundError(f"there is no exception {exception_id}")
    return found


def _may_relieve(caller: Principal, name: str, budgets: Mapping[str, Budget], parts: Context) -> bool:
    """Whether the caller's grants hold every namespace whose work counts in a budget.

    Work of the budgets below it counts in it too. Where one of them names no
    namespaces, only a grant for every namespace is enough.
    """
    scopes = [budget.scope for budget in budgets.values() if name in lineage(budgets, budget.name)]
    named = [scope.namespaces for scope in scopes if scope is not None]
    governed: set[str] = set()
    for namespaces in named or [None]:
        governed.update(("*",) if namespaces is None else namespaces)
    return all(caller.reaches(namespace, parts.settings.cluster, None, parts.here) for namespace in governed)


def _kept(asked: ExceptionObject, requested_by: str) -> BudgetException:
    return BudgetException(
        exception_id=asked.exception_id,
        namespace=asked.namespace,
        budgets=asked.budgets,
        amount=Amounts(asked.amount.energy_mj or 0, asked.amount.carbon_ug or 0, asked.amount.cost_micros or 0),
        currency=asked.amount.currency,
        reason=asked.reason,
        ticket=asked.ticket,
        requested_by=requested_by,
        expires_at=asked.expires_at,
    )


def _object(asked: BudgetException) -> ExceptionObject:
    namespace, _, name = asked.exception_id.partition(".")
    from_name = namespace == asked.namespace and bool(name)
    return ExceptionObject(
        name=name if from_name else asked.exception_id,
        namespace=asked.namespace,
        budgets=asked.budgets,
        amount=Limits(asked.amount.mj or None, asked.amount.ug or None, asked.amount.micros or None, asked.currency),
        reason=asked.reason,
        expires_at=asked.expires_at,
        ticket=asked.ticket,
        requested_by=asked.requested_by,
        approved_by=asked.approved_by,
        uid=None if from_name else asked.exception_id,
    )

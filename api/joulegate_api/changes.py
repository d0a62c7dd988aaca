"""Changes that wait for a second person: listed, approved and so made, or rejected."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from joulegate.closing import DecisionBody
from joulegate.core.errors import NotPermittedError
from joulegate.schema import STRICT
from joulegate.tokens import Role
from joulegate_api import budgets, ledger, rates
from joulegate_api.auth import APPROVERS, EDITORS, OWNERS, Principal
from joulegate_api.bodies import Body, Raw
from joulegate_api.context import Caller, Context, Parts, answer, takes
from joulegate_api.second_person import ChangeKind, change_json
from joulegate_api.store import Change

DECISION: Final = Body(DecisionBody)

_CHECKERS: Final[Mapping[ChangeKind, frozenset[Role]]] = {
    ChangeKind.BUDGET: OWNERS | APPROVERS,
    ChangeKind.BUDGET_CLOSE: OWNERS | APPROVERS,
    ChangeKind.FACTORS: EDITORS | APPROVERS,
    ChangeKind.PRICES: EDITORS | APPROVERS,
    ChangeKind.SITES: EDITORS | APPROVERS,
    ChangeKind.INSTRUMENTS: EDITORS | APPROVERS,
    ChangeKind.REPRICING: APPROVERS,
}
"""Who may check what somebody else made."""

_MAKE: Final[Mapping[ChangeKind, Callable[[Change, Context], object]]] = {
    ChangeKind.BUDGET: budgets.make,
    ChangeKind.BUDGET_CLOSE: budgets.make_closed,
    ChangeKind.FACTORS: rates.make,
    ChangeKind.PRICES: rates.make,
    ChangeKind.SITES: rates.make,
    ChangeKind.INSTRUMENTS: rates.make,
    ChangeKind.REPRICING: ledger.make_repricing,
}

router = APIRouter(tags=["changes"])


@dataclass(frozen=True, slots=True)
class ChangesQuery:
    """``all`` shows what was decided too."""

    __pydantic_config__ = STRICT
    all: str | None = None


QUERY: Final = Body(ChangesQuery)


@router.get("/v1/changes")
def list_changes(request: Request, parts: Parts) -> JSONResponse:
    """Changes that wait for a second person, the newest first; with `?all=true` what was decided too."""
    query = QUERY.read_parameters(request.query_params.multi_items())
    found = parts.store.changes.list(waiting=query.all != "true")
    return answer({"changes": [change_json(change) for change in found]})


@router.get("/v1/changes/{change_id}")
def get_change(change_id: str, parts: Parts) -> JSONResponse:
    """One change with what it would write."""
    found = parts.store.changes.get(change_id)
    return answer(change_json(found) | {"body": found.body})


@router.post("/v1/changes/{change_id}/approval", openapi_extra=takes(DECISION.reference))
def approve_change(change_id: str, raw: Raw, parts: Parts, caller: Caller) -> JSONResponse:
    """Approve and so make a change; never who asked for it. Again changes nothing."""
    note = DECISION.read(raw).note
    change = parts.store.changes.check(change_id, caller.name)
    kind = ChangeKind(change.kind)
    _require(kind, caller)
    # What is made can be made again, so it comes first: after a crash the approval is simply given again.
    made = _MAKE[kind](change, parts) if change.approved is None else None
    decided = parts.store.changes.decide(change_id, caller.name, approved=True, note=note)
    return answer(change_json(decided) | {"made": made})


@router.post("/v1/changes/{change_id}/rejection", openapi_extra=takes(DECISION.reference))
def reject_change(change_id: str, raw: Raw, parts: Parts, caller: Caller) -> JSONResponse:
    """Reject a change; who asked for it may take it back so."""
    note = DECISION.read(raw).note
    change = parts.store.changes.get(change_id)
    if change.requested_by != caller.name:
        _require(ChangeKind(change.kind), caller)
    return answer(change_json(parts.store.changes.decide(change_id, caller.name, approved=False, note=note)))


def _require(kind: ChangeKind, caller: Principal) -> None:
    if not caller.roles & _CHECKERS[kind]:
        needed = ", ".join(sorted(_CHECKERS[kind]))
        raise NotPermittedError(f"{caller.name} has none of the roles that check a change of {kind}: {needed}")

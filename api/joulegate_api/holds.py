"""Holds over HTTP: asked for, confirmed and released by the operator, and listed for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from joulegate.core.binding import Work
from joulegate.core.budgets import Outcome, Reason, Verdict
from joulegate.core.errors import InvalidInputError
from joulegate.core.workloads import Demand
from joulegate.holds import HoldKind, HoldReleaseBody, HoldRequestBody, HoldStepBody, LabelBody, demand_body, demand_of
from joulegate.schema import STRICT, Line, Moment, Quantity
from joulegate_api.admission.answers import verdict_json
from joulegate_api.admission.asking import Asked, hold_request
from joulegate_api.bodies import Body, Raw
from joulegate_api.context import Caller, Context, Parts, answer, takes
from joulegate_api.records import NAMESPACE_LABEL, visible
from joulegate_api.store import HoldFilters, HoldRow, HoldState, Origin

REQUEST: Final = Body(HoldRequestBody)
STEP: Final = Body(HoldStepBody)
RELEASE: Final = Body(HoldReleaseBody)

_ON_TOP: Final = (HoldKind.EXTENDED, HoldKind.RENEWED)

router = APIRouter(tags=["holds"])


@dataclass(frozen=True, slots=True)
class HoldsQuery:
    """Filters of the list, newest decision first; ``period_start`` goes with ``budget``."""

    __pydantic_config__ = STRICT
    cluster: Line | None = None
    namespace: Line | None = None
    root_uid: Line | None = None
    state: HoldState | None = None
    budget: Line | None = None
    period_start: Moment | None = None
    cursor: Line | None = None
    limit: Annotated[int, Quantity(1, 1_000)] = 100


QUERY: Final = Body(HoldsQuery)


@router.get("/v1/holds")
def list_holds(request: Request, parts: Parts, caller: Caller) -> JSONResponse:
    """A page of holds, one row a part; `cursor` of an answer leads to the next one."""
    query = QUERY.read_parameters(request.query_params.multi_items())
    filters = HoldFilters(
        cluster=query.cluster,
        namespace=query.namespace,
        root_uid=query.root_uid,
        states=(query.state,) if query.state else (),
        budget=query.budget,
        period_start=query.period_start,
    )
    page = parts.store.hold_list.list(visible(filters, caller, parts), query.cursor, query.limit)
    return answer({"holds": [hold_json(row) for row in page.holds], "cursor": page.cursor})


@router.post("/v1/holds/{uid}/request", openapi_extra=takes(REQUEST.reference))
def request_hold(uid: str, raw: Raw, parts: Parts, caller: Caller) -> JSONResponse:
    """Decide and hold what an object's demand is expected to draw: the verdict of admission, allowed or not."""
    body = REQUEST.read(raw)
    cluster = body.cluster or parts.settings.cluster
    caller.require(body.namespace, cluster, None, parts.here)
    if (body.extension is not None) != (body.origin in _ON_TOP):
        raise InvalidInputError("goes with the origins extended and renewed, and only with them", "extension")
    if body.extension is not None:
        parts.store.holds.get(cluster, uid)  # nothing is held on top of nothing
    if body.starts_at is not None and body.origin is not HoldKind.RENEWED:
        raise InvalidInputError("goes with the origin renewed only", "starts_at")
    demand = demand_of(body.demand)
    if not demand.groups or demand.suspended:
        reason = Reason.HELD_LATER if demand.groups else Reason.NO_ACCELERATOR
        return answer(verdict_json(Verdict(Outcome.ALLOW, reason)))
    asked = Asked(
        cluster=cluster,
        root_uid=uid,
        resource=body.resource,
        name=body.name,
        subject=body.subject or caller.name,
        origin=Origin(body.origin.value),
        extension=body.extension or "",
        labels_known=body.namespace_labels is not None,
        starts_at=body.starts_at,
    )
    work = work_of(demand, body.namespace, body.namespace_labels or ())
    budgets = {budget.name: budget for budget in parts.store.budgets.list()}
    request, predicted = hold_request(asked, work, demand, budgets, parts)
    return answer(verdict_json(parts.store.ledger.decide(request, dry_run=body.dry_run)) | {"detail": predicted.detail})


@router.post("/v1/holds/{uid}/confirm", openapi_extra=takes(STEP.reference))
def confirm_hold(uid: str, raw: Raw, parts: Parts, caller: Caller) -> JSONResponse:
    """The object exists: its hold stands. Again changes nothing."""
    cluster = STEP.read(raw).cluster or parts.settings.cluster
    caller.require("*", cluster, None, parts.here)
    parts.store.holds.confirm(cluster, uid, caller.name)
    return _standing(cluster, uid, parts)


@router.post("/v1/holds/{uid}/release", openapi_extra=takes(RELEASE.reference))
def release_hold(uid: str, raw: Raw, parts: Parts, caller: Caller) -> JSONResponse:
    """The work has ended: what the meters have answered for is released at once, the rest when they have."""
    body = RELEASE.read(raw)
    cluster = body.cluster or parts.settings.cluster
    caller.require("*", cluster, None, parts.here)
    now = parts.now()
    if body.ended_at is not None and body.ended_at > now:
        raise InvalidInputError("lies in the future", "ended_at")
    parts.store.holds.get(cluster, uid)
    parts.store.releases.end({(cluster, uid): body.ended_at or now})
    return _standing(cluster, uid, parts)


def work_of(demand: Demand, namespace: str, labels: Sequence[LabelBody]) -> Work:
    """What budgets look at: the demand of an object in a namespace with these labels."""
    return Work(
        namespace=namespace,
        kind=demand.kind.value,
        namespace_labels={**{label.key: label.value for label in labels}, NAMESPACE_LABEL: namespace},
        chosen=demand.budget,
        added_kind=demand.added_kind and demand.added_kind.value,
    )


def hold_json(row: HoldRow) -> dict[str, Any]:
    """One part of a hold; amounts are decimal strings in base units, null is not priced."""
    steps: dict[str, datetime | None] = {
        name: getattr(row, name) for name in ("decided_at", "confirmed_at", "ended_at", "released_at", "closed_at")
    }
    return {
        "hold_id": row.hold_id,
        "cluster": row.cluster,
        "root_uid": row.root_uid,
        "part": row.part,
        "state": row.state,
        "origin": row.origin,
        "resource": row.resource,
        "namespace": row.namespace,
        "name": row.name,
        "subject": row.subject,
        **steps,
        "demand": demand_body(row.demand),
        "verdict": verdict_json(row.verdict),
        "claims": [
            {
                "budget": claim.key.budget,
                "period_start": claim.key.start,
                "held": claim.held.written(),
                "drawn": claim.drawn.written(),
                "pending": claim.pending.written(),
            }
            for claim in row.claims
        ],
    }


def _standing(cluster: str, uid: str, parts: Context) -> JSONResponse:
    found = parts.store.hold_list.list(HoldFilters(cluster=cluster, root_uid=uid), limit=1_000)
    return answer({"holds": [hold_json(row) for row in sorted(found.holds, key=lambda row: row.part)]})

"""Lists of live objects from the operator: what they prove, and holds for work that runs without one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from joulegate.core.binding import bind
from joulegate.core.budgets import Budget
from joulegate.core.errors import InvalidInputError
from joulegate.core.records import Kind
from joulegate.core.workloads import Demand, Unresolved
from joulegate.holds import AdoptionBody, DemandBody, InventoryBody, LabelBody, ObjectBody, demand_of
from joulegate_api.admission.asking import Asked, hold_request
from joulegate_api.bodies import Body, RawBatch
from joulegate_api.context import Caller, Context, Parts, answer, takes
from joulegate_api.holds import work_of
from joulegate_api.rebinding import rebind
from joulegate_api.store import Evidence, HoldRequest, Inventory, ObjectSeen, Origin, PodSeen

INVENTORY: Final = Body(InventoryBody)
ADOPTION: Final = Body(AdoptionBody)
_UNKNOWN: Final = Demand(Kind.TRAINING, ())

router = APIRouter(tags=["inventories"])


@router.put("/v1/inventories/{cluster}/{kind}", openapi_extra=takes(INVENTORY.reference))
def put_inventory(cluster: str, kind: str, raw: RawBatch, parts: Parts, caller: Caller) -> JSONResponse:
    """Take a list of one kind (`jobs.batch`), conclude what it proves, and adopt what runs there without a hold.

    The answer names uids of roots: `confirmed`, `expired`, `ended`, `shrunk`, `adopted`; and
    in `unadmitted` those without a hold that could not be adopted, with the reason; in
    `unadmitted_usage` those that were made since the list before this one, in a namespace that a budget
    binds, without anybody having admitted them: each is an entry of the log; in `rebound` those
    that were held and are now held in budgets too that bind them since.
    """
    body = INVENTORY.read(raw)
    caller.require("*", cluster, None, parts.here)
    _check(body)
    seen = tuple(
        ObjectSeen(
            uid=found.uid,
            owner_uid=found.owner_uid,
            namespace=found.namespace,
            name=found.name,
            pods=tuple(
                PodSeen(pod.uid, pod.node, pod.ended_at, _demand(pod.demand), pod.terminating) for pod in found.pods
            ),
            demand=_demand(found.demand),
            surge=found.surge,
        )
        for found in body.objects
    )
    inventory = Inventory(cluster, kind, body.begun_at, body.complete, seen, body.part, body.parts)
    evidence = parts.store.inventories.put(inventory)
    left = _adopt(cluster, kind, body, evidence.unadmitted, parts, caller.name)
    rebound = rebind(cluster, kind, body, parts, caller.name)
    late = _late(body, evidence, parts)
    if late:
        parts.store.inventories.tell_unadmitted(inventory, late, left)
    told = {
        "confirmed": evidence.confirmed,
        "expired": evidence.expired,
        "ended": evidence.ended,
        "shrunk": evidence.shrunk,
        "adopted": [uid for uid in evidence.unadmitted if uid not in left],
        "unadmitted": [{"uid": uid, "reason": reason} for uid, reason in sorted(left.items())],
        "unadmitted_usage": sorted(late),
        "rebound": rebound,
    }
    return answer(told)


@router.put("/v1/adoptions/{cluster}", openapi_extra=takes(ADOPTION.reference))
def put_adoption(cluster: str, raw: RawBatch, parts: Parts, caller: Caller) -> JSONResponse:
    """Know that a cluster has an operator, and since when everything that lives there was told.

    The answer names in `adopting` the budgets that refuse nothing there yet: what ran in
    their scope before they were written is still being adopted.
    """
    body = ADOPTION.read(raw)
    caller.require("*", cluster, None, parts.here)
    return answer({"adopting": sorted(parts.store.adoptions.put(cluster, body.told_since))})


def _late(body: InventoryBody, evidence: Evidence, parts: Context) -> set[str]:
    """What came to be while lists were taken already, runs, and has no hold: nobody admitted it."""
    if evidence.before is None or not evidence.unadmitted:
        return set()
    budgets = {budget.name: budget for budget in parts.store.budgets.list()}
    labels = {namespace.name: namespace.labels for namespace in body.namespaces}
    found = set()
    for seen in body.objects:
        demand = _demand(seen.demand)
        is_new = seen.created_at is not None and seen.created_at > evidence.before
        waits = demand is not None and (demand.suspended or not demand.groups)
        if not is_new or waits or seen.uid not in evidence.unadmitted:
            continue
        work = work_of(demand or _UNKNOWN, seen.namespace, labels.get(seen.namespace, ()))
        if seen.namespace not in parts.settings.system_namespaces and bind(budgets, work).names:
            found.add(seen.uid)
    return found


def _demand(body: DemandBody | None) -> Demand | None:
    return None if body is None else demand_of(body)


def _check(body: InventoryBody) -> None:
    """Every object stands once, and every pod; a pod that is itself the object is its own pod."""
    if body.part >= body.parts:
        raise InvalidInputError(f"there are {body.parts} parts, counted from 0", "part")
    objects: set[str] = set()
    pods: set[str] = set()
    for index, found in enumerate(body.objects):
        places = [("uid", found.uid, objects)]
        places += [(f"pods.{number}.uid", pod.uid, pods) for number, pod in enumerate(found.pods)]
        for place, uid, seen in places:
            if uid in seen:
                raise InvalidInputError(f"{uid} stands twice", f"objects.{index}.{place}")
            seen.add(uid)


def _adopt(
    cluster: str, kind: str, body: InventoryBody, uids: Sequence[str], parts: Context, principal: str
) -> dict[str, str]:
    """Hold for what runs without a hold, even beyond the limit; what is left, and why."""
    if not uids:
        return {}
    objects = {found.uid: found for found in body.objects}
    labels = {namespace.name: namespace.labels for namespace in body.namespaces}
    budgets = {budget.name: budget for budget in parts.store.budgets.list()}
    left: dict[str, str] = {}
    requests: dict[str, HoldRequest] = {}
    for uid in uids:
        found = objects[uid]
        try:
            requests[uid] = _request(cluster, kind, found, labels.get(found.namespace), budgets, parts, principal)
        except (InvalidInputError, Unresolved) as error:
            left[uid] = str(error)
    for uid, decided in zip(requests, parts.store.ledger.decide_all(list(requests.values())), strict=True):
        if isinstance(decided, InvalidInputError):
            left[uid] = str(decided)
        elif isinstance(decided, Exception):
            raise decided
    return left


def _request(
    cluster: str,
    kind: str,
    found: ObjectBody,
    labels: Sequence[LabelBody] | None,
    budgets: Mapping[str, Budget],
    parts: Context,
    principal: str,
) -> HoldRequest:
    demand = _demand(found.demand)
    if demand is None:
        raise Unresolved("its demand is not known")
    if not demand.groups:
        raise Unresolved("it asks for no accelerator")
    if demand.suspended:
        raise Unresolved("it is suspended, and is decided when it starts")
    if found.namespace in parts.settings.system_namespaces:
        raise Unresolved("its namespace is the system's")
    asked = Asked(
        cluster=cluster,
        root_uid=found.uid,
        resource=kind,
        name=found.name,
        subject=principal,
        origin=Origin.ADOPTED,
        labels_known=labels is not None,
    )
    request, _ = hold_request(asked, work_of(demand, found.namespace, labels or ()), demand, budgets, parts)
    return request

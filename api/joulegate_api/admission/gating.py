"""The mutating webhook: gates work of a budget that queues. It looks at no balance for that, and refuses nothing.

Only roots are gated, when they are created. Whether a gated object fits is decided when the operator
asks to let it go; one that comes without its gate is decided as it comes, and refused where it does not fit.
What Kueue manages is its own to suspend: it is kept from Kueue's eyes only while a budget has nothing left.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from joulegate.core.binding import Work, bind
from joulegate.core.budgets import Budget, Enforcement, Reason
from joulegate.core.errors import JoulegateError
from joulegate.core.workloads import (
    ALONE,
    Demand,
    Unresolved,
    can_be_gated,
    demand_of,
    gate,
    is_queued,
    kept_from_kueue,
    kind_of_work,
)
from joulegate_api.admission.asking import Asked, hold_request
from joulegate_api.admission.families import is_made_by_controller
from joulegate_api.admission.generators import granted_choice
from joulegate_api.admission.lookups import Lookups
from joulegate_api.admission.reading import Review, metadata_of
from joulegate_api.admission.subjects import subject_of, with_choice, with_labels
from joulegate_api.context import Context
from joulegate_api.logs import log
from joulegate_api.records import NAMESPACE_LABEL


def gated_json(review: Review, parts: Context) -> dict[str, Any]:
    """The AdmissionReview that gates what has to wait; whatever is wrong with it, the validating webhook says."""
    response: dict[str, Any] = {"uid": review.uid, "allowed": True}
    patch = _patch(review, parts)
    if patch:
        response |= {"patchType": "JSONPatch", "patch": b64encode(json.dumps(patch).encode()).decode()}
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}


def _patch(review: Review, parts: Context) -> list[dict[str, Any]]:
    new = review.new
    if review.fault is not None or new is None or review.operation != "CREATE" or review.subresource:
        return []
    try:
        if is_made_by_controller(review, parts):
            return []
        if is_queued(new):
            patch = kept_from_kueue(new)
            return patch if patch and _is_exhausted(review, new, parts) else []
        patch = gate(new) if can_be_gated(new) else []
        return patch if patch and _queues(review, new, parts) else []
    except JoulegateError as error:
        log.info("not gated", cause=str(error), resource=review.resource)
    except Exception as error:  # noqa: BLE001 -- without its gate it is decided like any other
        log.error("not gated", exc_info=error)
    return []


def _queues(review: Review, new: Mapping[str, Any], parts: Context) -> bool:
    """Whether a budget that binds the object queues, and the object asks for an accelerator."""
    budgets = {budget.name: budget for budget in parts.store.budgets.list()}
    if not any(budget.enforcement is Enforcement.QUEUE for budget in budgets.values()):
        return False
    found = _work(review, new, budgets, parts)
    if found is None or found[1].suspended:
        return False
    return any(budgets[name].enforcement is Enforcement.QUEUE for name in bind(budgets, found[0]).names)


def _is_exhausted(review: Review, new: Mapping[str, Any], parts: Context) -> bool:
    """Whether a budget that binds work of Kueue has nothing left for anybody: Kueue need not look at the work then."""
    budgets = {budget.name: budget for budget in parts.store.budgets.list()}
    found = _work(review, new, budgets, parts)
    if found is None:
        return False
    work, demand, known = found
    asked = Asked(
        cluster=parts.settings.cluster,
        root_uid=f"review:{review.uid}",
        resource=review.resource,
        name="",
        subject=review.user,
        labels_known=known,
    )
    request, _ = hold_request(asked, work, replace(demand, suspended=False), budgets, parts)
    verdict = parts.store.ledger.decide(request, dry_run=True)
    return not verdict.allowed and verdict.reason is Reason.BUDGET_EXHAUSTED


def _work(
    review: Review, new: Mapping[str, Any], budgets: Mapping[str, Budget], parts: Context
) -> tuple[Work, Demand, bool] | None:
    """What budgets look at, and whether every label is known; None for what asks nothing or cannot be read."""
    namespace = review.namespace or metadata_of(new).get("namespace") or "default"
    if namespace in parts.settings.system_namespaces or not isinstance(namespace, str):
        return None
    around = None if parts.cluster is None or parts.nodes is None else Lookups(parts.cluster, parts.nodes)
    try:
        demand = demand_of(new, around or ALONE)
    except Unresolved:
        return None
    if not demand.groups:
        return None
    work = Work(
        namespace=namespace,
        kind=kind_of_work(str(new.get("kind"))).value,
        namespace_labels={NAMESPACE_LABEL: namespace},
        chosen=demand.budget,
        added_kind=demand.added_kind and demand.added_kind.value,
    )
    work, known = with_labels(work, budgets, around)
    granted = granted_choice(review, parts) if demand.budget is not None else None
    return with_choice(work, subject_of(review, namespace, parts), budgets, around, granted), demand, known

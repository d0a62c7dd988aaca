"""From a review to its verdict: what is governed, whose child it is, what it asks, and whether that fits.

Nothing here allows by accident: whatever cannot be read, resolved, priced or
asked of the database is undecidable, and the budgets that bind the work say
what happens then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from joulegate.core.binding import Work, bind
from joulegate.core.budgets import Budget, Outcome, Reason, Verdict, WhenUndecidable
from joulegate.core.errors import InvalidInputError, UnavailableError
from joulegate.core.workloads import Demand, Unresolved, demand_of, kind_of_work
from joulegate_api.admission.asking import Asked, hold_request, selected_by_labels
from joulegate_api.admission.reading import Review
from joulegate_api.context import Context
from joulegate_api.forecasts import Forecast
from joulegate_api.logs import log
from joulegate_api.records import NAMESPACE_LABEL
from joulegate_api.settings import Unbudgeted
from joulegate_api.store import Place

_CHANGING: Final = ("CREATE", "UPDATE")
_SCALE: Final = "scale"
_LONGEST: Final = 253
_NO_DATABASE: Final = "the database does not answer"
_UNBUDGETED: Final = {
    Unbudgeted.ALLOW: Outcome.ALLOW,
    Unbudgeted.WARN: Outcome.WARN,
    Unbudgeted.DENY: Outcome.DENY,
}


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict, and the demand and the forecast that it was made of where it got that far."""

    verdict: Verdict
    demand: Demand | None = None
    forecast: Forecast | None = None


def decide_review(review: Review, parts: Context) -> Decision:
    """Decide one review; never raises. ``dry_run`` reviews are decided and write nothing."""
    namespace = review.namespace or _metadata(review.new).get("namespace") or "default"
    kind = (review.new or {}).get("kind")
    work = Work(
        namespace=namespace if isinstance(namespace, str) else "",
        kind=kind_of_work(kind if isinstance(kind, str) else "").value,
        namespace_labels={NAMESPACE_LABEL: str(namespace)},
    )
    decision = _decided(review, work, parts)
    if review.dry_run or not _is_noted(decision.verdict):
        return decision
    name = _metadata(review.new).get("name")
    place = Place(parts.settings.cluster, _line(work.namespace), _line(review.resource), _line(name))
    try:
        return replace(decision, verdict=parts.store.ledger.note(place, decision.verdict))
    except Exception as error:  # noqa: BLE001 -- the verdict stands, whether it could be noted or not
        log.error("a verdict was not noted", exc_info=error)
        return decision


def _is_noted(verdict: Verdict) -> bool:
    """Whether a verdict gets an entry that the ledger did not write: it refuses, or nobody could decide."""
    unwritten = verdict.as_of is None and verdict.detail != _NO_DATABASE
    return unwritten and (verdict.reason is Reason.UNDECIDABLE or verdict.outcome is not Outcome.ALLOW)


def _line(text: object) -> str:
    return text[:_LONGEST] if isinstance(text, str) and text.isprintable() else ""


def _decided(review: Review, work: Work, parts: Context) -> Decision:
    try:
        if review.fault is not None:
            return Decision(_undecidable(review.fault, work, parts, Reason.UNDECIDABLE))
        return _decide(review, work, parts)
    except Unresolved as error:
        cause = str(error)
    except InvalidInputError as error:
        cause = error.message
    except UnavailableError as error:
        log.error("undecided", cause=str(error))
        cause = _NO_DATABASE
    except Exception as error:  # noqa: BLE001 -- what nobody foresaw must not allow
        log.error("undecided", exc_info=error)
        cause = "an error inside Joulegate; its log says more"
    return Decision(_undecidable(cause, work, parts, Reason.NO_BUDGET))


def _decide(review: Review, work: Work, parts: Context) -> Decision:
    passed = _not_governed(review, work, parts)
    if passed is not None:
        return Decision(passed)
    if review.new is None:
        raise Unresolved("the review has no object")
    if review.subresource == _SCALE:
        raise Unresolved("the object that is scaled cannot be resolved")
    demand = demand_of(review.new)
    work = replace(work, added_kind=demand.added_kind and demand.added_kind.value, chosen=demand.budget)
    if not demand.groups or demand.suspended:
        reason = Reason.HELD_LATER if demand.groups else Reason.NO_ACCELERATOR
        return Decision(Verdict(Outcome.ALLOW, reason), demand)
    root = _root_of(review, work)
    owner = _owner_of(review, parts)
    if owner is not None:
        held = parts.store.ledger.held(parts.settings.cluster, owner)
        if held is not None and demand.fits_on(held):
            return Decision(Verdict(Outcome.ALLOW, Reason.ADMITTED_OWNER), demand)
        root = owner if held is not None else root
    if _is_running(review, demand) and not _is_repeat(root, demand, parts):
        return Decision(Verdict(Outcome.ALLOW, Reason.ADOPTED), demand)
    return _ask(review, work, demand, root, parts)


def _not_governed(review: Review, work: Work, parts: Context) -> Verdict | None:
    """The verdict on what asks for nothing whatever its object says, or lies outside every budget."""
    if review.operation not in (*_CHANGING, "DELETE", "CONNECT"):
        raise Unresolved(f"the operation {review.operation[:20]!r} is not known")
    if review.operation not in _CHANGING or review.subresource not in ("", _SCALE):
        return Verdict(Outcome.ALLOW, Reason.NO_ACCELERATOR)
    if work.namespace in parts.settings.system_namespaces:
        return Verdict(Outcome.ALLOW, Reason.NO_BUDGET, detail="the namespace is the system's")
    return None


def _ask(review: Review, work: Work, demand: Demand, root: str, parts: Context) -> Decision:
    budgets = {budget.name: budget for budget in parts.store.budgets.list()}
    unbound = selected_by_labels(budgets, work) is None and not bind(budgets, work).names
    if unbound and parts.settings.unbudgeted is not Unbudgeted.ALLOW:
        return Decision(Verdict(_UNBUDGETED[parts.settings.unbudgeted], Reason.NO_BUDGET), demand)
    name = _metadata(review.new).get("name")
    asked = Asked(
        cluster=parts.settings.cluster,
        root_uid=root,
        resource=review.resource or _kind_of(review),
        name=name if isinstance(name, str) and name else root,  # two objects without a name are not one
        subject=review.user,
    )
    request, predicted = hold_request(asked, work, demand, budgets, parts)
    verdict = parts.store.ledger.decide(request, dry_run=review.dry_run)
    if not verdict.allowed:  # what was allowed is answered again word by word
        verdict = replace(verdict, detail=predicted.detail)
    return Decision(verdict, demand, predicted)


def _undecidable(cause: str, work: Work, parts: Context, without_budget: Reason) -> Verdict:
    """What the budgets that bind the work say of what cannot be decided; Deny where not even they are known."""
    try:
        budgets = _budgets(parts)
        names = bind(budgets, work).names
        by_labels = selected_by_labels(budgets, work)
    except Exception as error:  # noqa: BLE001 -- see above
        log.error("budgets are not known", exc_info=error)
        return Verdict(Outcome.DENY, Reason.UNDECIDABLE, detail=cause)
    if by_labels is not None:
        names = (*names, by_labels)
    denying = [name for name in names if budgets[name].when_undecidable is WhenUndecidable.DENY]
    if names:
        outcome = Outcome.DENY if denying else Outcome.ALLOW
        return Verdict(outcome, Reason.UNDECIDABLE, budget=(denying or names)[0], detail=cause)
    return Verdict(_UNBUDGETED[parts.settings.unbudgeted], without_budget, detail=cause)


def _budgets(parts: Context) -> Mapping[str, Budget]:
    try:
        return {budget.name: budget for budget in parts.store.budgets.list()}
    except UnavailableError:
        return parts.store.budgets.remembered().budgets


def _root_of(review: Review, work: Work) -> str:
    """The key of the object's hold: its uid, which the API server gives before it validates.

    What is reviewed outside a cluster has none; its name is then the key, so that a
    repeat finds its hold.
    """
    metadata = _metadata(review.new)
    uid, name = metadata.get("uid"), metadata.get("name")
    if isinstance(uid, str) and uid:
        return uid
    if isinstance(name, str) and name:
        return f"name:{work.namespace}/{review.resource}/{name}"
    if review.dry_run:
        return f"review:{review.uid}"
    raise Unresolved("the object has neither a uid nor a name")


def _owner_of(review: Review, parts: Context) -> str | None:
    """The uid of the controller that owns the object, where a controller of the list made it."""
    if review.user not in parts.settings.controllers:
        return None
    owners = _metadata(review.new).get("ownerReferences")
    for owner in owners if isinstance(owners, list) else ():
        if isinstance(owner, Mapping) and owner.get("controller") is True and isinstance(owner.get("uid"), str):
            return str(owner["uid"])
    return None


def _is_running(review: Review, demand: Demand) -> bool:
    """Whether the object was there before with no less: only growth is decided, never what runs."""
    if review.operation != "UPDATE" or review.old is None:
        return False
    if _metadata(review.new).get("deletionTimestamp") is not None:
        return True
    try:
        before = demand_of(review.old)
    except Unresolved:
        return False
    return not before.suspended and demand.within(before)


def _is_repeat(root: str, demand: Demand, parts: Context) -> bool:
    held = parts.store.ledger.held(parts.settings.cluster, root)
    return held is not None and demand.within(held)


def _kind_of(review: Review) -> str:
    new = review.new or {}
    return f"{new.get('kind')} {new.get('apiVersion')}"


def _metadata(source: Mapping[str, Any] | None) -> Mapping[str, Any]:
    metadata = (source or {}).get("metadata")
    return metadata if isinstance(metadata, Mapping) else {}

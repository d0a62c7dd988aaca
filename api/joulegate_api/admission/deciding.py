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
from joulegate.core.workloads import (
    ALONE,
    ANNOTATION,
    Demand,
    Reference,
    Unresolved,
    demand_of,
    is_generator,
    is_governed,
    kind_of_work,
    scaled,
)
from joulegate_api.admission.asking import Asked, hold_request, selected_by_labels
from joulegate_api.admission.families import Family, count, family_of, growth_of, is_made_by_controller
from joulegate_api.admission.generators import granted_choice, keep_choice, unheard_choice
from joulegate_api.admission.lookups import Lookups
from joulegate_api.admission.reading import Review, metadata_of
from joulegate_api.admission.subjects import subject_of, with_choice, with_labels, written
from joulegate_api.admission.trust import check_share
from joulegate_api.context import Context
from joulegate_api.forecasts import Forecast
from joulegate_api.logs import log
from joulegate_api.records import NAMESPACE_LABEL
from joulegate_api.settings import Unbudgeted
from joulegate_api.store import Origin, Place

_CHANGING: Final = ("CREATE", "UPDATE")
_SCALE: Final = "scale"
_LONGEST: Final = 253
_TOGETHER: Final = 20
"""How often a child is weighed anew because others of its root were held for meanwhile."""
_LET_GO: Final = "the cluster's queue let this work go; it is held for even where it does not fit"
_NO_DATABASE: Final = "the database does not answer"
_SCALED: Final = {
    "deployments.apps": ("apps/v1", "Deployment"),
    "replicasets.apps": ("apps/v1", "ReplicaSet"),
    "statefulsets.apps": ("apps/v1", "StatefulSet"),
}
"""The kinds that are scaled, by resource; LeaderWorkerSet comes with its stage."""

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


@dataclass(frozen=True, slots=True)
class _Question:
    """One review on its way to the ledger."""

    review: Review
    work: Work
    demand: Demand
    around: Lookups | None
    proven: bool


def decide_review(review: Review, parts: Context, *, proven: bool = True) -> Decision:
    """Decide one review; never raises. ``dry_run`` reviews are decided and write nothing.

    ``proven`` where the caller is known to be the API server or a principal.
    """
    namespace = review.namespace or metadata_of(review.new).get("namespace") or "default"
    kind = (review.new or {}).get("kind")
    work = Work(
        namespace=namespace if isinstance(namespace, str) else "",
        kind=kind_of_work(kind if isinstance(kind, str) else "").value,
        namespace_labels={NAMESPACE_LABEL: str(namespace)},
    )
    decision = _decided(review, work, parts, proven=proven)
    if review.dry_run or not _is_noted(review, decision):
        return decision
    name = metadata_of(review.new).get("name")
    place = Place(parts.settings.cluster, _line(work.namespace), _line(review.resource), _line(name))
    try:
        return replace(decision, verdict=parts.store.ledger.note(place, decision.verdict))
    except Exception as error:  # noqa: BLE001 -- the verdict stands, whether it could be noted or not
        log.error("a verdict was not noted", exc_info=error)
        return decision


def _is_noted(review: Review, decision: Decision) -> bool:
    """Whether a verdict gets an entry that the ledger did not write.

    It refuses, nobody could decide, or it holds nothing for a governed object. An update that
    asks for what was asked for before is a repeat, and writes nothing.
    """
    verdict, new = decision.verdict, review.new or {}
    if verdict.as_of is not None or verdict.detail == _NO_DATABASE:
        return False
    if verdict.reason is Reason.UNDECIDABLE or verdict.outcome is not Outcome.ALLOW:
        return True
    if decision.demand is None or not is_governed(str(new.get("apiVersion")), str(new.get("kind"))):
        return False
    return verdict.reason is Reason.ADOPTED or review.operation != "UPDATE" or _demand_before(review) != decision.demand


def _demand_before(review: Review) -> Demand | None:
    try:
        return None if review.old is None else demand_of(review.old, ALONE)
    except Unresolved:
        return None


def _line(text: object) -> str:
    return text[:_LONGEST] if isinstance(text, str) and text.isprintable() else ""


def _decided(review: Review, work: Work, parts: Context, *, proven: bool) -> Decision:
    try:
        if review.fault is not None:
            return Decision(_undecidable(review.fault, work, parts, Reason.UNDECIDABLE))
        return _decide(review, work, parts, proven=proven)
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
    if is_made_by_controller(review, parts) or _is_let_go_by_queue(
        review, parts
    ):  # what runs already is never disturbed because nobody can tell
        return Decision(Verdict(Outcome.ALLOW, Reason.UNDECIDABLE, detail=cause))
    return Decision(_undecidable(cause, work, parts, Reason.NO_BUDGET))


def _decide(review: Review, work: Work, parts: Context, *, proven: bool) -> Decision:
    passed = _not_governed(review, work, parts)
    if passed is not None:
        return Decision(passed)
    if review.new is None:
        raise Unresolved("the review has no object")
    around = None if parts.cluster is None or parts.nodes is None else Lookups(parts.cluster, parts.nodes)
    if review.subresource == _SCALE:
        review = _of_scaled(review, work, around)
    demand = demand_of(review.new, around or ALONE)
    work = replace(work, added_kind=demand.added_kind and demand.added_kind.value, chosen=demand.budget)
    barred = _barred(review, work, demand, parts, around)
    if barred is not None:
        return Decision(Verdict(Outcome.DENY, Reason.NOT_PERMITTED, budget=demand.budget, detail=barred), demand)
    if not demand.groups or demand.suspended:
        reason = Reason.HELD_LATER if demand.groups else Reason.NO_ACCELERATOR
        unheard = unheard_choice(review, demand)
        return Decision(Verdict(Outcome.ALLOW, reason, warnings=(unheard,) if unheard else ()), demand)
    family = family_of(review, parts, around)
    if family is not None:
        return _of_child(_Question(review, work, demand, around, proven), family, parts)
    root = _root_of(review, work)
    if _is_running(review, demand, around) and not _is_repeat(root, demand, parts):
        return Decision(Verdict(Outcome.ALLOW, Reason.ADOPTED), demand)
    name = metadata_of(review.new).get("name")
    called = (review.resource or _kind_of(review), name if isinstance(name, str) and name else root)
    return _ask(_Question(review, work, demand, around, proven), root, called, parts)


def _of_child(question: _Question, family: Family, parts: Context) -> Decision:
    """A child passes while its root's tree stays within what the root was admitted with; beyond, it is growth."""
    review, demand = question.review, question.demand
    if family.held is not None and _is_running(review, demand, question.around):
        return Decision(Verdict(Outcome.ALLOW, Reason.ADMITTED_OWNER), demand)
    more = growth_of(review, family, demand, parts, question.around)
    if more is None:
        return Decision(Verdict(Outcome.ALLOW, Reason.ADMITTED_OWNER), demand)
    for _ in range(_TOGETHER):
        asked = replace(question, work=_work_of_tree(question, more), demand=more)
        decision = _ask(asked, family.root_uid, (family.resource, family.name), parts)
        # What was held may be another child's, which came at the same moment and asked for as much.
        beyond = count(review, family, demand, parts) if decision.verdict.allowed else None
        if beyond is None:
            return decision
        more = beyond
    raise Unresolved("children of its root come faster than they can be decided")


def _work_of_tree(question: _Question, tree: Demand) -> Work:
    """The work that is decided under a root: the root's own, where it is not the child alone that is asked for."""
    if tree is question.demand:
        return question.work
    added = tree.added_kind and tree.added_kind.value
    return replace(question.work, kind=tree.kind.value, added_kind=added, chosen=tree.budget)


def _of_scaled(review: Review, work: Work, around: Lookups | None) -> Review:
    """The review as one of the object that is scaled, from what it asks for now to what it will."""
    known = _SCALED.get(review.resource)
    name = review.name or metadata_of(review.new).get("name")
    if known is None or around is None or not isinstance(name, str) or not name or review.new is None:
        raise Unresolved("the object that is scaled cannot be looked up")
    before = around.get(Reference(*known, name, work.namespace))
    if before is None:
        raise Unresolved(f"{known[1]} {name} in {work.namespace} does not exist")
    before = {"apiVersion": known[0], "kind": known[1], **before}
    return replace(review, subresource="", new=scaled(before, review.new), old=before)


def _not_governed(review: Review, work: Work, parts: Context) -> Verdict | None:
    """The verdict on what asks for nothing whatever its object says, or lies outside every budget."""
    if review.operation not in (*_CHANGING, "DELETE", "CONNECT"):
        raise Unresolved(f"the operation {review.operation[:20]!r} is not known")
    if review.operation not in _CHANGING or review.subresource not in ("", _SCALE):
        return Verdict(Outcome.ALLOW, Reason.NO_ACCELERATOR)
    if work.namespace in parts.settings.system_namespaces:
        return Verdict(Outcome.ALLOW, Reason.NO_BUDGET, detail="the namespace is the system's")
    return None


def _ask(question: _Question, root: str, called: tuple[str, str], parts: Context) -> Decision:
    """Ask the ledger under a root, which its hold calls by resource and name."""
    budgets = {budget.name: budget for budget in parts.store.budgets.list()}
    review, demand, around = question.review, question.demand, question.around
    work, known = with_labels(question.work, budgets, around)
    subject = subject_of(review, work.namespace, parts)
    granted = granted_choice(review, parts) if work.chosen is not None else None
    work = with_choice(work, subject, budgets, around, granted)
    unbound = (known or selected_by_labels(budgets, work) is None) and not bind(budgets, work).names
    let_go = _is_let_go_by_queue(review, parts)
    if unbound and parts.settings.unbudgeted is not Unbudgeted.ALLOW and not let_go:
        return Decision(Verdict(_UNBUDGETED[parts.settings.unbudgeted], Reason.NO_BUDGET), demand)
    asked = Asked(
        cluster=parts.settings.cluster,
        root_uid=root,
        resource=called[0],
        name=called[1],  # two objects without a name are not one
        subject=written(review, subject),
        labels_known=known,
        origin=Origin.ADOPTED if let_go else Origin.ADMITTED,
    )
    request, predicted = hold_request(asked, work, demand, budgets, parts)
    if not question.proven and not let_go and not _is_repeat(root, demand, parts):
        check_share(request, budgets, parts)
    verdict = parts.store.ledger.decide(request, dry_run=review.dry_run)
    if verdict.reason is Reason.ADOPTED:
        verdict = replace(verdict, warnings=(*verdict.warnings, _LET_GO))
    if not verdict.allowed:  # what was allowed is answered again word by word
        verdict = replace(verdict, detail=predicted.detail)
    return Decision(verdict, demand, predicted)


def _is_let_go_by_queue(review: Review, parts: Context) -> bool:
    """Whether a queue of the cluster lets work go: it has given its quota away already, so it always passes."""
    return review.operation == "UPDATE" and review.user in parts.settings.queue_managers


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
    metadata = metadata_of(review.new)
    uid, name = metadata.get("uid"), metadata.get("name")
    if isinstance(uid, str) and uid:
        return uid
    if isinstance(name, str) and name:
        return f"name:{work.namespace}/{review.resource}/{name}"
    if review.dry_run:
        return f"review:{review.uid}"
    raise Unresolved("the object has neither a uid nor a name")


def _barred(review: Review, work: Work, demand: Demand, parts: Context, around: Lookups | None) -> str | None:
    """Why the choice of a budget is refused; None where it may stand.

    It is made once. What waits or is suspended is let go by somebody else, so its author's right is asked for now.
    """
    if not demand.groups or metadata_of(review.new).get("deletionTimestamp") is not None:
        return None
    if review.operation == "UPDATE" and review.old is not None:
        if _choice_of(review.old, around) != demand.budget:
            return "the annotation joulegate.io/budget does not change; make a new object"
        if not is_generator(_kind_of(review).partition(" ")[0]):
            return None
    return _unusable(review, work, demand, parts, around) if demand.suspended and demand.budget is not None else None


def _unusable(review: Review, work: Work, demand: Demand, parts: Context, around: Lookups | None) -> str | None:
    """Why the chosen budget is not the subject's to use; what a generator was let choose is kept for what it makes."""
    subject, granted = subject_of(review, work.namespace, parts), granted_choice(review, parts)
    chosen = with_choice(work, subject, _budgets(parts), around, granted)
    if chosen.usable is None:
        return None
    if chosen.usable:
        keep_choice(review, demand, parts)
        return None
    # A generator that was there before stays as it was: what it makes does not get that budget.
    return f"{review.user} may not use budget {demand.budget}" if review.operation == "CREATE" else None


def _choice_of(source: Mapping[str, Any], around: Lookups | None) -> str | None:
    """The budget that an object chose, in its own annotations or in those of its template."""
    try:
        return demand_of(source, around or ALONE).budget
    except Unresolved:
        annotations = metadata_of(source).get("annotations")
        chosen = annotations.get(ANNOTATION + "budget") if isinstance(annotations, Mapping) else None
        return chosen if isinstance(chosen, str) else None


def _is_running(review: Review, demand: Demand, around: Lookups | None) -> bool:
    """Whether the object was there before with no less: only growth is decided, never what runs."""
    if review.operation != "UPDATE" or review.old is None:
        return False
    if metadata_of(review.new).get("deletionTimestamp") is not None:
        return True
    try:
        before = demand_of(review.old, around or ALONE)
    except Unresolved:
        return False
    return not before.suspended and demand.within(before)


def _is_repeat(root: str, demand: Demand, parts: Context) -> bool:
    held = parts.store.ledger.held(parts.settings.cluster, root)
    return held is not None and demand.within(held)


def _kind_of(review: Review) -> str:
    new = review.new or {}
    return f"{new.get('kind')} {new.get('apiVersion')}"

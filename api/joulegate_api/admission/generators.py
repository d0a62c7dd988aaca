"""Generators (a CronJob) hold nothing; the budget that they choose is asked for when somebody writes them.

What they make later is made by a controller, whose right to use a budget says nothing: a child of a generator
that was let choose may have that same budget, and any other is asked of the controller like of anybody.
"""

from __future__ import annotations

from joulegate.core.workloads import ANNOTATION, Demand, is_generator
from joulegate_api.admission.families import owner_of
from joulegate_api.admission.reading import Review, metadata_of
from joulegate_api.context import Context


def granted_choice(review: Review, parts: Context) -> str | None:
    """The budget that the generator of an object was let choose; None where it was not, or is none."""
    owner = owner_of(review.new)
    if owner is None or not is_generator(owner.kind) or review.user not in parts.settings.controllers:
        return None
    return parts.store.trees.choice_of(parts.settings.cluster, owner.uid)


def keep_choice(review: Review, demand: Demand, parts: Context) -> None:
    """Keep that the subject of a review may use what its generator chooses; nothing for other objects."""
    uid, name = (metadata_of(review.new).get(key) for key in ("uid", "name"))
    if review.dry_run or demand.budget is None or not is_generator(str((review.new or {}).get("kind"))):
        return
    known = isinstance(uid, str) and parts.store.trees.choice_of(parts.settings.cluster, uid) == demand.budget
    if not known and isinstance(uid, str) and uid and isinstance(name, str):
        parts.store.trees.keep_choice(parts.settings.cluster, uid, review.namespace or "default", name, demand)


def unheard_choice(review: Review, demand: Demand) -> str | None:
    """What is said of a generator whose own annotation chooses a budget: nothing that it makes will carry that."""
    new = review.new or {}
    annotations = metadata_of(new).get("annotations")
    said = annotations.get(ANNOTATION + "budget") if isinstance(annotations, dict) else None
    if said is None or said == demand.budget or not is_generator(str(new.get("kind"))):
        return None
    return f"{ANNOTATION}budget goes into metadata.annotations of spec.jobTemplate; here nothing reads it"

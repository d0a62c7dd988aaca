"""For whom an object is made, and which budgets that subject may choose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from joulegate.core.binding import Work
from joulegate.core.budgets import Budget
from joulegate_api.admission.asking import selected_by_labels
from joulegate_api.admission.lookups import Lookups
from joulegate_api.admission.reading import Review
from joulegate_api.cluster import Identity
from joulegate_api.context import Context


def subject_of(review: Review, namespace: str, parts: Context) -> Identity:
    """Who asks; where that is a delegate, the account of the namespace for which it acts."""
    if review.user not in parts.settings.delegates:
        return Identity(review.user, "", review.groups)
    account = f"system:serviceaccount:{namespace}:{parts.settings.delegated_account}"
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
    return Identity(account, "", groups)


def written(review: Review, subject: Identity) -> str:
    """The subject as the ledger keeps it, with whom it acted through."""
    return subject.username if subject.username == review.user else f"{subject.username} (through {review.user})"


def with_choice(
    work: Work,
    subject: Identity,
    budgets: Mapping[str, Budget],
    around: Lookups | None,
    granted: str | None = None,
) -> Work:
    """The work with what the cluster lets the subject use of the budget that was chosen.

    ``granted`` was let be chosen before. Outside a cluster there are no such rights: who may ask may
    choose. Raises :class:`~joulegate.core.workloads.Unresolved` where the cluster does not say.
    """
    chosen = budgets.get(work.chosen) if work.chosen is not None else None
    if chosen is None or not chosen.selectable or around is None:
        return work
    may = chosen.name == granted or around.may_use(subject, chosen.name)
    usable = frozenset({chosen.name}) if may else frozenset()
    return replace(work, usable=usable)


def with_labels(work: Work, budgets: Mapping[str, Budget], around: Lookups | None) -> tuple[Work, bool]:
    """The work with its namespace's labels where a budget asks for them, and whether every label is known."""
    if around is None or selected_by_labels(budgets, work) is None:
        return work, False
    return replace(work, namespace_labels={**around.labels_of(work.namespace), **work.namespace_labels}), True

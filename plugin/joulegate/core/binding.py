"""Which budgets bind a piece of work, and the tree that they stand in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from joulegate.core.budgets import Budget, Scope
from joulegate.core.errors import InvalidInputError


@dataclass(frozen=True, slots=True)
class Work:
    """What budgets look at: where the work runs, what it is for, which budget was chosen for it.

    ``kind`` is what the object is for by its own kind; ``added_kind`` is what its
    author calls it beside that, so it can add a binding and never remove one.
    ``usable`` names the selectable budgets that the subject may use; None means any.
    """

    namespace: str
    kind: str
    namespace_labels: Mapping[str, str] = field(default_factory=dict)
    chosen: str | None = None
    usable: frozenset[str] | None = None
    added_kind: str | None = None


@dataclass(frozen=True, slots=True)
class Binding:
    """The budgets that a decision must fit.

    ``names`` holds each bound budget and all above it, sorted; ``direct`` those that bind by their own scope.

    ``not_permitted`` is the chosen budget that the subject may not use where no
    default takes its place; the work must then be refused.
    """

    names: tuple[str, ...]
    not_permitted: str | None = None
    warnings: tuple[str, ...] = ()
    direct: tuple[str, ...] = ()


def bind(budgets: Mapping[str, Budget], work: Work) -> Binding:
    """Find the budgets that bind ``work``.

    Every budget whose scope holds the work binds it, except selectable ones, of
    which one does: the chosen one if the subject may use it, else the default.
    A budget without a scope binds nothing by itself; the work of a budget counts
    in all budgets above it, whatever their scope.
    """
    inside = [budget for budget in budgets.values() if budget.scope and in_scope(budget.scope, work)]
    direct = [budget.name for budget in inside if not budget.selectable]
    selectable = {budget.name: budget for budget in inside if budget.selectable}
    selected, warnings = _select(selectable, work, already=direct)
    if selected:
        direct.append(selected)
    missed = work.chosen if warnings and not selected else None
    names = {name for bound in direct for name in lineage(budgets, bound)}
    return Binding(tuple(sorted(names)), missed, warnings, tuple(sorted(direct)))


def _select(selectable: Mapping[str, Budget], work: Work, already: list[str]) -> tuple[str | None, tuple[str, ...]]:
    default = min((name for name, budget in selectable.items() if budget.default), default=None)
    if work.chosen is None or work.chosen in already:
        return default, ()
    if work.chosen in selectable and (work.usable is None or work.chosen in work.usable):
        return work.chosen, ()
    instead = f"; {default} is used instead" if default else ""
    return default, (f"budget {work.chosen} cannot be chosen here{instead}",)


def in_scope(scope: Scope, work: Work) -> bool:
    """Whether ``scope`` holds ``work``: present fields are ANDed, absent ones do not restrict."""
    if scope.namespaces is not None and work.namespace not in scope.namespaces:
        return False
    if scope.kinds is not None and work.kind not in scope.kinds and work.added_kind not in scope.kinds:
        return False
    return all(rule.matches(work.namespace_labels) for rule in scope.namespace_selector)


def lineage(budgets: Mapping[str, Budget], name: str) -> tuple[str, ...]:
    """The budget and all above it, from the bottom up.

    Raises :class:`InvalidInputError` for a cycle or a dangling parent.
    """
    names: list[str] = []
    current: str | None = name
    while current is not None:
        if current in names:
            raise InvalidInputError(f"budgets form a cycle: {' -> '.join([*names, current])}", "spec.parent")
        if current not in budgets:
            raise InvalidInputError(
                f"budget {names[-1] if names else name}: its parent {current} does not exist",
                "spec.parent",
            )
        names.append(current)
        current = budgets[current].parent
    return tuple(names)


def check_tree(budgets: Iterable[Budget]) -> None:
    """Refuse cycles, dangling parents, and currencies that differ in one line of budgets."""
    by_name = {budget.name: budget for budget in budgets}
    for name, budget in by_name.items():
        for above in lineage(by_name, name)[1:]:
            theirs, ours = by_name[above].limits.currency, budget.limits.currency
            if theirs and ours and theirs != ours:
                raise InvalidInputError(
                    f"budget {name} is in {ours}, {above} in {theirs}; nothing is converted",
                    "spec.limits.cost.currency",
                )

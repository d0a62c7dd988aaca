"""What an admitted root may run at once, and when a child of it is growth.

A pod that ends and the one that replaces it count once, so that a replacement is
never refused; what an update runs beyond the replicas for a while is allowed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from fractions import Fraction

from joulegate.core.workloads import Demand, Group

Boards = dict[str | None, Fraction]
"""Accelerators by the canonical name of their model."""


def entitled(held: Iterable[Demand]) -> Boards:
    """The most boards of each model that any live part of a root's hold was made for."""
    most: Boards = {}
    for demand in held:
        for model, boards in demand.by_model().items():
            most[model] = max(most.get(model, Fraction(0)), boards)
    return most


def growth(held: Sequence[Demand], live: Iterable[Demand], child: Demand, surge: int = 0) -> Demand | None:
    """None where ``child`` fits beside the ``live`` pods of its tree; else the demand of the whole tree.

    ``surge`` is how many pods more than its replicas the root's update strategy may
    run; terminating pods are not ``live``. Models that the child does not use are not weighed.
    """
    together: Boards = {}
    for demand in (*live, child):
        for model, boards in demand.by_model().items():
            together[model] = together.get(model, Fraction(0)) + boards
    may = entitled(held)
    own = child.by_model()
    if all(together[model] <= may.get(model, 0) + surge * boards for model, boards in own.items()):
        return None
    whole = {model: max(together.get(model, Fraction(0)), may.get(model, Fraction(0))) for model in {*together, *may}}
    groups = tuple(
        Group(model, whole[model], 1) for model in sorted(whole, key=lambda name: name or "") if whole[model]
    )
    template = held[0] if held else child
    return replace(template, groups=groups)

"""Whose energy a batch of windows holds, which balances it may touch, and by which rates it is priced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, select

from joulegate.core.binding import Work, bind
from joulegate.core.budgets import Budget
from joulegate.core.periods import Period
from joulegate.core.records import Kind
from joulegate_api.store import devices, holds
from joulegate_api.store.balances import Key
from joulegate_api.store.budgets import Budgets, Hierarchy
from joulegate_api.store.charging import Subject
from joulegate_api.store.holds import Held, Root
from joulegate_api.store.lateness import open_periods
from joulegate_api.store.meter_tables import objects
from joulegate_api.store.rates import Book
from joulegate_api.store.windows import WindowBatch

_CHUNK: Final = 500


@dataclass(frozen=True, slots=True)
class WindowPlan:
    """What holds for a batch as long as budgets, rates and holds stand still."""

    hierarchy: int
    book: Book
    subjects: Mapping[str, Subject]
    parts: Mapping[Root, list[Held]]
    budgets: Mapping[str, Budget]
    periods: Mapping[Key, Period]
    late: Mapping[Key, Key]
    models: Mapping[str, devices.Device | None]


def plan_windows(
    connection: Connection, batch: WindowBatch, tenant: str, known: Budgets, book: Book, now: datetime
) -> WindowPlan:
    """Find roots, holds, budgets and periods before any lock is taken."""
    hierarchy = known.hierarchy(connection)
    roots = _roots(
        connection, tenant, batch.cluster, sorted({w.pod_uid for w in batch.windows if w.pod_uid is not None})
    )
    parts = parts_of(connection, tenant, batch.cluster, roots)
    frozen = known.ever(connection, {key.budget for own in parts.values() for part in own for key in part.claims})
    budgets = {**hierarchy.budgets, **frozen}
    subjects = _subjects(batch, hierarchy, roots, parts)
    periods = _periods(batch, subjects, parts, budgets)
    running = open_periods(periods, budgets, now)
    return WindowPlan(
        hierarchy=hierarchy.version,
        book=book,
        subjects=subjects,
        parts=parts,
        budgets=budgets,
        periods=periods | dict(running.values()),
        late={key: place for key, (place, _) in running.items()},
        models={
            uuid: devices.latest(connection, tenant, uuid) for uuid in sorted({w.device_uuid for w in batch.windows})
        },
    )


def parts_of(connection: Connection, tenant: str, cluster: str, roots: Mapping[str, str]) -> dict[Root, list[Held]]:
    """The holds of these roots, less those whose work never came to be."""
    wanted = {(cluster, root) for root in roots.values()}
    found = holds.of_roots(connection, tenant, wanted) if wanted else {}
    living = {root: [part for part in own if part.state not in holds.DEAD] for root, own in found.items()}
    return {root: own for root, own in living.items() if own}


def _subjects(
    batch: WindowBatch, hierarchy: Hierarchy, roots: Mapping[str, str], parts: Mapping[Root, Sequence[Held]]
) -> dict[str, Subject]:
    """Energy of a held root goes to the budgets of its hold, other energy to those that bind its namespace."""
    found: dict[str, Subject] = {}
    for window in batch.windows:
        if window.pod_uid is None or window.pod_uid in found:
            continue
        root, namespace = roots[window.pod_uid], window.namespace or ""
        names = tuple(sorted({key.budget for part in parts.get((batch.cluster, root), ()) for key in part.claims}))
        if not names:
            names = bind(hierarchy.budgets, Work(namespace, Kind.TRAINING.value)).names
        found[window.pod_uid] = Subject(window.pod_uid, root, namespace, names)
    return found


def _periods(
    batch: WindowBatch,
    subjects: Mapping[str, Subject],
    parts: Mapping[Root, Sequence[Held]],
    budgets: Mapping[str, Budget],
) -> dict[Key, Period]:
    instants = {(w.quarter, name) for w in batch.windows if w.pod_uid for name in subjects[w.pod_uid].budgets}
    instants |= {(key.start, key.budget) for own in parts.values() for part in own for key in part.claims}
    found: dict[Key, Period] = {}
    for instant, name in instants:
        period = budgets[name].period.period_at(instant)
        if period is not None:
            found[Key(name, period.start)] = period
    return found


def _roots(connection: Connection, tenant: str, cluster: str, pods: Sequence[str]) -> dict[str, str]:
    """The root of each pod; a pod of which nothing is known is its own."""
    found = {uid: uid for uid in pods}
    of = objects.c
    for begin in range(0, len(pods), _CHUNK):
        some = of.uid.in_(pods[begin : begin + _CHUNK])
        query = select(of.uid, of.root_uid).where(of.tenant == tenant, of.cluster == cluster, some)
        found.update({row.uid: row.root_uid for row in connection.execute(query)})
    return found

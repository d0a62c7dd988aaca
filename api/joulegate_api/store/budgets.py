"""Budgets: their revisions, the tree they form now, and what stands in their balances."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, func, insert, select, tuple_

from joulegate.core.binding import Binding, Work, bind, check_tree, lineage
from joulegate.core.budgets import Balance, Budget
from joulegate.core.encoding import decode, encode
from joulegate.core.errors import ConflictError, NotFoundError
from joulegate.core.log import EntryType
from joulegate.core.periods import Period
from joulegate.core.units import Unit
from joulegate_api.store import balances, versions
from joulegate_api.store.adopting import forget, unadopted
from joulegate_api.store.database import Database
from joulegate_api.store.entries import Transaction, Writer
from joulegate_api.store.tables import budget_revisions

REMEMBERED: Final = 10_000
"""Bindings that are kept at once."""

SPLITS: Final = 256
"""Splits of quotes that are kept at once; a quote of a quarter of a year has 8,832 quarter-hours."""

Found = TypeVar("Found")

_CHUNK: Final = 200  # budgets that are read at once; SQLite bounds the variables of a statement


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """All open budgets as they stand at one version.

    ``unadopted`` names, by cluster, those whose scope an operator has not adopted yet.
    """

    version: int
    budgets: Mapping[str, Budget]
    unadopted: Mapping[str, frozenset[str]] = field(default_factory=dict)
    _bindings: dict[object, Binding] = field(default_factory=dict, repr=False, compare=False)
    _splits: dict[Hashable, Any] = field(default_factory=dict, repr=False, compare=False)

    def binding(self, work: Work) -> Binding:
        """Which budgets bind ``work``; found once for work that looks the same to them."""
        labels = frozenset(work.namespace_labels.items())
        seen = (work.namespace, work.kind, labels, work.chosen, work.usable, work.added_kind)
        known = self._bindings.get(seen)
        if known is None:
            if len(self._bindings) >= REMEMBERED:
                self._bindings.clear()
            known = self._bindings[seen] = bind(self.budgets, work)
        return known

    def once(self, asked: Hashable, find: Callable[[], Found]) -> Found:
        """What ``find`` finds under these budgets; looked for once for what is ``asked`` again and again."""
        known: Found | None = self._splits.get(asked)
        if known is None:
            if len(self._splits) >= SPLITS:
                self._splits.clear()
            known = self._splits[asked] = find()
        return known

    def lenient(self, cluster: str, binding: Binding) -> frozenset[str]:
        """Those of the budgets of a binding that do not enforce there yet: no adopted scope binds by them."""
        waiting = self.unadopted.get(cluster)
        if not waiting:
            return frozenset()
        sure = [name for name in binding.direct if name not in waiting]
        return frozenset(binding.names) - {above for name in sure for above in lineage(self.budgets, name)}


@dataclass(frozen=True, slots=True)
class BudgetBalances:
    """One budget in one period, unit by unit; ``as_of`` is the instant for which the figures hold."""

    budget: Budget
    period: Period
    balances: Mapping[Unit, Balance]
    as_of: datetime


@dataclass(frozen=True, slots=True)
class Revision:
    """One form of a budget and since when it is in force."""

    number: int
    recorded_at: datetime
    closed: bool
    budget: Budget


class Budgets:
    """The budgets of a tenant."""

    def __init__(self, database: Database, writer: Writer, tenant: str) -> None:
        """Remember nothing yet."""
        self._database = database
        self._writer = writer
        self._tenant = tenant
        self._glances = versions.Glances(database, tenant)
        self._known: Hierarchy | None = None
        self._read: dict[str, tuple[int, Budget]] = {}
        self._lock = threading.Lock()

    def put(self, budget: Budget, principal: str) -> bool:
        """Keep a budget as written; True where it is new or changed, False where it stands so already.

        Raises :class:`InvalidInputError` for a cycle, a dangling parent or mixed
        currencies, :class:`ConflictError` where money was counted in another
        currency or the periods would be cut differently than before.
        """
        with self._writer.transaction() as transaction:
            hierarchy = self._changing(transaction)
            last = _last_revision(transaction.connection, self._tenant, budget.name)
            if last is not None and not last.closed and last.budget == budget:
                return False
            check_tree({**hierarchy.budgets, budget.name: budget}.values())
            if last is not None and last.budget.period != budget.period and balances.is_used(transaction, budget.name):
                raise ConflictError(
                    f"budget {budget.name} has holds or postings in its periods; "
                    "a budget of another name can have other periods"
                )
            now = transaction.now()
            self._append(transaction, budget, last, now, principal, closed=False)
            balances.set_base(transaction, budget, now)
        return True

    def close(self, name: str, principal: str) -> None:
        """Bind no new work with it; what it holds and posted stays.

        Raises :class:`NotFoundError`, or :class:`ConflictError` where it has children.
        """
        with self._writer.transaction() as transaction:
            hierarchy = self._changing(transaction)
            if name not in hierarchy.budgets:
                raise NotFoundError(f"there is no open budget {name}")
            children = sorted(child.name for child in hierarchy.budgets.values() if child.parent == name)
            if children:
                raise ConflictError(f"budget {name} is the parent of {', '.join(children)}; close those first")
            last = _last_revision(transaction.connection, self._tenant, name)
            self._append(transaction, hierarchy.budgets[name], last, transaction.now(), principal, closed=True)
            forget(transaction.connection, self._tenant, name)

    def get(self, name: str) -> Budget:
        """The open budget of this name; raises :class:`NotFoundError`."""
        found = self.hierarchy().budgets.get(name)
        if found is None:
            raise NotFoundError(f"there is no open budget {name}")
        return found

    def list(self) -> tuple[Budget, ...]:
        """Every open budget, by name."""
        known = self.hierarchy().budgets
        return tuple(known[name] for name in sorted(known))

    def balance(self, name: str, at: datetime | None = None, as_of: datetime | None = None) -> BudgetBalances:
        """The balances of the period that holds ``at``, as they stood at ``as_of``; both default to now.

        A closed budget still answers. Raises :class:`NotFoundError` where the
        budget was never known, or where a fixed span does not hold ``at``.
        """
        with self._database.read() as connection:
            now = self._database.now(connection)
            revisions = _revisions(connection, self._tenant, name)
            if not revisions:
                raise NotFoundError(f"there is no budget {name}")
            budget = revisions[-1].budget
            period = budget.period.period_at(at or now)
            if period is None:
                raise NotFoundError(f"budget {name} has no period at {at or now}")
            moment = min(as_of, now) if as_of else now
            base = _in_force(revisions, min(moment, period.end)).budget
            found = balances.standing(connection, self._tenant, base, period, moment, moment if as_of else None)
        return BudgetBalances(budget, period, found, moment)

    def current(self) -> tuple[BudgetBalances, ...]:
        """The balances of every open budget in its present period; one whose span is not now has none."""
        with self._database.read() as connection:
            now = self._database.now(connection)
            budgets = self.hierarchy(connection).budgets
            periods = {name: budgets[name].period.period_at(now) for name in sorted(budgets)}
            keys = {balances.Key(name, period.start): period for name, period in periods.items() if period is not None}
            found: dict[balances.Key, balances.Account] = {}
            for some in (list(keys)[at : at + _CHUNK] for at in range(0, len(keys), _CHUNK)):
                found |= balances.unlocked(connection, self._tenant, {key: keys[key] for key in some}, budgets, now)
        return tuple(
            BudgetBalances(budgets[key.budget], period, {unit: found[key].balance(unit) for unit in Unit}, now)
            for key, period in keys.items()
        )

    def ever(self, connection: Connection, names: Collection[str]) -> dict[str, Budget]:
        """The last form of each budget, closed ones too: a hold keeps the budgets that it was made under."""
        found = ((name, _revisions(connection, self._tenant, name)) for name in sorted(names))
        return {name: revisions[-1].budget for name, revisions in found if revisions}

    def hierarchy(self, connection: Connection | None = None) -> Hierarchy:
        """The open budgets; read again only where their version has changed."""
        if connection is None:
            with self._lock:
                known = self._known
            if known is not None and known.version == self._glances.now().hierarchy:
                return known
            with self._database.read() as reading:
                return self.hierarchy(reading)
        version = versions.current(connection, self._tenant).hierarchy
        with self._lock:
            known = self._known
        if known is None or known.version != version:
            budgets = self._open_budgets(connection)
            known = Hierarchy(version, budgets, unadopted(connection, self._tenant, budgets))
            with self._lock:
                if self._known is None or self._known.version < version:
                    self._known = known
        return known

    def remembered(self) -> Hierarchy:
        """The open budgets as this process last read them; who decides by them checks the version under its locks."""
        with self._lock:
            known = self._known
        return known or self.hierarchy()

    def _changing(self, transaction: Transaction) -> Hierarchy:
        version = versions.advance(transaction, "hierarchy")
        return Hierarchy(version, self._open_budgets(transaction.connection))

    def _open_budgets(self, connection: Connection) -> dict[str, Budget]:
        """The newest forms of budgets that are open; only those that changed since are read in full."""
        of, tenant = budget_revisions.c, self._tenant
        last = select(of.name, func.max(of.revision).label("revision")).where(of.tenant == tenant).group_by(of.name)
        newest = last.subquery()
        of_newest = (of.name == newest.c.name) & (of.revision == newest.c.revision)
        query = select(of.name, of.revision).join(newest, of_newest).where(of.tenant == tenant, of.closed.is_(False))
        numbers = {row.name: int(row.revision) for row in connection.execute(query)}
        with self._lock:
            known = self._read
        found = {name: known[name] for name, number in numbers.items() if name in known and known[name][0] == number}
        changed = [(name, number) for name, number in numbers.items() if name not in found]
        for some in (changed[at : at + _CHUNK] for at in range(0, len(changed), _CHUNK)):
            rows = connection.execute(
                select(of.name, of.revision, of.spec).where(of.tenant == tenant, tuple_(of.name, of.revision).in_(some))
            )
            found |= {row.name: (row.revision, decode(Budget, row.spec)) for row in rows}
        with self._lock:
            self._read = found
        return {name: budget for name, (_, budget) in found.items()}

    def _append(
        self,
        transaction: Transaction,
        budget: Budget,
        last: Revision | None,
        now: datetime,
        principal: str,
        *,
        closed: bool,
    ) -> None:
        number = last.number + 1 if last else 1
        spec = encode(budget)
        transaction.connection.execute(
            insert(budget_revisions).values(
                tenant=self._tenant,
                name=budget.name,
                revision=number,
                recorded_at=now,
                principal=principal,
                closed=closed,
                spec=spec,
            )
        )
        kind = EntryType.BUDGET_CLOSED if closed else EntryType.BUDGET
        transaction.log(
            kind, f"{budget.name}/{number}", now, {"budget": spec, "revision": number, "principal": principal}
        )


def _revisions(connection: Connection, tenant: str, name: str) -> list[Revision]:
    of = budget_revisions.c
    rows = connection.execute(
        select(of.revision, of.recorded_at, of.closed, of.spec)
        .where(of.tenant == tenant, of.name == name)
        .order_by(of.revision)
    )
    return [Revision(number, at, closed, decode(Budget, spec)) for number, at, closed, spec in rows]


def _last_revision(connection: Connection, tenant: str, name: str) -> Revision | None:
    found = _revisions(connection, tenant, name)
    return found[-1] if found else None


def _in_force(revisions: list[Revision], instant: datetime) -> Revision:
    """The revision in force just before ``instant`` ends; the first one counts for what was before it."""
    before = [revision for revision in revisions if revision.recorded_at <= instant]
    return before[-1] if before else revisions[0]

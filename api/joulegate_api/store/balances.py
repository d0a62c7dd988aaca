"""Balances: the one place where they are locked, read for a decision, and written.

Every writer (decision, draw, release, correction, ingest) locks the union of the
rows that it may touch by one statement, ordered by (tenant, budget, period), so
that no two writers wait for each other in a circle. It decides by locked rows only.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    select,
    tuple_,
    update,
)
from sqlalchemy.exc import IntegrityError

from joulegate.core.budgets import Balance, Budget
from joulegate.core.encoding import decode
from joulegate.core.errors import ConflictError
from joulegate.core.periods import Period
from joulegate.core.units import Unit
from joulegate_api.store import versions
from joulegate_api.store.amounts import NOTHING, UNITS, Amounts, total
from joulegate_api.store.bulk import Question, ask, send
from joulegate_api.store.entries import Transaction, Writer
from joulegate_api.store.grants import Grant, Key, expire, given_as_of, grants_of, use, write_grants
from joulegate_api.store.locks import locking
from joulegate_api.store.tables import balances, budget_revisions, hold_claims, holds, postings

_LOW_BITS = 2**32


__all__ = ["Account", "Accounts", "Key", "StaleError"]


class StaleError(Exception):
    """What was planned by is no longer so; nothing was written, plan again, and lock ``wanted`` too."""

    def __init__(self, wanted: Iterable[Key] = ()) -> None:
        """Want no more rows than before, unless told."""
        super().__init__()
        self.wanted = frozenset(wanted)


@dataclass(slots=True)
class Account:
    """A locked balance. ``posted`` and ``pending`` change only by :meth:`post`."""

    key: Key
    end: datetime
    currency: str | None
    base: Amounts
    carried: Amounts
    exceptions: Amounts
    posted: Amounts
    pending: Amounts
    closed_at: datetime | None = None
    grants: list[Grant] = field(default_factory=list)
    changed: bool = False

    def balance(self, unit: Unit) -> Balance:
        """The balance in ``unit`` as the pure rules know it."""
        return Balance(
            unit=unit,
            base=self.base.of(unit),
            carried=self.carried.of(unit) or 0,
            exceptions=self.exceptions.of(unit) or 0,
            posted=self.posted.of(unit) or 0,
            pending=self.pending.of(unit) or 0,
            currency=self.currency if unit is Unit.MICROS else None,
        )

    def available(self, namespace: str | None) -> Amounts:
        """What is neither posted nor held, for work of ``namespace``; None where the unit has no limit.

        An exception serves its own namespace; of another's only what is used already counts.
        """
        others = total(grant.unused for grant in self.grants if grant.namespace != namespace)
        units = zip(self.base, self.carried, self.exceptions, self.posted, self.pending, others, strict=True)
        return Amounts(
            *[
                None if base is None else base + (more or 0) + (extra or 0) - (gone or 0) - (held or 0) - (other or 0)
                for base, more, extra, gone, held, other in units
            ]
        )

    def unused(self, namespace: str) -> Amounts:
        """What the exceptions of ``namespace`` still give."""
        return total(grant.unused for grant in self.grants if grant.namespace == namespace).known()

    def post(self, posted: Amounts, pending: Amounts, *namespaces: str | None) -> None:
        """Add to what is posted and pending for work of ``namespaces``; unknown amounts add nothing."""
        self.posted = self.posted.plus(posted.known())
        self.pending = self.pending.plus(pending.known())
        self.changed = True
        if self.grants:
            use(self.grants, self.beyond(), namespaces)

    def beyond(self) -> Amounts:
        """What is posted and held beyond the limit without exceptions."""
        taken = zip(self.base, self.carried, self.posted, self.pending, strict=True)
        return Amounts(
            *(0 if base is None else max(0, (p or 0) + (h or 0) - base - (c or 0)) for base, c, p, h in taken)
        )

    def counts(self, currency: str | None) -> bool:
        """Whether money of ``currency`` counts here; the first money of an account without a limit names its own."""
        if self.currency is None and currency is not None:
            self.currency, self.changed = currency, True
        return currency is not None and self.currency == currency


class Accounts:
    """Locks and writes the balances of a tenant."""

    def __init__(self, writer: Writer, tenant: str) -> None:
        """Know no row yet."""
        self._writer = writer
        self._tenant = tenant
        self._there: set[Key] = set()
        self._lock = threading.Lock()

    def prepare(self, wanted: Mapping[Key, Period]) -> None:
        """Make the rows that are not there yet, in a transaction of their own: an empty row is no fact."""
        with self._lock:
            missing = [key for key in sorted(wanted) if key not in self._there]
        if not missing:
            return
        with self._writer.transaction() as transaction:
            versions.hold_still(transaction)  # no limit changes between reading it and writing the row
            (there,) = ask(transaction.connection, [locking(transaction, missing)])
            found = {Key(row.budget, row.period_start) for row in there}
            rows = [_new_row(transaction, key, wanted[key]) for key in missing if key not in found]
            for row in rows:
                try:
                    with transaction.savepoint():
                        transaction.connection.execute(insert(balances).values(**row))
                except IntegrityError:
                    continue  # another process was quicker
        with self._lock:
            self._there.update(missing)

    def lock(self, transaction: Transaction, keys: Collection[Key]) -> dict[Key, Account]:
        """Lock the rows until the transaction ends; raises :class:`StaleError` where one has gone."""
        return self.locked(transaction, keys, ask(transaction.connection, self.locking(transaction, keys)))

    @staticmethod
    def locking(transaction: Transaction, keys: Collection[Key]) -> list[Question]:
        """What to ask for :meth:`locked`, together with other questions; nothing where there is nothing to lock."""
        return [locking(transaction, sorted(keys))] if keys else []

    def locked(
        self, transaction: Transaction, keys: Collection[Key], told: Sequence[Sequence[Any]]
    ) -> dict[Key, Account]:
        """The accounts, from the answer to :meth:`locking`; raises :class:`StaleError` where one has gone."""
        found = {account.key: account for rows in told for account in map(_account, rows)}
        if len(found) != len(set(keys)):
            with self._lock:
                self._there.difference_update(keys)
            raise StaleError
        relieved = [account for account in found.values() if account.exceptions != NOTHING]
        if relieved:
            load_grants(transaction, {account.key: account for account in relieved})
            self.write(transaction, relieved)  # what has run out is written whatever the caller goes on to do
        return found

    @staticmethod
    def write(transaction: Transaction, accounts: Iterable[Account]) -> None:
        """Write what changed. The only statement of the program that changes what is posted or pending."""
        rows = [
            {
                "b_tenant": transaction.tenant,
                "b_budget": account.key.budget,
                "b_start": account.key.start,
                "currency": account.currency,
                **account.exceptions.columns("exceptions"),
                **account.carried.columns("carried"),
                **account.posted.columns("posted"),
                **account.pending.columns("pending"),
            }
            for account in accounts
            if account.changed
        ]
        write_grants(transaction, [grant for account in accounts for grant in account.grants])
        if rows:
            send(transaction.connection, _WRITE, rows)
        for account in accounts:
            account.changed = False


_WRITE = update(balances).where(
    balances.c.tenant == bindparam("b_tenant"),
    balances.c.budget == bindparam("b_budget"),
    balances.c.period_start == bindparam("b_start"),
)


def _account(row: Row[Any]) -> Account:
    return Account(
        key=Key(row.budget, row.period_start),
        end=row.period_end,
        currency=row.currency,
        base=Amounts.read(row, "base"),
        carried=Amounts.read(row, "carried"),
        exceptions=Amounts.read(row, "exceptions"),
        posted=Amounts.read(row, "posted"),
        pending=Amounts.read(row, "pending"),
        closed_at=row.closed_at,
    )


def _new_row(transaction: Transaction, key: Key, period: Period) -> dict[str, Any]:
    of = budget_revisions.c
    in_order = (
        select(of.spec).where(of.tenant == transaction.tenant, of.name == key.budget).order_by(of.revision.desc())
    )
    spec = transaction.connection.execute(in_order.where(of.recorded_at <= period.end).limit(1)).scalar_one_or_none()
    if spec is None:  # the period was over before the budget was written: its first form counts
        spec = transaction.connection.execute(in_order.order_by(None).order_by(of.revision).limit(1)).scalar_one()
    limits = decode(Budget, spec).limits
    return {
        "tenant": transaction.tenant,
        "budget": key.budget,
        "period_start": period.start,
        "period_end": period.end,
        "currency": limits.currency,
        **Amounts(limits.energy_mj, limits.carbon_ug, limits.cost_micros).columns("base"),
        **{
            name: amount
            for stem in ("carried", "exceptions", "posted", "pending")
            for name, amount in NOTHING.columns(stem).items()
        },
    }


def set_base(transaction: Transaction, budget: Budget, now: datetime) -> None:
    """Give rows of periods that are not over the limits of ``budget``; :class:`ConflictError` for another currency."""
    of = balances.c
    rows = transaction.connection.execute(
        select(balances)
        .where(of.tenant == transaction.tenant, of.budget == budget.name, of.period_end > now)
        .order_by(of.tenant, of.budget, of.period_start)
        .with_for_update()
    ).all()
    limits = budget.limits
    for row in rows:
        used = row.posted_micros or row.pending_micros
        if limits.currency and row.currency not in (None, limits.currency) and used:
            raise ConflictError(
                f"budget {budget.name} has counted money in {row.currency} since {row.period_start:%Y-%m-%d}; "
                f"it can be in {limits.currency} from the next period on"
            )
        base = Amounts(limits.energy_mj, limits.carbon_ug, limits.cost_micros)
        currency = limits.currency or row.currency
        transaction.connection.execute(
            update(balances)
            .where(of.tenant == transaction.tenant, of.budget == budget.name, of.period_start == row.period_start)
            .values(currency=currency, **base.columns("base"))
        )
        if Amounts.read(row, "exceptions") != NOTHING:
            _use_anew(transaction, replace(_account(row), base=base, currency=currency))


def _use_anew(transaction: Transaction, account: Account) -> None:
    """Exceptions carry what is beyond the new limit; one that ran out keeps what it carried before."""
    load_grants(transaction, {account.key: account})
    account.post(NOTHING, NOTHING, *{grant.namespace for grant in account.grants})
    Accounts.write(transaction, [account])


def is_used(transaction: Transaction, budget: str) -> bool:
    """Whether anything was ever held or posted; where nothing was, the empty rows go, so that they can be cut anew."""
    for table in (hold_claims, postings):
        one = select(table.c.budget).where(table.c.tenant == transaction.tenant, table.c.budget == budget).limit(1)
        if transaction.connection.execute(one).first():
            return True
    transaction.connection.execute(
        delete(balances).where(balances.c.tenant == transaction.tenant, balances.c.budget == budget)
    )
    return False


def unlocked(
    connection: Connection, tenant: str, periods: Mapping[Key, Period], budgets: Mapping[str, Budget], now: datetime
) -> dict[Key, Account]:
    """The accounts as they stand, for a decision that writes nothing; a row that is not there yet is empty."""
    of = balances.c
    rows = connection.execute(
        select(balances).where(of.tenant == tenant, tuple_(of.budget, of.period_start).in_(list(periods)))
    )
    found = {account.key: account for account in map(_account, rows)}
    _relieve(connection, tenant, found.values(), now)
    return {key: found.get(key) or _empty(budgets[key.budget], period) for key, period in periods.items()}


def _relieve(connection: Connection, tenant: str, accounts: Iterable[Account], now: datetime) -> None:
    """Give accounts that are only read their exceptions, as they count at ``now``."""
    relieved = {account.key: account for account in accounts if account.exceptions != NOTHING}
    for grant in grants_of(connection, tenant, relieved) if relieved else ():
        account = relieved[grant.key]
        if grant.is_due(now):
            account.exceptions = account.exceptions.plus(grant.unused.negated())
            grant.granted = grant.used
        account.grants.append(grant)


def _empty(budget: Budget, period: Period) -> Account:
    limits = Amounts(budget.limits.energy_mj, budget.limits.carbon_ug, budget.limits.cost_micros)
    return Account(
        Key(budget.name, period.start), period.end, budget.limits.currency, limits, NOTHING, NOTHING, NOTHING, NOTHING
    )


def standing(
    connection: Connection, tenant: str, budget: Budget, period: Period, now: datetime, as_of: datetime | None
) -> dict[Unit, Balance]:
    """The balances of one period, now or as they stood at ``as_of`` (counted again from claims and postings)."""
    of = balances.c
    row = connection.execute(
        select(balances).where(of.tenant == tenant, of.budget == budget.name, of.period_start == period.start)
    ).one_or_none()
    account = _account(row) if row is not None else _empty(budget, period)
    if as_of is None:
        _relieve(connection, tenant, [account], now)
    else:
        account.base = _empty(budget, period).base
        account.posted, account.pending = counted(connection, tenant, account.key, as_of)
        account.carried = account.carried if _was_carried(connection, tenant, period, budget.name, as_of) else NOTHING
        account.exceptions = given_as_of(connection, tenant, account.key, as_of)
    return {unit: account.balance(unit) for unit in UNITS}


def _was_carried(connection: Connection, tenant: str, period: Period, budget: str, as_of: datetime) -> bool:
    """Whether the period before had been closed by then: only its close carries anything on."""
    of = balances.c
    query = select(of.closed_at).where(of.tenant == tenant, of.budget == budget, of.period_end == period.start)
    closed_at = connection.execute(query).scalar_one_or_none()
    return closed_at is not None and closed_at <= as_of


def counted(connection: Connection, tenant: str, key: Key, as_of: datetime | None = None) -> tuple[Amounts, Amounts]:
    """What claims and postings say is posted and pending; a balance that differs has lost something."""
    claims = (
        select(*_halves(hold_claims.c, "held"))
        .join(holds, (holds.c.tenant == hold_claims.c.tenant) & (holds.c.hold_id == hold_claims.c.hold_id))
        .where(
            hold_claims.c.tenant == tenant, hold_claims.c.budget == key.budget, hold_claims.c.period_start == key.start
        )
    )
    posted = select(*_halves(postings.c, "posted"), *_halves(postings.c, "pending")).where(
        postings.c.tenant == tenant, postings.c.budget == key.budget, postings.c.period_start == key.start
    )
    if as_of is not None:
        claims = claims.where(holds.c.decided_at <= as_of)
        posted = posted.where(postings.c.posted_at <= as_of)
    held = _wholes(connection.execute(claims).one())
    sums = _wholes(connection.execute(posted).one())
    return Amounts(*sums[:3]), Amounts(*held).plus(Amounts(*sums[3:]))


def _halves(of: Any, stem: str) -> list[ColumnElement[int]]:  # noqa: ANN401 - a table's columns
    """A sum in two halves: SQLite overflows where the sum of a column passes 2**63."""
    return [
        func.coalesce(func.sum(of[f"{stem}_{unit}"].op(operator)(literal_column(operand))), 0)
        for unit in UNITS
        for operator, operand in ((">>", "32"), ("&", str(_LOW_BITS - 1)))
    ]


def _wholes(row: Iterable[Any]) -> list[int]:
    halves = [int(half) for half in row]
    return [high * _LOW_BITS + low for high, low in zip(halves[::2], halves[1::2], strict=True)]


def load_grants(transaction: Transaction, accounts: Mapping[Key, Account]) -> None:
    """Give accounts their exceptions; one that has run out keeps only what was used of it."""
    now = transaction.now()
    for grant in grants_of(transaction.connection, transaction.tenant, accounts):
        account = accounts[grant.key]
        account.grants.append(grant)
        if grant.is_due(now):
            given_up = expire(transaction, grant, now)
            account.exceptions = account.exceptions.plus(given_up.negated())
            account.changed = True

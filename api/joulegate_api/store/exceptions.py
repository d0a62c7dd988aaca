"""Exceptions: asked for by one, approved by another, granted on each budget that they relieve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from joulegate.core.binding import Work, in_scope, lineage
from joulegate.core.budgets import Budget
from joulegate.core.errors import ConflictError, InvalidInputError, NotFoundError, NotPermittedError, UnavailableError
from joulegate.core.log import EntryType
from joulegate.core.periods import Period, format_instant
from joulegate.core.records import Kind
from joulegate_api.store.amounts import NOTHING, Amounts
from joulegate_api.store.balances import Account, Accounts, Key, StaleError
from joulegate_api.store.budgets import Budgets
from joulegate_api.store.database import Database
from joulegate_api.store.entries import Transaction, Writer
from joulegate_api.store.grants import Grant, use
from joulegate_api.store.tables import exceptions, grants

ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class BudgetException:
    """More room for one namespace on some budgets, until it expires.

    ``amount`` is in base units; ``currency`` is that of its money. ``approved_by``
    is None until somebody else than ``requested_by`` approved it.
    """

    exception_id: str
    namespace: str
    budgets: tuple[str, ...]
    amount: Amounts
    currency: str | None
    reason: str
    ticket: str | None
    requested_by: str
    expires_at: datetime
    requested_at: datetime | None = None
    approved_by: str | None = None
    approved_at: datetime | None = None


class Exceptions:
    """The exceptions of a tenant."""

    def __init__(self, database: Database, writer: Writer, accounts: Accounts, budgets: Budgets, tenant: str) -> None:
        """Keep the exceptions of one tenant."""
        self._database = database
        self._writer = writer
        self._accounts = accounts
        self._budgets = budgets
        self._tenant = tenant

    def request(self, asked: BudgetException) -> bool:
        """Keep a request; True where it is new. It gives nothing before it is approved.

        Raises :class:`InvalidInputError` where it asks for nothing, has run out or names
        a budget that does not hold its namespace, :class:`ConflictError` where the id is
        known with other content.
        """
        with self._writer.transaction() as transaction:
            now = transaction.now()
            known = _known(transaction.connection, self._tenant, asked.exception_id)
            if known is not None:
                if _content(known) != _content(asked):
                    raise ConflictError(f"exception {asked.exception_id} is known with other content")
                return False
            self._check(transaction.connection, asked, now)
            row = {
                "tenant": self._tenant,
                "exception_id": asked.exception_id,
                "namespace": asked.namespace,
                "budgets": list(asked.budgets),
                **asked.amount.known().columns("amount"),
                "currency": asked.currency,
                "reason": asked.reason,
                "ticket": asked.ticket,
                "requested_by": asked.requested_by,
                "requested_at": now,
                "expires_at": asked.expires_at,
            }
            transaction.connection.execute(insert(exceptions).values(row))
            transaction.log(EntryType.EXCEPTION_REQUESTED, asked.exception_id, now, _told(asked))
        return True

    def approve(self, exception_id: str, approver: str) -> BudgetException:
        """Grant an exception on the running period of each of its budgets; again by the same approver changes nothing.

        Whether ``approver`` has the right on each budget is for the caller to know. Raises
        :class:`NotPermittedError` for the one who asked, :class:`ConflictError` where it has
        run out or another approved it, :class:`NotFoundError`.
        """
        for _ in range(ATTEMPTS):
            with self._database.read() as connection:
                asked = self._find(connection, exception_id)
                periods = self._periods(connection, asked)
            self._accounts.prepare(periods)
            try:
                with self._writer.transaction() as transaction:
                    return self._grant(transaction, exception_id, approver, periods)
            except StaleError:
                continue
        raise UnavailableError("budgets are being changed faster than an exception can be granted; try again")

    def get(self, exception_id: str) -> BudgetException:
        """The exception of this id; raises :class:`NotFoundError`."""
        with self._database.read() as connection:
            return self._find(connection, exception_id)

    def list(self) -> tuple[BudgetException, ...]:
        """Every exception, the newest first."""
        of = exceptions.c
        query = select(exceptions).where(of.tenant == self._tenant).order_by(of.requested_at.desc(), of.exception_id)
        with self._database.read() as connection:
            return tuple(_exception(row) for row in connection.execute(query))

    def _find(self, connection: Connection, exception_id: str) -> BudgetException:
        found = _known(connection, self._tenant, exception_id)
        if found is None:
            raise NotFoundError(f"there is no exception {exception_id}")
        return found

    def _check(self, connection: Connection, asked: BudgetException, now: datetime) -> None:
        if not any(asked.amount.known()):
            raise InvalidInputError("asks for nothing", "spec.amount")
        if asked.expires_at <= now:
            raise InvalidInputError("lies in the past", "spec.expiresAt")
        open_budgets = self._budgets.hierarchy(connection).budgets
        serving = _serving(open_budgets, asked.namespace)
        for name in asked.budgets:
            if name not in open_budgets:
                raise InvalidInputError(f"there is no open budget {name}", "spec.budgets")
            if name not in serving:
                raise InvalidInputError(f"budget {name} does not hold namespace {asked.namespace}", "spec.budgets")
            currency = open_budgets[name].limits.currency
            if asked.amount.micros and currency not in (None, asked.currency):
                raise InvalidInputError(
                    f"budget {name} is in {currency}; nothing is converted", "spec.amount.cost.currency"
                )
        if not asked.budgets:
            raise InvalidInputError("names no budget", "spec.budgets")

    def _periods(self, connection: Connection, asked: BudgetException) -> dict[Key, Period]:
        now = self._database.now(connection)
        found = {}
        for name, budget in self._budgets.ever(connection, asked.budgets).items():
            period = budget.period.period_at(now)
            if period is not None:
                found[Key(name, period.start)] = period
        return found

    def _grant(
        self, transaction: Transaction, exception_id: str, approver: str, periods: Mapping[Key, Period]
    ) -> BudgetException:
        accounts = self._accounts.lock(transaction, periods)
        asked = self._find(transaction.connection, exception_id)
        now = transaction.now()
        if any(not period.holds(now) for period in periods.values()):
            raise StaleError
        if asked.approved_by is not None:
            if asked.approved_by != approver:
                raise ConflictError(f"exception {exception_id} was approved by {asked.approved_by}")
            return asked
        if approver == asked.requested_by:
            raise NotPermittedError("who asks for an exception cannot approve it")
        if asked.expires_at <= now:
            raise ConflictError(f"exception {exception_id} ran out at {format_instant(asked.expires_at)}")
        rows = [self._relieve(asked, account) for account in accounts.values()]
        if rows:
            transaction.connection.execute(insert(grants), rows)
        self._accounts.write(transaction, accounts.values())
        of = exceptions.c
        transaction.connection.execute(
            update(exceptions)
            .where(of.tenant == self._tenant, of.exception_id == exception_id)
            .values(approved_by=approver, approved_at=now)
        )
        keys = [{"budget": key.budget, "period_start": format_instant(key.start)} for key in sorted(periods)]
        body = {
            "exception_id": exception_id,
            "approved_by": approver,
            "granted": keys,
            "amount": asked.amount.written(),
        }
        transaction.log(EntryType.EXCEPTION_APPROVED, exception_id, now, body)
        return self._find(transaction.connection, exception_id)

    def _relieve(self, asked: BudgetException, account: Account) -> dict[str, Any]:
        """Give more room to one account; what is beyond its limit already counts as used."""
        account.exceptions = account.exceptions.plus(asked.amount.known())
        account.changed = True
        amount = asked.amount.known()
        grant = Grant(asked.exception_id, account.key, asked.namespace, amount, NOTHING, asked.expires_at, None)
        use([*account.grants, grant], account.beyond(), (asked.namespace,))
        return {
            "tenant": self._tenant,
            "exception_id": asked.exception_id,
            "budget": account.key.budget,
            "period_start": account.key.start,
            "namespace": asked.namespace,
            **grant.granted.columns("granted"),
            **grant.used.columns("used"),
            "expires_at": asked.expires_at,
        }


def _serving(budgets: Mapping[str, Budget], namespace: str) -> set[str]:
    """Budgets whose scope may hold work of the namespace, and all above them."""
    works = [Work(namespace, kind.value) for kind in Kind]
    inside = [
        name
        for name, budget in budgets.items()
        if budget.scope
        and (budget.scope.namespace_selector or any(in_scope(budget.scope, work) for work in works))
        and (budget.scope.namespaces is None or namespace in budget.scope.namespaces)
    ]
    return {above for name in inside for above in lineage(budgets, name)}


def _known(connection: Connection, tenant: str, exception_id: str) -> BudgetException | None:
    of = exceptions.c
    row = connection.execute(
        select(exceptions).where(of.tenant == tenant, of.exception_id == exception_id)
    ).one_or_none()
    return None if row is None else _exception(row)


def _exception(row: Row[Any]) -> BudgetException:
    return BudgetException(
        exception_id=row.exception_id,
        namespace=row.namespace,
        budgets=tuple(row.budgets),
        amount=Amounts.read(row, "amount"),
        currency=row.currency,
        reason=row.reason,
        ticket=row.ticket,
        requested_by=row.requested_by,
        expires_at=row.expires_at,
        requested_at=row.requested_at,
        approved_by=row.approved_by,
        approved_at=row.approved_at,
    )


def _content(asked: BudgetException) -> tuple[object, ...]:
    fields = (asked.namespace, asked.budgets, asked.amount.known(), asked.currency, asked.reason)
    return (*fields, asked.ticket, asked.requested_by, asked.expires_at)


def _told(asked: BudgetException) -> dict[str, Any]:
    return {
        "namespace": asked.namespace,
        "budgets": list(asked.budgets),
        "amount": asked.amount.written(),
        "currency": asked.currency,
        "reason": asked.reason,
        "ticket": asked.ticket,
        "requested_by": asked.requested_by,
        "expires_at": format_instant(asked.expires_at),
    }

"""How balances are locked: by one statement, in one order, so that no two writers wait for each other in a circle."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from sqlalchemy import ARRAY, ColumnElement, DateTime, Select, String, bindparam, func, select, tuple_

from joulegate_api.store.bulk import Question, is_listed
from joulegate_api.store.columns import padded
from joulegate_api.store.entries import Transaction
from joulegate_api.store.grants import Key
from joulegate_api.store.tables import balances


def locking(transaction: Transaction, keys: Collection[Key]) -> Question:
    """What to ask to get the rows of ``keys``, and to keep them from others until the transaction ends."""
    values: dict[str, Any] = {"tenant": transaction.tenant}
    if not is_listed(transaction.connection.dialect):
        return Question(_LOCK, {**values, "keys": padded(keys)})
    return Question(
        _LOCK_LISTED, {**values, "budgets": [key.budget for key in keys], "starts": [key.start for key in keys]}
    )


_KEY = tuple_(balances.c.budget, balances.c.period_start)


def _lock(chosen: ColumnElement[bool]) -> Select[Any]:
    """Every writer locks in this order."""
    order = (balances.c.tenant, balances.c.budget, balances.c.period_start)
    return select(balances).where(balances.c.tenant == bindparam("tenant"), chosen).order_by(*order).with_for_update()


_LOCK: Final = _lock(_KEY.in_(bindparam("keys", expanding=True)))
_LOCK_LISTED: Final = _lock(
    _KEY.in_(
        select(
            func.unnest(bindparam("budgets", type_=ARRAY(String))),
            func.unnest(bindparam("starts", type_=ARRAY(DateTime(timezone=True)))),
        )
    )
)

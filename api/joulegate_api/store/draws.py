"""Drawing what is posted from the hold of its root."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from joulegate_api.store import claims
from joulegate_api.store.amounts import Amounts
from joulegate_api.store.balances import Account, Key
from joulegate_api.store.claims import OpenClaim
from joulegate_api.store.entries import Transaction
from joulegate_api.store.holds import Held, Root
from joulegate_api.store.unpriced import tell_unpriced


def drawn(
    transaction: Transaction,
    root: Root,
    parts: Sequence[Held],
    amounts: Mapping[Key, Amounts],
    accounts: Mapping[Key, Account],
) -> dict[Key, list[OpenClaim]]:
    """Draw amounts from the claims on the same budgets and periods; the claims are settled and not written yet."""
    opened = {key: own for key, own in claims.claims_of(transaction, parts).items() if key in amounts}
    tell_unpriced(transaction, root, parts, opened, accounts)
    for key, own in opened.items():
        claims.draw(own, amounts[key])
        claims.settle(own)
    return opened

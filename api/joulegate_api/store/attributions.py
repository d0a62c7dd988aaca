"""Energy that came before anybody knew whose it was: drawn from the root's hold as soon as its pod is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, and_, select, update

from joulegate.core.log import EntryType
from joulegate_api.store import claims, holds, postings
from joulegate_api.store.amounts import NOTHING, Amounts
from joulegate_api.store.balances import Account, Key
from joulegate_api.store.claims import OpenClaim
from joulegate_api.store.entries import Transaction
from joulegate_api.store.holds import DEAD, Held, Root
from joulegate_api.store.meter_tables import charges, objects
from joulegate_api.store.postings import Fact
from joulegate_api.store.unpriced import tell_unpriced


def misattributed(connection: Connection, tenant: str, cluster: str) -> dict[Root, list[str]]:
    """Pods whose energy was charged to themselves although they belong to a root, by root."""
    query = (
        select(charges.c.subject, objects.c.root_uid)
        .join(
            objects,
            and_(
                objects.c.tenant == charges.c.tenant,
                objects.c.cluster == charges.c.cluster,
                objects.c.uid == charges.c.subject,
            ),
        )
        .where(charges.c.tenant == tenant, charges.c.cluster == cluster, charges.c.root_uid != objects.c.root_uid)
        .distinct()
    )
    found: dict[Root, list[str]] = {}
    for row in connection.execute(query):
        found.setdefault((cluster, row.root_uid), []).append(row.subject)
    return found


def attribute(
    transaction: Transaction,
    root: Root,
    parts: Sequence[Held],
    accounts: Mapping[Key, Account],
    now: datetime,
    pods: Sequence[str],
) -> None:
    """Draw what these pods were charged from the hold of their root; what is posted stays as it is."""
    living = [part for part in parts if part.state not in DEAD]
    for pod in sorted(pods):
        of = charges.c
        mine = and_(of.tenant == transaction.tenant, of.cluster == root[0], of.subject == pod, of.root_uid != root[1])
        rows = transaction.connection.execute(select(charges).where(mine)).all()
        transaction.connection.execute(update(charges).where(mine).values(root_uid=root[1]))
        opened = claims.claims_of(transaction, living)
        tell_unpriced(transaction, root, living, opened, accounts)
        drawn: dict[Key, list[OpenClaim]] = {}
        for key, own in opened.items():
            amounts = NOTHING
            for row in rows:
                if key.budget in row.budgets and key.start <= row.quarter < accounts[key].end:
                    counts = row.currency is not None and row.currency == accounts[key].currency
                    micros = row.cost_micros if counts else None
                    amounts = amounts.plus(Amounts(row.energy_mj, row.carbon_location_ug, micros))
            claims.draw(own, amounts)
            claims.settle(own)
            drawn[key] = own
        fact = Fact(EntryType.ATTRIBUTED, f"{root[0]}/{pod}", "attributed", now)
        told = postings.post(transaction, accounts, fact, {}, drawn, holds.namespaces_of(parts))
        body = {"cluster": root[0], "root_uid": root[1], "pod_uid": pod, "charges": told}
        transaction.log(EntryType.ATTRIBUTED, fact.id, now, body)

"""What a ledger came to: its entries and holds as the database has them, and its own check."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import text

from joulegate_api.store import Store
from tests.cluster.admitting import Admitting
from tests.simulation.audit import ENTRIES, Audit

DEAD = ("replaced", "expired")


def rows(store: Store, query: str, **values: str) -> list[tuple[Any, ...]]:
    """What a query of one tenant answers."""
    with store._database.read() as connection:
        return [tuple(row) for row in connection.execute(text(query), {"tenant": "default", **values})]


def entries(store: Store, namespace: str) -> list[dict[str, Any]]:
    """The entries about one namespace, oldest first."""
    found = [json.loads(bytes(data)) for (data,) in rows(store, ENTRIES)]
    return [each for each in found if each["body"].get("namespace") == namespace]


def live_holds(store: Store, namespace: str) -> dict[str, list[str]]:
    """The states of the holds of each root that has one."""
    query = "SELECT root_uid, state FROM holds WHERE tenant = :tenant AND namespace = :namespace"
    found: dict[str, list[str]] = {}
    for root, state in rows(store, query, namespace=namespace):
        if state not in DEAD:
            found.setdefault(str(root), []).append(str(state))
    return found


def clean(gate: Admitting) -> None:
    """`joulegate ledger check` finds nothing."""
    command = [str(Path(sys.executable).parent / "joulegate"), "ledger", "check", "--json"]
    checked = subprocess.run(command, env=gate.environment, check=False, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def faults(store: Store, limits: Mapping[str, int]) -> list[str]:
    """Voluntary allowances of these budgets (mJ) of more than was available, weighed by the entries alone."""
    return Audit({name: {"mj": limit} for name, limit in limits.items()}).read(rows(store, ENTRIES)).faults

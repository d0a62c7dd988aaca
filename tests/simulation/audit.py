"""Law 6 and law 7 from the entries alone: every voluntary allowance is weighed again, by code that the store lacks."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

ENTRIES: Final = (
    "SELECT data FROM entries WHERE tenant = :tenant ORDER BY recorded_at, writer_id, writer_epoch, writer_seq"
)
VOLUNTARY: Final = ("admitted", "extended")

Limits = Mapping[str, Mapping[str, int]]
Cell = tuple[str, str]


@dataclass
class Audit:
    """What the entries of a tenant come to. ``limits`` are those of each budget by unit, all its life."""

    limits: Limits
    taken: dict[Cell, Counter[str]] = field(default_factory=dict)
    posted: dict[Cell, Counter[str]] = field(default_factory=dict)
    facts: Counter[tuple[str, str]] = field(default_factory=Counter)
    holds: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def read(self, rows: Iterable[tuple[Any, ...]]) -> Audit:
        for (data,) in rows:
            entry = json.loads(bytes(data))
            self.facts[entry["type"], entry["id"]] += 1
            if entry["type"] == "decision" and entry["body"]["held"]:
                self._weigh(entry["body"])
            for charge in entry["body"].get("charges", ()):
                cell = charge["budget"], charge["period_start"]
                self._add(self.taken, cell, charge["posted"])
                self._add(self.taken, cell, charge["pending"])
                self._add(self.posted, cell, charge["posted"])
        self.faults += [f"{kind} {name} has {n} entries" for (kind, name), n in self.facts.items() if n > 1]
        self.faults += [f"hold {hold} was made {n} times" for hold, n in self.holds.items() if n > 1]
        return self

    def _weigh(self, body: Mapping[str, Any]) -> None:
        self.holds[body["verdict"]["hold"]] += 1
        for claim in body["claims"]:
            cell = claim["budget"], claim["period_start"]
            before = self.taken.setdefault(cell, Counter())
            binds = claim["enforcement"] in ("Deny", "Queue") and body["origin"] in VOLUNTARY
            for unit, limit in self.limits.get(claim["budget"], {}).items():
                asked, available = int(claim["asked"][unit] or 0), limit - before[unit]
                if binds and asked > max(0, available):
                    self.faults.append(f"{body['root_uid']} was given {asked} {unit} of {available} in {cell}")
                if claim["available"][unit] != str(available):
                    told = claim["available"][unit]
                    self.faults.append(f"{body['root_uid']} was told {told} {unit} of {available} in {cell}")
            self._add(self.taken, cell, claim["asked"])

    @staticmethod
    def _add(where: dict[Cell, Counter[str]], cell: Cell, amounts: Mapping[str, str | None]) -> None:
        own = where.setdefault(cell, Counter())
        for unit, amount in amounts.items():
            own[unit] += int(amount or 0)

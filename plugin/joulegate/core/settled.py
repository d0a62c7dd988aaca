"""What was charged, by who measured it: windows of node meters where a device has one, records of runs elsewhere.

Charges of windows follow from the entries of their batches and of their later pricing: energy and time of each
pod, device, quarter-hour and rates are added up, and priced once. Entries may come in any order. A record that was
charged lies where no node meter does, so the two are added; a record that was not charged is a second opinion.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from joulegate.core.charged import RateOf
from joulegate.core.evidence import DeviceBalance
from joulegate.core.footprint import Footprint, Rates
from joulegate.core.metering import Boundary
from joulegate.core.periods import Period, format_instant, parse_instant, quarter_of
from joulegate.core.recomputing import Check
from joulegate.core.tallies import Fact, Slice, Total, totals_of
from joulegate.core.units import Energy, Money

_NO_RATES = Rates(None, None, None, None)
_Key = tuple[str, str, str, str, tuple[str | None, ...]]
"""Cluster, uid of the pod, device, quarter-hour, and the ids of site, location, market and price."""


class Source(StrEnum):
    """Whose figure it is; ``CHARGED`` is the sum of the first two, ``BESIDE`` is in no sum."""

    METERS = "node meters"
    RECORDS = "records"
    CHARGED = "all that was charged"
    BESIDE = "records beside node meters, not charged"


@dataclass(frozen=True, slots=True)
class Cell:
    """What one pod was charged for one device in one quarter-hour by the same rates; a slice like those of records.

    Windows do not tell the model of a device. ``at`` is the newest entry that moved it.
    """

    cluster: str
    pod_uid: str
    namespace: str
    device_uuid: str
    quarter: datetime
    gpu_ns: int
    footprint: Footprint
    rates: Rates
    at: datetime
    gpu_model: str = ""
    missing_ns: int = 0
    boundary: Boundary = Boundary.ACCELERATOR


@dataclass(slots=True)
class Cells:
    """Takes entries of windows of a period, until an instant, and keeps what each cell comes to."""

    period: Period
    until: datetime
    _amounts: dict[_Key, tuple[int, int]] = field(default_factory=dict)
    _at: dict[_Key, datetime] = field(default_factory=dict)
    _namespaces: dict[tuple[str, str], str] = field(default_factory=dict)
    _ids: dict[tuple[str | None, ...], tuple[str | None, ...]] = field(default_factory=dict)
    _words: dict[str, str] = field(default_factory=dict)
    """Each set of rates and each word once: millions of cells say few, and each entry brings its own."""

    def windows(self, at: datetime, body: Mapping[str, Any], rows: Iterable[Mapping[str, Any]]) -> None:
        """Take an entry of a batch with its windows; raises KeyError and the like where it is none."""
        if not self.period.start <= at <= self.until:
            return
        cluster, word = body["cluster"], self._word
        ids = {(each["device_uuid"], each["quarter"]): tuple(each["rates"]) for each in body["priced"]["rates"]}
        for row in rows:
            if row["pod_uid"] is None:
                continue
            quarter = format_instant(quarter_of(parse_instant(row["start"], "start")))
            self._namespaces[cluster, row["pod_uid"]] = row.get("namespace") or ""
            place = (cluster, word(row["pod_uid"]), word(row["device_uuid"]), word(quarter))
            energy_mj = int(row["active_mj"]) + int(row["idle_mj"])
            self._move(at, (*place, ids[place[2:]]), energy_mj, int(row["allocated_gpu_ns"]))

    def repriced(self, at: datetime, body: Mapping[str, Any]) -> None:
        """Take an entry of windows that were priced later, or anew."""
        if not self.period.start <= at <= self.until:
            return
        for row in body["before"]:
            place = (body["cluster"], row["subject"], row["device_uuid"], row["quarter"])
            energy_mj, gpu_ns = int(row["energy_mj"]), int(row["gpu_ns"])
            self._move(at, (*place, tuple(row["rates"])), -energy_mj, -gpu_ns)
            self._move(at, (*place, tuple(row["to"])), energy_mj, gpu_ns)

    def priced(self, rates: RateOf) -> tuple[Cell, ...]:
        """Every cell that holds something; of rates that the log has no more, carbon and money are unknown."""
        return tuple(self._cell(key, rates) for key in sorted(self._amounts, key=_order) if any(self._amounts[key]))

    def _word(self, word: str) -> str:
        return self._words.setdefault(word, word)

    def _move(self, at: datetime, key: _Key, energy_mj: int, gpu_ns: int) -> None:
        if self.period.holds(parse_instant(key[3], "quarter")):
            key = (*key[:4], self._ids.setdefault(key[4], key[4]))
            known = self._amounts.get(key, (0, 0))
            self._amounts[key] = known[0] + energy_mj, known[1] + gpu_ns
            self._at[key] = max(at, self._at.get(key, at))

    def _cell(self, key: _Key, rates: RateOf) -> Cell:
        cluster, pod, device, quarter, ids = key
        energy_mj, gpu_ns = self._amounts[key]
        try:
            by = rates(ids)
        except KeyError:
            by = _NO_RATES
        return Cell(
            cluster=cluster,
            pod_uid=pod,
            namespace=self._namespaces.get((cluster, pod), ""),
            device_uuid=device,
            quarter=parse_instant(quarter, "quarter"),
            gpu_ns=gpu_ns,
            footprint=by.apply(Energy(energy_mj), gpu_ns),
            rates=by,
            at=self._at[key],
        )


def _order(key: _Key) -> tuple[str, ...]:
    return *key[:4], *(each or "" for each in key[4])


def cells_in(cells: Iterable[Cell], namespace: str | None, *, scoped: bool) -> tuple[Cell, ...]:
    """Those of a report: of one namespace or all; none where runs are picked out, because pods are not runs."""
    return () if scoped else tuple(each for each in cells if namespace in (None, each.namespace))


@dataclass(frozen=True, slots=True)
class Settled:
    """What was charged to one name of a group, by one source, at one boundary; None is known of nothing in it.

    In each group every charge has one name (``name`` None: no record tells it), so its rows add up to the whole.
    """

    group: str
    name: str | None
    source: Source
    boundary: Boundary
    slices: int
    gpu_ns: int
    energy_mj: int | None
    carbon_location_ug: int | None
    carbon_location_unknown: int
    carbon_market_ug: int | None
    carbon_market_unknown: int
    costs: tuple[Money, ...]
    cost_unknown: int


WHOLE = "whole"
_OF: Mapping[str, Callable[[Fact], str | None]] = {
    "namespace": lambda fact: fact.record.run.namespace,
    "pipeline": lambda fact: fact.record.run.pipeline,
    "model": lambda fact: fact.record.model,
    "run": lambda fact: fact.record.run.uid,
}


def settled_of(cells: Sequence[Cell], facts: Sequence[Fact]) -> tuple[Settled, ...]:
    """The whole and its parts; nothing where no node meter charged anything: then the records are the whole.

    A pod belongs to a pipeline, model or run where all its records name the same one.
    """
    if not cells:
        return ()
    own = [part for fact in facts if fact.charged for part in fact.slices]
    beside = [part for fact in facts if not fact.charged for part in fact.slices]
    rows = [*_rows(WHOLE, None, Source.METERS, cells), *_rows(WHOLE, None, Source.RECORDS, own)]
    rows += _rows(WHOLE, None, Source.CHARGED, [*cells, *own])
    rows += _rows(WHOLE, None, Source.BESIDE, beside)
    for group, name_of in _OF.items():
        pods = _pods(facts, name_of)
        by: dict[tuple[str | None, Source], list[Slice]] = {}
        for cell in cells:
            name = cell.namespace if group == "namespace" else pods.get((cell.cluster, cell.pod_uid))
            by.setdefault((name, Source.METERS), []).append(cell)
        for fact in facts:
            if fact.charged:
                by.setdefault((name_of(fact), Source.RECORDS), []).extend(fact.slices)
        for name, source in sorted(by, key=lambda each: (each[0] is None, each[0] or "", each[1])):
            rows += _rows(group, name, source, by[name, source])
    return tuple(rows)


def settled_again(rows: Sequence[Settled], balances: Sequence[DeviceBalance]) -> tuple[Check, ...]:
    """The parts of each group against the whole, and the meters' energy against that of pods in the GPUs' balances."""
    if not rows:
        return ()
    differences: list[str] = []
    whole = {(row.source, row.boundary): _known(row) for row in rows if row.group == WHOLE}
    for group in _OF:
        for source, boundary in ((Source.METERS, Boundary.ACCELERATOR), *((Source.RECORDS, each) for each in Boundary)):
            own = [row for row in rows if (row.group, row.source, row.boundary) == (group, source, boundary)]
            found = sum((_known(row) for row in own), Counter[str]())
            if found != whole.get((source, boundary), Counter()):
                differences.append(f"{source}, {boundary}: not the whole by {group}")
    for boundary in Boundary:
        parts = sum(
            (whole.get((each, boundary), Counter()) for each in (Source.METERS, Source.RECORDS)), Counter[str]()
        )
        if parts != whole.get((Source.CHARGED, boundary), Counter()):
            differences.append(f"{boundary}: windows and records are not all that was charged")
    if balances:
        pods_mj = sum(row.active_mj + row.idle_mj for row in balances)
        charged_mj = sum(row.energy_mj or 0 for row in rows if (row.group, row.source) == (WHOLE, Source.METERS))
        if pods_mj != charged_mj:
            differences.append(f"{charged_mj} mJ of windows were charged, and pods had {pods_mj} mJ")
    name = "what was charged, added up by each scope and against each GPU's balance"
    return (Check(name, len(rows), tuple(differences)),)


def _known(row: Settled) -> Counter[str]:
    amounts = {
        "slices": row.slices,
        "gpu_ns": row.gpu_ns,
        "energy_mj": row.energy_mj or 0,
        "carbon_location_ug": row.carbon_location_ug or 0,
        "carbon_market_ug": row.carbon_market_ug or 0,
        "cost_unknown": row.cost_unknown,
    }
    return +Counter(amounts | {f"cost {cost.currency}": cost.micros for cost in row.costs})


def _rows(group: str, name: str | None, source: Source, slices: Iterable[Slice]) -> Iterator[Settled]:
    for total in totals_of(slices):
        yield _row(group, name, source, total)


def _row(group: str, name: str | None, source: Source, total: Total) -> Settled:
    return Settled(
        group=group,
        name=name,
        source=source,
        boundary=total.boundary,
        slices=total.slices,
        gpu_ns=total.gpu_ns,
        energy_mj=total.energy_mj,
        carbon_location_ug=total.carbon_location_ug,
        carbon_location_unknown=total.carbon_location_unknown,
        carbon_market_ug=total.carbon_market_ug,
        carbon_market_unknown=total.carbon_market_unknown,
        costs=total.costs,
        cost_unknown=total.cost_unknown,
    )


def _pods(facts: Iterable[Fact], name_of: Callable[[Fact], str | None]) -> Mapping[tuple[str, str], str | None]:
    names: dict[tuple[str, str], set[str | None]] = {}
    for fact in facts:
        if fact.record.run.pod_uid is not None:
            names.setdefault((fact.record.run.cluster, fact.record.run.pod_uid), set()).add(name_of(fact))
    return {pod: found.pop() if len(found) == 1 else None for pod, found in names.items()}

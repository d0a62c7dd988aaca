"""What was charged, by who measured it: windows of node meters where a device has one, records of runs elsewhere.

Charges of windows follow from the entries of their batches and of their later pricing: energy and time of each
pod, device, quarter-hour and rates are added up, and priced once. Entries may come in any order. A record that was
charged lies where no node meter does, so the two are added; a record that was not charged is a second opinion.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from joulegate.core.charged import RateOf
from joulegate.core.evidence import DeviceBalance
from joulegate.core.footprint import Footprint, Rates
from joulegate.core.metering import Boundary
from joulegate.core.periods import Period, format_instant, parse_instant, quarter_of
from joulegate.core.recomputing import Check
from joulegate.core.tallies import Adding, Fact, Total
from joulegate.core.units import Energy, Money

_NO_RATES = Rates(None, None, None, None)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_US_PER_S: Final = 1_000_000
_Place = tuple[str, str, str, tuple[str | None, ...]]
"""Cluster, uid of the pod, device, and the ids of site, location, market and price."""


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
    """Takes entries of windows of a period, until an instant, and keeps what each cell comes to.

    A year of a fleet has millions of windows, so each is four numbers in a column of what it is charged to.
    """

    period: Period
    until: datetime
    _moves: dict[_Place, array[int]] = field(default_factory=dict)
    """Quarter-hour in s, energy in mJ, time in ns and instant of the entry in us, one after the other."""
    _namespaces: dict[tuple[str, str], str] = field(default_factory=dict)
    _quarters: dict[str, int] = field(default_factory=dict)

    def windows(self, at: datetime, body: Mapping[str, Any], rows: Iterable[Mapping[str, Any]]) -> None:
        """Take an entry of a batch with its windows; raises KeyError and the like where it is none."""
        if not self.period.start <= at <= self.until:
            return
        cluster, at_us = body["cluster"], _us(at)
        ids = {(each["device_uuid"], each["quarter"]): tuple(each["rates"]) for each in body["priced"]["rates"]}
        for row in rows:
            if row["pod_uid"] is None:
                continue
            quarter = format_instant(quarter_of(parse_instant(row["start"], "start")))
            self._namespaces[cluster, row["pod_uid"]] = row.get("namespace") or ""
            place = (cluster, row["pod_uid"], row["device_uuid"], ids[row["device_uuid"], quarter])
            energy_mj = int(row["active_mj"]) + int(row["idle_mj"])
            self._move(at_us, place, quarter, energy_mj, int(row["allocated_gpu_ns"]))

    def repriced(self, at: datetime, body: Mapping[str, Any]) -> None:
        """Take an entry of windows that were priced later, or anew."""
        if not self.period.start <= at <= self.until:
            return
        at_us = _us(at)
        for row in body["before"]:
            place = (body["cluster"], row["subject"], row["device_uuid"])
            energy_mj, gpu_ns = int(row["energy_mj"]), int(row["gpu_ns"])
            self._move(at_us, (*place, tuple(row["rates"])), row["quarter"], -energy_mj, -gpu_ns)
            self._move(at_us, (*place, tuple(row["to"])), row["quarter"], energy_mj, gpu_ns)

    def priced(self, rates: RateOf) -> Iterator[Cell]:
        """Every cell that holds something; of rates that the log has no more, carbon and money are unknown."""
        for place in sorted(self._moves, key=_order):
            try:
                by = rates(place[3])
            except KeyError:
                by = _NO_RATES
            yield from self._cells(place, by)

    def _move(self, at_us: int, place: _Place, quarter: str, energy_mj: int, gpu_ns: int) -> None:
        begin_s = self._quarters.get(quarter)
        if begin_s is None:
            begin_s = self._quarters[quarter] = _us(parse_instant(quarter, "quarter")) // _US_PER_S
        if _us(self.period.start) <= begin_s * _US_PER_S < _us(self.period.end):
            self._moves.setdefault(place, array("q")).extend((begin_s, energy_mj, gpu_ns, at_us))

    def _cells(self, place: _Place, by: Rates) -> Iterator[Cell]:
        cluster, pod, device, _ = place
        sums: dict[int, tuple[int, int, int]] = {}
        moves = iter(self._moves[place])
        for begin_s, energy_mj, gpu_ns, at_us in zip(moves, moves, moves, moves, strict=True):
            known = sums.get(begin_s, (0, 0, at_us))
            sums[begin_s] = known[0] + energy_mj, known[1] + gpu_ns, max(known[2], at_us)
        for begin_s, (energy_mj, gpu_ns, at_us) in sorted(sums.items()):
            if energy_mj or gpu_ns:
                yield Cell(
                    cluster=cluster,
                    pod_uid=pod,
                    namespace=self._namespaces.get((cluster, pod), ""),
                    device_uuid=device,
                    quarter=_EPOCH + timedelta(seconds=begin_s),
                    gpu_ns=gpu_ns,
                    footprint=by.apply(Energy(energy_mj), gpu_ns),
                    rates=by,
                    at=_EPOCH + timedelta(microseconds=at_us),
                )


def _us(instant: datetime) -> int:
    return (instant - _EPOCH) // _MICROSECOND


def _order(place: _Place) -> tuple[str, ...]:
    return *place[:3], *(each or "" for each in place[3])


@dataclass(slots=True)
class Charges:
    """What cells of a report come to, by pod; taken one at a time, and none is kept.

    Of one namespace or all; of none where runs are picked out, because pods are not runs.
    """

    namespace: str | None = None
    scoped: bool = False
    newest: datetime | None = None
    """The newest entry that moved one of them."""
    pods: dict[tuple[str, str, str], Adding] = field(default_factory=dict)
    """By cluster, namespace and uid."""

    def add(self, cells: Iterable[Cell]) -> Charges:
        """Take cells; returns itself."""
        for cell in cells if not self.scoped else ():
            if self.namespace in (None, cell.namespace):
                self.newest = cell.at if self.newest is None else max(self.newest, cell.at)
                self.pods.setdefault((cell.cluster, cell.namespace, cell.pod_uid), Adding()).add((cell,))
        return self


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
_GROUPS: Final = (WHOLE, *_OF)


def settled_of(charges: Charges, facts: Sequence[Fact]) -> tuple[Settled, ...]:
    """The whole and its parts; nothing where no node meter charged anything: then the records are the whole.

    A pod belongs to a pipeline, model or run where all its records name the same one.
    """
    if not charges.pods:
        return ()
    by: dict[tuple[str, str | None, Source], Adding] = {}

    def to(group: str, name: str | None, source: Source) -> Adding:
        return by.setdefault((group, name, source), Adding())

    for adding in charges.pods.values():
        to(WHOLE, None, Source.METERS).merge(adding)
        to(WHOLE, None, Source.CHARGED).merge(adding)
    for fact in facts:
        for source in (Source.RECORDS, Source.CHARGED) if fact.charged else (Source.BESIDE,):
            to(WHOLE, None, source).add(fact.slices)
    for group, name_of in _OF.items():
        pods = _pods(facts, name_of)
        for (cluster, namespace, pod), adding in charges.pods.items():
            name = namespace if group == "namespace" else pods.get((cluster, pod))
            to(group, name, Source.METERS).merge(adding)
        for fact in facts:
            if fact.charged:
                to(group, name_of(fact), Source.RECORDS).add(fact.slices)
    places = sorted(by, key=lambda each: (_GROUPS.index(each[0]), each[1] is None, each[1] or "", _rank(each)))
    return tuple(_row(*place, total) for place in places for total in by[place].totals())


def _rank(place: tuple[str, str | None, Source]) -> tuple[int, str]:
    """The whole by what it is a sum of, its parts by the letters of the source, as ever."""
    return (list(Source).index(place[2]), "") if place[0] == WHOLE else (0, place[2])


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

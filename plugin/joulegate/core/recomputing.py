"""Figures of a report computed a second time: what does not come out is named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from joulegate.core.encoding import encode
from joulegate.core.evidence import DeviceBalance
from joulegate.core.metering import Boundary
from joulegate.core.periods import format_instant, quarter_of
from joulegate.core.tallies import DeviceRow, Fact, RunRow, Slice, Total, intervals_in


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was computed a second time: over how many items, and what did not come out."""

    name: str
    items: int
    differences: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether everything came out to the last unit."""
        return not self.differences


def checked(
    facts: Sequence[Fact],
    totals: Sequence[Total],
    runs: Sequence[RunRow],
    devices: Sequence[DeviceRow],
    balances: Sequence[DeviceBalance],
) -> tuple[Check, ...]:
    """Every check of what records and readings tell."""
    again = totals_again(totals, runs, devices)
    return priced_again(facts), intervals_again(facts), again, balances_again(balances)


def balances_again(balances: Sequence[DeviceBalance]) -> Check:
    """No more went to pods and to nobody than the counter of the device moved."""
    differences = [
        f"{row.uuid}: {-row.unattributed_mj} mJ more were shared out than the counter moved"
        for row in balances
        if row.unattributed_mj < 0
    ]
    return Check("each GPU's energy balance: counter = pods + unheld + unattributed", len(balances), tuple(differences))


def priced_again(facts: Sequence[Fact]) -> Check:
    """Each slice from its own energy, time and rates."""
    differences = [
        f"{_place(fact, part)}: posted as {encode(part.footprint)}"
        for fact in facts
        for part in fact.slices
        if part.rates.apply(part.footprint.energy, part.gpu_ns) != part.footprint
    ]
    items = sum(len(fact.slices) for fact in facts)
    return Check("each slice priced again from its energy, time and rates", items, tuple(differences))


def _place(fact: Fact, part: Slice) -> str:
    return f"{fact.record.record_id}, {part.device_uuid}, {format_instant(part.quarter)}"


def intervals_again(facts: Sequence[Fact]) -> Check:
    """Each slice's energy from the intervals that the sender reported."""
    differences: list[str] = []
    items = 0
    for fact in facts:
        reported: dict[tuple[str, Boundary, datetime], int] = {}
        for uuid, interval in intervals_in(fact):
            items += 1
            if interval.energy is not None:
                key = (uuid, interval.boundary, quarter_of(interval.start))
                reported[key] = reported.get(key, 0) + interval.energy.mj
        for part in fact.slices:
            kept = part.footprint.energy.mj if part.footprint.energy else None
            sent = reported.get((part.device_uuid, part.boundary, part.quarter))
            if kept != sent:
                differences.append(f"{_place(fact, part)}: {kept} mJ kept, {sent} mJ reported")
    return Check("each slice's energy added up again from the record's intervals", items, tuple(differences))


def totals_again(totals: Sequence[Total], runs: Sequence[RunRow], devices: Sequence[DeviceRow]) -> Check:
    """Each total by runs and by devices."""
    differences = []
    for total in totals:
        for what, rows in (("runs", runs), ("devices", devices)):
            again = _sum_of(part for row in rows for part in row.totals if part.boundary is total.boundary)
            if again != _amounts(total):
                differences.append(f"{total.boundary.value}: {_amounts(total)} in total, {again} by {what}")
    return Check("each total added up again by runs and by devices", len(totals), tuple(differences))


def _amounts(total: Total) -> Mapping[str, int]:
    amounts = {
        "energy_mj": total.energy_mj,
        "carbon_location_ug": total.carbon_location_ug,
        "carbon_market_ug": total.carbon_market_ug,
        "gpu_ns": total.gpu_ns,
        "missing_ns": total.missing_ns,
    }
    return {name: value or 0 for name, value in amounts.items()} | {
        f"cost {cost.currency}": cost.micros for cost in total.costs
    }


def _sum_of(parts: Iterable[Total]) -> Mapping[str, int]:
    whole: Counter[str] = Counter(dict.fromkeys(_EVERY_AMOUNT, 0))
    for part in parts:
        whole.update(_amounts(part))
    return dict(whole)


_EVERY_AMOUNT: Final = ("energy_mj", "carbon_location_ug", "carbon_market_ug", "gpu_ns", "missing_ns")

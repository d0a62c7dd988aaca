"""The tables of a report in which node meters speak: what was charged by whose figure, and what runs say beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from joulegate.core import display
from joulegate.core.audit import AuditReport
from joulegate.core.metering import Boundary
from joulegate.core.settled import WHOLE, Settled, Source
from joulegate.core.tallies import Total
from joulegate.core.units import Money
from joulegate_api.reports.carbon import Table

_TEXT, _COUNT, _ENERGY, _INSTANT = "text", "count", "mJ", "instant"
_CARBON, _TIME = "ug", "ns"


def money(costs: Sequence[Money]) -> str:
    """Money of each currency, for people and exactly; currencies are never added."""
    if not costs:
        return display.NOT_PRICED
    return "; ".join(f"{display.money(cost.micros, cost.currency)} ({cost.micros} micros)" for cost in costs)


def headline(report: AuditReport) -> Settled | Total | None:
    """The figure that stands first: all that was charged at the accelerators, else what records say."""
    rows: list[Settled | Total] = [row for row in report.settled if (row.group, row.source) == (WHOLE, Source.CHARGED)]
    return next((row for row in (*rows, *report.totals) if row.boundary is Boundary.ACCELERATOR), None)


def charged(report: AuditReport) -> Iterator[Table]:
    """What the ledger posted, whole and by scope; nothing where no node meter charged anything."""
    if not report.settled:
        return
    columns = (
        ("by", _TEXT, ""),
        ("name", _TEXT, "no record tells it"),
        ("measured by", _TEXT, ""),
        ("boundary", _TEXT, ""),
        ("energy", _ENERGY, "not measured"),
        ("carbon, location-based", _CARBON, "not priced"),
        ("carbon, market-based", _CARBON, "no contract"),
        ("cost", _TEXT, ""),
        ("device time", _TIME, ""),
        ("quarter-hours without carbon", _COUNT, ""),
        ("without cost", _COUNT, ""),
    )
    rows = tuple(
        (
            row.group,
            "all" if row.group == WHOLE else row.name,
            row.source.value,
            row.boundary.value,
            row.energy_mj,
            row.carbon_location_ug,
            row.carbon_market_ug,
            money(row.costs),
            row.gpu_ns,
            row.carbon_location_unknown,
            row.cost_unknown,
        )
        for row in report.settled
    )
    lead = (
        "Where a node meter runs, its windows charge; elsewhere records of runs do. The parts of each scope add up to"
        " the whole. Records beside node meters are a second opinion and in no sum. What no pod held, and what is"
        " unattributed, is charged to nobody: it stands in the energy balance of each GPU. Tables of totals, runs and"
        " devices are of records."
    )
    yield Table("charged", "Charged", lead, columns, rows)


def tables(report: AuditReport) -> Iterator[Table]:
    """Nothing where no node meter saw a pod of a run that is reported."""
    if not report.opinions:
        return
    columns = (
        ("record", _TEXT, ""),
        ("said by the run", _ENERGY, "not measured"),
        ("said by the node meter", _ENERGY, ""),
        ("run less meter", _ENERGY, "not measured"),
        ("run less meter, mJ", _TEXT, "not measured"),
        ("windows", _COUNT, ""),
        ("windows from", _INSTANT, ""),
        ("windows to", _INSTANT, ""),
        ("charged by", _TEXT, ""),
    )
    rows = tuple(
        (
            row.record_id,
            row.reported_mj,
            row.metered_mj,
            row.difference_mj,
            None if row.difference_mj is None else str(row.difference_mj),
            row.windows,
            row.start,
            row.end,
            "the record" if row.charged else "the node meter",
        )
        for row in report.opinions
    )
    lead = (
        "The same energy twice: by the run itself, and by the windows of its pod. They are never added. Windows are cut"
        " at quarter-hours, so they may begin before the run and end after it; where a node meter runs, it charges."
    )
    yield Table("opinions", "Runs beside node meters", lead, columns, rows)

"""Runs as rows of the FinOps Open Cost and Usage Specification, FOCUS 1.2: CSV, with energy and carbon as own columns.

Costs are internal charges that were computed here; nobody invoiced them, so ``BilledCost`` is zero and the charge is in
``ListCost``, ``ContractedCost`` and ``EffectiveCost``. FOCUS has no column for energy: those with ``x_`` are ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from joulegate.core.audit import AuditReport
from joulegate.core.cells import csv_text
from joulegate.core.periods import format_instant
from joulegate.core.tallies import RunRow, Total
from joulegate.core.units import Money
from joulegate_api.reports.measures import grams, hours, kwh, units_of, written

MEDIA_TYPE: Final = "text/csv; charset=utf-8; header=present"
COLUMNS: Final = (
    "BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd", "BillingPeriodStart",
    "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargePeriodEnd", "ChargePeriodStart", "ContractedCost",
    "EffectiveCost", "InvoiceIssuerName", "ListCost", "PricingQuantity", "PricingUnit", "ProviderName", "PublisherName",
    "ResourceId", "ServiceCategory", "ServiceName", "SubAccountId", "x_Boundary", "x_EnergyKwh", "x_CarbonLocationG",
    "x_CarbonMarketG", "x_Coverage", "x_Method", "x_Outcome", "x_RecordId",
)  # fmt: skip


def render(report: AuditReport) -> bytes:
    """The bytes of the table: a row for each run, boundary and currency; what was not priced has no cost, not zero."""
    rows = (row for run in report.runs for total in run.totals for row in _rows(report, run, total))
    return csv_text(COLUMNS, rows).encode()


def _rows(report: AuditReport, run: RunRow, total: Total) -> Iterator[list[object]]:
    first, *more = total.costs or (None,)
    yield _row(report, run, total, first)
    for cost in more:
        yield _row(report, run, None, cost)


def _row(report: AuditReport, run: RunRow, total: Total | None, cost: Money | None) -> list[object]:
    period = report.query.period
    charge = None if cost is None else written(units_of(cost.micros))
    cells: dict[str, object] = {
        "BilledCost": None if cost is None else "0",
        "BillingAccountId": report.query.of,
        "BillingAccountName": report.query.of,
        "BillingCurrency": None if cost is None else cost.currency,
        "BillingPeriodStart": format_instant(period.start),
        "BillingPeriodEnd": format_instant(period.end),
        "ChargeCategory": "Usage",
        "ChargeDescription": f"{run.kind} {run.step or run.pipeline or run.run_uid}",
        "ChargePeriodStart": format_instant(max(run.started_at, period.start)),
        "ChargePeriodEnd": format_instant(min(run.ended_at, period.end)),
        **dict.fromkeys(("ContractedCost", "EffectiveCost", "ListCost"), charge),
        "InvoiceIssuerName": "none: internal charge",
        "ProviderName": run.site or run.cluster,
        "PublisherName": report.software,
        "ResourceId": run.run_uid,
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": "GPU time and energy",
        "SubAccountId": run.namespace,
        "x_Coverage": f"{run.coverage_ppm / 1_000_000:.6f}",
        "x_Method": " ".join(dict.fromkeys([*(method.value for method in run.methods), run.source])),
        "x_Outcome": run.outcome,
        "x_RecordId": run.record_id,
    }
    if total is not None:
        cells |= {
            "PricingQuantity": written(hours(total.gpu_ns)),
            "PricingUnit": "Hours",
            "x_Boundary": total.boundary.value,
            "x_EnergyKwh": None if total.energy_mj is None else written(kwh(total.energy_mj)),
            "x_CarbonLocationG": _grams(total.carbon_location_ug),
            "x_CarbonMarketG": _grams(total.carbon_market_ug),
        }
    return [cells.get(name) for name in COLUMNS]


def _grams(ug: int | None) -> str | None:
    return None if ug is None else written(grams(ug))

"""What stands beside every figure, in short words, for formats that have no tables of their own for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from joulegate.core.audit import AuditReport
from joulegate.core.settled import WHOLE
from joulegate_api.reports.measures import hours, written
from joulegate_api.reports.metered import money
from joulegate_api.reports.sections import coverage, uncertainty


def disclosed(report: AuditReport) -> Mapping[str, str]:
    """Boundary, method, coverage and the rest by name, GPU time in hours; whole tables are in the other formats."""
    tree = report.tree
    return {
        "boundary": ", ".join(total.boundary.value for total in report.totals) or "nothing ran",
        "method": ", ".join(report.methods) or "nothing ran",
        "coverage": coverage(report),
        "uncertainty": uncertainty(report),
        "measured and estimated": _each(f"{row.tier.value} {row.energy_mj} mJ" for row in report.shares),
        "charged": _each(
            f"{row.source}, {row.boundary}: {row.energy_mj} mJ, {row.carbon_location_ug} ug location-based,"
            f" {row.carbon_market_ug} ug market-based, {money(row.costs)}"
            for row in report.settled
            if row.group == WHOLE
        ),
        "energy balance of each GPU": _each(
            f"{row.uuid}: counter {row.counter_mj} mJ, active {row.active_mj}, idle {row.idle_mj},"
            f" no pod {row.unheld_mj}, unattributed {row.unattributed_mj}"
            for row in report.balances
        ),
        "GPU-hours": _each(
            f"{row.basis}: expected {written(hours(row.expected_ns))}, measured {written(hours(row.measured_ns))},"
            f" estimated {written(hours(row.estimated_ns))}, missing {written(hours(row.missing_ns))}"
            for row in report.hours
        ),
        "corrections, estimates and exceptions": _each(
            f"{row.kind} {row.about} {row.reason}".strip() for row in report.events
        ),
        "decisions": _each(f"{row.count} {row.outcome} {row.reason}" for row in report.decisions),
        "factors and prices": _each(
            f"{row.kind} {row.what}: {row.quantity}; {row.reference.publisher}, {row.reference.dataset}"
            f" {row.reference.version}, {row.reference.licence}"
            for row in report.rates
        ),
        "every total recomputes": "yes, to the last unit" if report.recomputed else "NO",
        "digest": report.digest,
        "tree size": str(tree.size) if tree else "not signed",
        "tree root": tree.root if tree else "not signed",
    }


def _each(parts: Iterable[str]) -> str:
    return "; ".join(parts) or "none"

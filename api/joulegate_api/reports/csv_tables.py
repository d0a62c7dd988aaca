"""A report as CSV: one row a run and boundary, ready to be added up by anybody.

Quantities are whole base units. A cell that a spreadsheet would run as a formula
is text (:mod:`joulegate.core.cells`). Sums over the rows are the report's totals.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from joulegate.core.audit import AuditReport
from joulegate.core.cells import csv_text
from joulegate.core.periods import format_instant
from joulegate.core.tallies import RunRow, Total
from joulegate.core.units import Money

MEDIA_TYPE: Final = "text/csv; charset=utf-8; header=present"

COLUMNS: Final = (
    "record_id",
    "run_uid",
    "pipeline",
    "step",
    "cluster",
    "namespace",
    "site",
    "kind",
    "model",
    "variant",
    "outcome",
    "source",
    "started_at",
    "ended_at",
    "boundary",
    "methods",
    "coverage",
    "gpu_ns",
    "not_measured_ns",
    "energy_mj",
    "energy_lower_mj",
    "energy_upper_mj",
    "carbon_location_ug",
    "carbon_market_ug",
    "cost_micros",
    "currency",
    "unpriced_carbon_slices",
    "unpriced_cost_slices",
    "self_reported",
    "charged",
    "budgets",
    "flags",
    "software",
)


def render(report: AuditReport) -> bytes:
    """The bytes of the table; a run paid for in two currencies has two rows, the second with its money only."""
    return csv_text(COLUMNS, rows_of(report)).encode()


def rows_of(report: AuditReport) -> Iterator[list[object]]:
    """The rows of the table; None is an empty cell."""
    return (row for run in report.runs for row in _rows(run))


def _rows(run: RunRow) -> Iterator[list[object]]:
    for total in run.totals:
        first, *more = total.costs or (None,)
        yield _row(run, total, first)
        for cost in more:
            yield _row(run, None, cost, total.boundary.value)


def _row(run: RunRow, total: Total | None, cost: Money | None, boundary: str = "") -> list[object]:
    has_interval = run.interval if total is not None and total.boundary.value == "accelerator" else None
    cells: dict[str, object] = {
        name: getattr(run, name)
        for name in COLUMNS
        if name in RunRow.__slots__ and name not in ("methods", "budgets", "flags", "started_at", "ended_at")
    }
    cells |= {
        "started_at": format_instant(run.started_at),
        "ended_at": format_instant(run.ended_at),
        "boundary": total.boundary.value if total is not None else boundary,
        "methods": " ".join(run.methods),
        "coverage": f"{run.coverage_ppm / 1_000_000:.6f}",
        "energy_lower_mj": has_interval.lower_mj if has_interval else None,
        "energy_upper_mj": has_interval.upper_mj if has_interval else None,
        "cost_micros": cost.micros if cost is not None else None,
        "currency": cost.currency if cost is not None else None,
        "budgets": " ".join(run.budgets),
        "flags": " ".join(run.flags),
    }
    if total is not None:
        cells |= {
            "gpu_ns": total.gpu_ns,
            "not_measured_ns": total.missing_ns,
            "energy_mj": total.energy_mj,
            "carbon_location_ug": total.carbon_location_ug,
            "carbon_market_ug": total.carbon_market_ug,
            "unpriced_carbon_slices": total.carbon_location_unknown,
            "unpriced_cost_slices": total.cost_unknown,
        }
    return [cells.get(name) for name in COLUMNS]

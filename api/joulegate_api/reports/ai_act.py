"""Rows for the technical documentation of Annex XI, section 1, point 2 (d) and (e), of Regulation (EU) 2024/1689: CSV.

Training time in days and hardware-days, energy in MWh to at least two significant digits, as the Model Documentation
Form of 10 July 2025 asks for them. Data for rows of that form, and no statement about the Regulation. Computation in
FLOP is not measured here, and says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from joulegate.core.audit import AuditReport
from joulegate.core.cells import csv_text
from joulegate_api.reports.by_model import Use, uses_of
from joulegate_api.reports.disclosure import disclosed
from joulegate_api.reports.measures import days, mwh, significant
from joulegate_api.reports.sections import STATEMENT

MEDIA_TYPE: Final = "text/csv; charset=utf-8; header=present"
COLUMNS: Final = ("model", "point", "item", "value", "unit", "known", "methodology")
_TRAINING: Final = ("training", "fine-tuning")


def render(report: AuditReport) -> bytes:
    """The bytes of the table; its first row says what it is."""
    rows: list[tuple[object, ...]] = [("", "", "statement", STATEMENT, "", "", f"digest {report.digest}")]
    rows += [("", "", f"report: {name}", value, "", "", "") for name, value in disclosed(report).items()]
    for use in uses_of(report):
        if use.kind in _TRAINING:
            rows += _rows(use)
    return csv_text(COLUMNS, rows).encode()


def _rows(use: Use) -> Iterator[tuple[object, ...]]:
    kind, how = use.kind, use.how
    energy = "not known" if use.energy_mj is None else significant(mwh(use.energy_mj), 3)
    yield use.model, "XI.1.2(d)", f"{kind}: computation", "not measured", "FLOP", "", ""
    yield (
        use.model,
        "XI.1.2(d)",
        f"{kind}: time, runs added up",
        significant(days(use.wall_ns), 3),
        "days",
        "measured",
        "",
    )
    yield (
        use.model,
        "XI.1.2(d)",
        f"{kind}: hardware time",
        significant(days(use.gpu_ns), 3),
        "hardware-days",
        "measured",
        "",
    )
    method = (
        f"{use.caveats}; neither host nor cooling is included; from {use.began.isoformat()} to {use.ended.isoformat()}"
    )
    yield use.model, "XI.1.2(e)", f"{kind}: energy", energy, "MWh", how, method

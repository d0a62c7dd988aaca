"""The table of a report in which runs and node meters speak of the same energy."""

from __future__ import annotations

from collections.abc import Iterator

from joulegate.core.audit import AuditReport
from joulegate_api.reports.carbon import Table

_TEXT, _COUNT, _ENERGY, _INSTANT = "text", "count", "mJ", "instant"


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

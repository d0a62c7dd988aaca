"""A report as one HTML file: no scripts, nothing fetched, the style named by its hash in a strict policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from fractions import Fraction
from typing import Any, Final

from joulegate.core import display
from joulegate.core.audit import AuditReport
from joulegate.core.charts import Bar, bars
from joulegate.core.metering import Boundary
from joulegate.core.tallies import RunRow, Tier, Total
from joulegate_api.reports.metered import headline
from joulegate_api.reports.sections import Column, Kind, Section, Value, sections
from joulegate_api.web import render as page
from joulegate_api.web import style_hash, stylesheet, svg

MEDIA_TYPE: Final = "text/html; charset=utf-8"
_MOST_BARS: Final = 12
_DRAWN: Final = {"totals", "shares", "runs", "devices", "rates", "unpriced", "decisions", "checks"}
"""Sections that the page draws in a form of its own; the others are tables like those of the PDF."""

_NUMBERS: Final = (Kind.COUNT, Kind.ENERGY, Kind.CARBON, Kind.TIME)


def render(report: AuditReport) -> bytes:
    """The bytes of the page."""
    style = stylesheet()
    policy = f"default-src 'none'; style-src {style_hash(style)}; base-uri 'none'; form-action 'none'"
    return page(
        "report.html",
        report=report,
        policy=policy,
        style=svg(style),
        main=headline(report),
        others=[total for total in report.totals if total.boundary is not Boundary.ACCELERATOR],
        shares=_shares(report),
        picture=svg(_picture(report)) if report.runs else None,
        at_accelerators=_at_accelerators,
        more=[_table(section) for section in sections(report) if section.name not in _DRAWN],
        name_of=name_of,
    ).encode()


def _table(section: Section) -> dict[str, Any]:
    """A table with each value for people, and exactly beneath where that says more."""
    return {
        "name": section.name,
        "title": section.title,
        "lead": section.lead,
        "empty": section.empty,
        "columns": [(column.name, column.kind in _NUMBERS) for column in section.columns],
        "rows": [
            [_cell(column, value) for column, value in zip(section.columns, row, strict=True)] for row in section.rows
        ],
    }


def _cell(column: Column, value: Value) -> tuple[str, str | None, bool]:
    """What stands in a cell, the exact value beneath, and whether it is a number."""
    if value is None:
        return column.missing or "-", None, False
    if isinstance(value, int):
        draw = _DRAW.get(column.kind)
        exact = f"{value} {column.kind.value}" if column.kind in (Kind.ENERGY, Kind.CARBON) else None
        return draw(value) if draw else str(value), exact, True
    return display.moment(value) if isinstance(value, datetime) else value, None, False


_DRAW: Final[Mapping[Kind, Callable[[int], str]]] = {
    Kind.ENERGY: display.energy,
    Kind.CARBON: display.carbon,
    Kind.TIME: display.duration,
}


def name_of(run: RunRow) -> str:
    """How a run is called for people."""
    name = run.step or run.pipeline or run.run_uid
    return f"{name} ({run.variant})" if run.variant and run.variant not in name else name


def _at_accelerators(totals: tuple[Total, ...]) -> Total | None:
    return next((total for total in totals if total.boundary is Boundary.ACCELERATOR), None)


def _shares(report: AuditReport) -> list[tuple[str, str, str, str]]:
    """Each tier with its energy, its share of the energy, and its share of the devices' time."""
    energy_mj = sum(share.energy_mj for share in report.shares)
    gpu_ns = sum(share.gpu_ns for share in report.shares)
    return [
        (
            share.tier.value,
            display.energy(None if share.tier is Tier.NOT_MEASURED else share.energy_mj),
            "-" if share.tier is Tier.NOT_MEASURED else _percent(share.energy_mj, energy_mj),
            _percent(share.gpu_ns, gpu_ns),
        )
        for share in report.shares
    ]


def _percent(part: int, whole: int) -> str:
    return display.percent(Fraction(part, whole), 3) if whole else "-"


def _picture(report: AuditReport) -> str:
    """The runs that drew most; the rest is in the table."""
    totals = [(run, _at_accelerators(run.totals)) for run in report.runs]
    known = [(run, total.energy_mj) for run, total in totals if total is not None and total.energy_mj is not None]
    largest = sorted(known, key=lambda pair: -pair[1])[:_MOST_BARS]
    most = max((energy for _, energy in largest), default=0)
    rows = [
        Bar(
            label=name_of(run),
            share=Fraction(energy, most) if most else Fraction(0),
            value=display.energy(energy) + (" (replayed)" if run.source == "replayed" else ""),
        )
        for run, energy in largest
    ]
    title = "Energy by run, accelerators" + (f": the {_MOST_BARS} largest" if len(known) > _MOST_BARS else "")
    return bars(title, "; ".join(f"{row.label}: {row.value}" for row in rows), rows)

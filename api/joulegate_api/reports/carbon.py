"""Tables of a report about carbon beside the totals: instruments, embodied ranges, and factors that were too old."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from joulegate.core.audit import AuditReport
from joulegate.core.embodied import EmbodiedRange
from joulegate.core.footprint import STALE_AFTER_MONTHS

Value = str | int | datetime | None

_TEXT, _COUNT, _ENERGY, _CARBON, _TIME, _INSTANT = "text", "count", "mJ", "ug", "ns", "instant"
_UNKNOWN: Final = "not known"


@dataclass(frozen=True, slots=True)
class Table:
    """A table with its heading; each column is its name, what it holds, and what None means in it for people."""

    name: str
    title: str
    lead: str
    columns: tuple[tuple[str, str, str], ...]
    rows: tuple[tuple[Value, ...], ...]


def tables(report: AuditReport) -> Iterator[Table]:
    """The tables that a report has something for."""
    yield from _categories(report)
    yield from _market(report)
    yield from _embodied(report)
    yield from _stale(report)


def _categories(report: AuditReport) -> Iterator[Table]:
    if not report.categories:
        return
    columns = (
        ("category of the GHG Protocol", _TEXT, ""),
        ("energy", _ENERGY, "not measured"),
        ("carbon, location-based", _CARBON, "not priced"),
        ("carbon, market-based", _CARBON, "no contract"),
        ("quarter-hours", _COUNT, ""),
        ("boundary", _TEXT, ""),
        ("ownership told by the site", _TEXT, ""),
        ("rule", _TEXT, ""),
    )
    rows = tuple(
        (
            row.category,
            row.energy_mj,
            row.carbon_location_ug,
            row.carbon_market_ug,
            row.slices,
            row.boundary.value,
            row.ownership.value if row.ownership else _UNKNOWN,
            row.rule,
        )
        for row in report.categories
    )
    lead = (
        "The category follows from who owns the machines, by the rule that is named. What depends on the consolidation"
        " approach of an organisation is the organisation's to say. Upstream emissions of electricity are not in it."
    )
    yield Table("categories", "Scope and category", lead, columns, rows)


def _market(report: AuditReport) -> Iterator[Table]:
    market = report.market
    if market is None:
        return
    rows: list[tuple[Value, ...]] = [
        (
            f"{use.instrument.kind.value} {use.instrument.name}",
            use.used_mj,
            use.amount_mj,
            use.carbon_ug,
            f"zone {use.instrument.zone}; evidence: {use.instrument.evidence}; {use.instrument.reference.publisher}",
        )
        for use in market.uses
    ]
    covered_ug = sum(use.carbon_ug for use in market.uses)
    residual_ug = None if market.carbon_ug is None or not market.residual_mj else market.carbon_ug - covered_ug
    rows += [
        ("residual mix or supplier", market.residual_mj, None, residual_ug, "by the market-based factors of the zone"),
        ("covered by nothing that is known", market.unknown_mj, None, None, "no residual mix is known there"),
        ("all of it", market.facility_energy_mj, None, market.carbon_ug, "carbon of what is known"),
    ]
    columns = (
        ("by", _TEXT, ""),
        ("electricity", _ENERGY, ""),
        ("of an amount of", _ENERGY, ""),
        ("carbon, market-based", _CARBON, _UNKNOWN),
        ("source", _TEXT, ""),
    )
    lead = (
        "Electricity at the facility's meter (accelerator energy x PUE). Instruments are matched by amount within the"
        " report's period, spread evenly over their time, not hour by hour. The location-based factor stands in for"
        " nothing."
    )
    if market.unplaced_mj:
        lead += f" Energy of accelerators without a site, and so outside: {market.unplaced_mj} mJ."
    yield Table("market", "Market-based carbon with instruments", lead, columns, tuple(rows))


def _embodied(report: AuditReport) -> Iterator[Table]:
    by = report.query.embodied
    if by is None:
        return
    columns = (
        ("model", _TEXT, ""),
        ("device time", _TIME, ""),
        ("a board, from", _CARBON, _UNKNOWN),
        ("a board, to", _CARBON, _UNKNOWN),
        ("share of this time, from", _CARBON, _UNKNOWN),
        ("share of this time, to", _CARBON, _UNKNOWN),
        ("who says so", _TEXT, ""),
    )
    rows = tuple(
        (row.gpu_model, row.gpu_ns, row.low_ug, row.high_ug, row.low_share_ug, row.high_share_ug, _said(row))
        for row in report.embodied
    )
    lead = (
        f"Making the boards, at an expected life of {by.life_years} years (SCI: M = TE x TiR / EL). A range between"
        " sources that count different things, apart from everything that was drawn and never added to it."
        f" Table of figures: SHA-256 {by.figures_sha256}."
    )
    yield Table("embodied", "Embodied carbon, as a range", lead, columns, rows)


def _said(row: EmbodiedRange) -> str:
    if not row.sources:
        return "no source counted this board"
    names = "; ".join(f"{source.publisher} ({source.source}, {source.product})" for source in row.sources)
    return names if len(row.sources) > 1 else f"one source, so no range: {names}"


def _stale(report: AuditReport) -> Iterator[Table]:
    if not report.stale:
        return
    columns = (
        ("zone", _TEXT, ""),
        ("data set", _TEXT, ""),
        ("data until", _INSTANT, ""),
        ("quarter-hours", _COUNT, ""),
    )
    rows = tuple(
        (row.zone, f"{row.reference.dataset} {row.reference.version}", row.data_until, row.slices)
        for row in report.stale
    )
    lead = f"Warning: the data of these factors ended more than {STALE_AFTER_MONTHS} months before what they priced."
    yield Table("stale", "Factors that were too old", lead, columns, rows)

r"""A report as PDF, set by Typst from the fonts that it carries: the same bytes on every machine.

Names reach the template as JSON and are placed as text, so markup in them is letters. A letter of a script that those
fonts lack is written as its number (``\u{6f22}``) and is no empty box; the other formats have the letter itself.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from fractions import Fraction
from importlib.resources import files
from typing import Any, Final

import typst

from joulegate.core import display
from joulegate.core.audit import AuditReport
from joulegate.core.periods import format_instant
from joulegate_api.reports.metered import headline
from joulegate_api.reports.sections import Column, Kind, Section, Value, coverage, sections

MEDIA_TYPE: Final = "application/pdf"
MOST_ROWS: Final = 400
"""Rows of one table that are printed; what is left out is counted under it."""

_LONGEST: Final = 160
_UNBROKEN: Final = re.compile(r"[^\s\u200b]{13,}")
_EVERY: Final = 12
_UNPRINTED: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
_FOREIGN: Final = re.compile(r"[\u0590-\u1dff\u2e80-\ufffc\U00010000-\U0010ffff]")
"""Hebrew to Vedic, all of East Asia, and every plane above the first: emoji among them."""
_BREAKS: Final = re.compile(r"[\s\u200b-]+")
_WIDEST: Final = 64
_MANY: Final = 9
"""Tables of more columns than this are set in small letters."""
_NORMAL: Final = 170
_SMALL: Final = 210
"""Letters that fit beside each other on a page."""


def render(report: AuditReport) -> bytes:
    """The bytes of the document."""
    data = json.dumps(_document(report), ensure_ascii=False, separators=(",", ":"))
    source = files("joulegate_api").joinpath("reports/document.typ").read_bytes()
    made: bytes = typst.compile(
        source,
        format="pdf",
        ignore_system_fonts=True,
        sys_inputs={"report": data},
        timestamp=int(report.as_of.timestamp()),
    )
    return made


def _document(report: AuditReport) -> dict[str, Any]:
    period = report.query.period
    span = f"{display.moment(period.start)} to {display.moment(period.end)}"
    return {
        "title": "Energy, carbon and cost of machine learning runs",
        "subtitle": _shown(f"{report.query.of}; {span}; as of {display.moment(report.as_of)}; {report.software}"),
        "period": span,
        "digest": report.digest,
        "recomputed": report.recomputed,
        "verdict": "Every total recomputes to the last unit from the records, their quarter-hours, factors and prices."
        if report.recomputed
        else "Not every total recomputes; the last table says what does not come out.",
        "tiles": _tiles(report),
        "sections": [_table(section) for section in sections(report)],
    }


def _tiles(report: AuditReport) -> list[dict[str, str]]:
    main = headline(report)
    energy = main.energy_mj if main else None
    known = report.interval
    between = display.energy_between(known.lower_mj, known.upper_mj) if known else "no interval is known"
    if report.settled:
        between = "all that was charged"
    tiles = [
        ("energy, boundary accelerator", display.energy(energy), between),
        ("carbon, location-based", display.carbon(main.carbon_location_ug if main else None), "PUE included"),
        (
            "carbon, market-based",
            display.carbon(main.carbon_market_ug if main else None, "no contract"),
            "PUE included",
        ),
        (
            "device time",
            display.duration(main.gpu_ns if main else 0),
            "all that was charged" if report.settled else f"measured: {coverage(report)}",
        ),
    ]
    return [dict(zip(("name", "value", "under"), tile, strict=True)) for tile in tiles]


def _table(section: Section) -> dict[str, Any]:
    printed = section.rows[:MOST_ROWS]
    rows = [[_cell(column, value) for column, value in zip(section.columns, row, strict=True)] for row in printed]
    return {
        "title": section.title,
        "lead": _shown(section.lead, 2_000),
        "columns": [{"name": _shown(each.name), "number": each.kind in _NUMBERS} for each in section.columns],
        "widths": _widths(section, rows),
        "small": len(section.columns) > _MANY,
        "rows": rows,
        "empty": section.empty,
        "left_out": len(section.rows) - len(printed),
    }


_NUMBERS: Final = (Kind.COUNT, Kind.ENERGY, Kind.CARBON, Kind.TIME)


def _widths(section: Section, rows: list[list[str]]) -> list[float]:
    """Each column's part of the page: what its longest word needs, and of the rest what its longest text would take."""
    texts = [[column.name, *(row[place] for row in rows)] for place, column in enumerate(section.columns)]
    least = [2 + max(len(word) for text in own for word in _BREAKS.split(text)) for own in texts]
    wanted = [min(_WIDEST, 1 + max(len(line) for text in own for line in text.split("\n"))) for own in texts]
    more = [max(0, want - need) for want, need in zip(wanted, least, strict=True)]
    room = max(0, (_SMALL if len(least) > _MANY else _NORMAL) - sum(least))
    part = room / sum(more) if sum(more) else 0.0
    return [round(need + extra * part, 3) for need, extra in zip(least, more, strict=True)]


def _cell(column: Column, value: Value) -> str:
    if value is None:
        return column.missing
    if isinstance(value, datetime):
        return format_instant(value)
    if isinstance(value, int):
        if column.kind is Kind.ENERGY:
            return f"{display.energy(value)}\n{value:,} mJ" if value else "0 mJ"
        if column.kind is Kind.CARBON:
            return f"{display.carbon(value)}\n{value:,} ug" if value else "0 ug"
        return display.duration(Fraction(value)) if column.kind is Kind.TIME else f"{value:,}"
    return _shown(value)


def _shown(text: str, longest: int = _LONGEST) -> str:
    """What can be printed: no control characters, none that turn the direction, and room to break a long word."""
    cleaned = _FOREIGN.sub(lambda found: f"\\u{{{ord(found[0]):x}}}", _UNPRINTED.sub("\ufffd", text))
    if len(cleaned) > longest:
        cleaned = cleaned[: longest - 1] + "\u2026"
    return _UNBROKEN.sub(_broken, cleaned)


def _broken(found: re.Match[str]) -> str:
    word = found[0]
    return "\u200b".join(word[begin : begin + _EVERY] for begin in range(0, len(word), _EVERY))

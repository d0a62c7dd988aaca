"""A report as a workbook (Office Open XML): one sheet a table, and the runs in whole base units as the CSV has them.

A text is a text cell, and one that would begin a formula has an apostrophe before it, so that it stays text where the
sheet is saved as CSV. Quantities have two columns: a number in the unit that people use, and whole base units.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from xlsxwriter import Workbook

from joulegate.core.audit import AuditReport
from joulegate.core.cells import defused
from joulegate.core.periods import format_instant
from joulegate_api.reports.csv_tables import COLUMNS, rows_of
from joulegate_api.reports.measures import hours, kilograms, kwh
from joulegate_api.reports.sections import Column, Kind, Section, Value, sections

MEDIA_TYPE: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"

LONGEST: Final = 32_767
"""Characters that a cell may hold (limits of Excel)."""
_MOST_ROWS: Final = 1_048_570
_EXACT: Final = 2**53 - 1
_NO_XML: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_SCALED: Final[Mapping[Kind, tuple[str, Callable[[int], Decimal]]]] = {
    Kind.ENERGY: ("kWh", kwh),
    Kind.CARBON: ("kg CO2e", kilograms),
    Kind.TIME: ("h", hours),
}
_FORBIDDEN: Final = re.compile(r"[\[\]:*?/\\]")


def render(report: AuditReport) -> bytes:
    """The bytes of the workbook; its dates are the report's own, so that they are the same each time."""
    file = io.BytesIO()
    settings = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    book = Workbook(file, settings)
    made = report.as_of.astimezone(UTC).replace(tzinfo=None, microsecond=0)
    title = "Energy, carbon and cost of machine learning runs"
    book.set_properties({"title": title, "comments": report.digest, "author": report.software, "created": made})
    looks = {
        "head": book.add_format({"bold": True, "text_wrap": True, "valign": "top", "bottom": 1}),
        "title": book.add_format({"bold": True, "font_size": 14}),
        "number": book.add_format({"num_format": "#,##0.000000"}),
        "whole": book.add_format({"num_format": "0"}),
    }
    for section in sections(report):
        _sheet(book, section, looks)
    _raw(book, rows_of(report), looks)
    book.close()
    return file.getvalue()


def _sheet(book: Workbook, section: Section, looks: Mapping[str, Any]) -> None:
    sheet = book.add_worksheet(_FORBIDDEN.sub(" ", section.title)[:31])
    sheet.write_string(0, 0, section.title, looks["title"])
    sheet.write_string(1, 0, section.lead)
    header = [name for column in section.columns for name in _names(column)]
    for place, name in enumerate(header):
        sheet.write_string(3, place, _text(name), looks["head"])
    sheet.freeze_panes(4, 1)
    sheet.set_column(0, max(0, len(header) - 1), 22)
    if not section.rows:
        sheet.write_string(4, 0, section.empty)
    for line, row in enumerate(section.rows[:_MOST_ROWS], start=4):
        place = 0
        for column, value in zip(section.columns, row, strict=True):
            place = _write(sheet, (line, place), column, value, looks)


def _names(column: Column) -> tuple[str, ...]:
    if column.kind in _SCALED:
        return f"{column.name} ({_SCALED[column.kind][0]})", f"{column.name} ({column.kind.value})"
    return (column.name,)


def _write(sheet: Any, at: tuple[int, int], column: Column, value: Value, looks: Mapping[str, Any]) -> int:  # noqa: ANN401
    """Write a cell, or the two of a quantity; returns where the next one goes."""
    line, place = at
    if column.kind in _SCALED:
        if isinstance(value, int):
            sheet.write_number(line, place, float(_SCALED[column.kind][1](value)), looks["number"])
            _whole(sheet, (line, place + 1), value, looks)
        else:
            sheet.write_string(line, place, column.missing)
        return place + 2
    if isinstance(value, int):
        _whole(sheet, at, value, looks)
    elif isinstance(value, datetime):
        sheet.write_string(line, place, format_instant(value))
    else:
        sheet.write_string(line, place, _text(value if value is not None else column.missing))
    return place + 1


def _whole(sheet: Any, at: tuple[int, int], value: int, looks: Mapping[str, Any]) -> None:  # noqa: ANN401
    """A whole number; one that a double would round is text."""
    if abs(value) <= _EXACT:
        sheet.write_number(*at, value, looks["whole"])
    else:
        sheet.write_string(*at, str(value))


def _raw(book: Workbook, rows: Iterable[list[object]], looks: Mapping[str, Any]) -> None:
    sheet = book.add_worksheet("Runs, base units")
    for place, name in enumerate(COLUMNS):
        sheet.write_string(0, place, name, looks["head"])
    sheet.freeze_panes(1, 1)
    for line, row in enumerate(rows, start=1):
        for place, value in enumerate(row):
            if isinstance(value, int) and not isinstance(value, bool):
                _whole(sheet, (line, place), value, looks)
            elif value is not None:
                text = str(value).lower() if isinstance(value, bool) else str(value)
                sheet.write_string(line, place, _text(text))


def _text(text: str) -> str:
    """What a cell may hold: no control characters, no formula, no more than a spreadsheet can read."""
    cleaned = defused(_NO_XML.sub("\ufffd", text))
    return cleaned if len(cleaned) <= LONGEST else cleaned[: LONGEST - 1] + "\u2026"

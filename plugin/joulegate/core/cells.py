"""Tables as CSV: written so that a spreadsheet may open them, read so that a fault names its line."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from joulegate.core.errors import InvalidInputError

_STARTS_A_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_NUMBER: Final = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_NEEDS_QUOTES: Final = re.compile(r'[",\r\n]|^\s|\s$')


def cell(value: object) -> str:
    """One cell: None is empty, and text that a spreadsheet would run as a formula begins with an apostrophe."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = defused(str(value))
    if _NEEDS_QUOTES.search(text):
        return '"' + text.replace('"', '""') + '"'
    return text


def defused(text: str) -> str:
    """Text that a spreadsheet does not run, wherever it is pasted or saved again.

    Source: OWASP, "CSV Injection". A number keeps its sign: it can only be a number.
    """
    return "'" + text if text.startswith(_STARTS_A_FORMULA) and not _NUMBER.fullmatch(text) else text


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table as RFC 4180 writes it (with line feeds), a header line first."""
    return "".join(",".join(cell(value) for value in row) + "\n" for row in (header, *rows))


def read_table(
    lines: Iterable[str], file: str, columns: Sequence[str], needed: str, *, strict: bool = False
) -> Iterator[tuple[str, dict[str, str]]]:
    """The rows of a CSV file, each with its place ``file:line``, from lines that keep their ends.

    Every one of ``columns`` is in each row, stripped, and empty where the file does not
    have it; other columns are passed over (refused where ``strict``), and so are lines that begin
    with ``#`` and empty lines. Raises :class:`InvalidInputError` for what is not CSV, a row of another
    length than the header, a column that stands twice, and a header without ``needed``.
    """
    source = _Lines(lines)
    reader = csv.reader(source, strict=True)
    header: list[str] = []
    while True:
        source.between_rows = True
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise InvalidInputError(f"is not CSV: {error}", f"{file}:{source.begun_at}") from None
        place = f"{file}:{source.begun_at}"
        if fields is None:
            break
        if not header:
            header = _header(fields, place, columns, needed)
            if strict and (foreign := [name for name in header if name not in columns]):
                raise InvalidInputError(f"no column is called {foreign[0]!r}; they are {', '.join(columns)}", place)
            continue
        if len(fields) != len(header):
            raise InvalidInputError(f"{len(fields)} fields where the header has {len(header)}", place)
        row = dict(zip(header, fields, strict=True))
        yield place, {column: row.get(column, "").strip() for column in columns}
    if not header:
        raise InvalidInputError(f"holds no table; columns are {', '.join(columns)}", f"{file}:1")


class _Lines:
    """Feeds the CSV reader; knows where a row begins and passes over comments between rows."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = enumerate(lines, start=1)
        self.between_rows = True
        self.begun_at = 1

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        for number, line in self._lines:
            text = line.removeprefix("\ufeff") if number == 1 else line
            if self.between_rows:
                if not text.strip() or text.lstrip().startswith("#"):
                    continue
                self.begun_at = number
            self.between_rows = False
            return text
        raise StopIteration


def _header(fields: Sequence[str], place: str, columns: Sequence[str], needed: str) -> list[str]:
    names = [field.strip() for field in fields]
    if needed not in names:
        raise InvalidInputError(f"no column is called {needed}; columns are {', '.join(columns)}", place)
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise InvalidInputError(f"the column {twice[0]} stands twice", place)
    return names

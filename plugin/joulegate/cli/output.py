"""What a command prints: a table for people, or one value as JSON, YAML or CSV for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Final

import typer

from joulegate.core.cells import csv_text

JsonValue = Any
Row = Mapping[str, Any]


class Format(StrEnum):
    """The forms of ``-o``."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    CSV = "csv"


OutputOption = Annotated[Format, typer.Option("--output", "-o", help="How to print the result.", show_default=True)]
JsonOption = Annotated[bool, typer.Option("--json", help="The same as -o json.")]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its heading, and what it shows of a row."""

    heading: str
    of: Callable[[Row], str]
    is_number: bool = False


def field(heading: str, key: str, missing: str = "-") -> Column:
    """A column that shows one field as it is."""
    return Column(heading, lambda row: missing if row.get(key) is None else str(row[key]))


def show_rows(rows: Sequence[Row], columns: Sequence[Column], output: Format, *, empty: str) -> None:
    """Print a list; ``empty`` is what a person is told where it has no rows."""
    if output is not Format.TABLE:
        print_value(list(rows), output)
    elif not rows:
        note(empty)
    else:
        _print_table([column.heading for column in columns], rows, columns)


def show_facts(value: Row, facts: Sequence[tuple[str, str]], output: Format) -> None:
    """Print one object; ``facts`` are its lines for people, a name and what it is."""
    if output is not Format.TABLE:
        print_value(value, output)
        return
    width = max((len(name) for name, _ in facts), default=0)
    _write("".join(f"{plain(name):<{width}}  {plain(text)}\n" for name, text in facts))


def print_value(value: JsonValue, output: Format) -> None:
    """Print a value for programs: nothing else is ever on stdout then."""
    if output is Format.YAML:
        import yaml

        _write(yaml.safe_dump(value, sort_keys=False, allow_unicode=True))
    elif output is Format.CSV:
        _write(_csv(value if isinstance(value, list) else [value]))
    else:
        _write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def chosen(output: Format, as_json: bool) -> Format:  # noqa: FBT001 -- an option as it came
    """The form that ``-o`` and ``--json`` ask for together."""
    if as_json and output not in (Format.TABLE, Format.JSON):
        raise typer.BadParameter(f"--json and -o {output.value} exclude each other")
    return Format.JSON if as_json else output


def note(text: str) -> None:
    """Say something to a person: on stderr, so that stdout holds the result alone."""
    sys.stderr.write(f"{plain(text)}\n")


def plain(text: str) -> str:
    """``text`` without what a terminal would obey: names come from other people."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def _write(text: str) -> None:
    # A terminal that knows fewer characters shows a mark instead; it never ends the command.
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))


_CSV_DEPTH: Final = 8


def _csv(rows: Sequence[Row]) -> str:
    flat = [dict(_flat(row, "")) for row in rows]
    header = list(dict.fromkeys(name for row in flat for name in row))
    return csv_text(header, ([row.get(name) for name in header] for row in flat))


def _flat(value: object, name: str, depth: int = 0) -> list[tuple[str, object]]:
    """The leaves of an object as ``a.b``; a list is one cell of JSON."""
    if isinstance(value, Mapping) and depth < _CSV_DEPTH:
        return [leaf for key in value for leaf in _flat(value[key], f"{name}.{key}" if name else str(key), depth + 1)]
    if isinstance(value, Mapping | list):
        return [(name, json.dumps(value, ensure_ascii=False))]
    return [(name or "value", value)]


def _print_table(headings: Sequence[str], rows: Sequence[Row], columns: Sequence[Column]) -> None:
    cells = [[plain(column.of(row)) for column in columns] for row in rows]
    if sys.stdout.isatty():
        _print_rich(headings, cells, columns)
        return
    widths = [max(len(row[index]) for row in (headings, *cells)) for index in range(len(headings))]
    numbers = [column.is_number for column in columns]
    for line in (headings, *cells):
        padded = [
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, numbers, strict=True)
        ]
        _write("  ".join(padded).rstrip() + "\n")


def _print_rich(headings: Sequence[str], cells: Sequence[Sequence[str]], columns: Sequence[Column]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for heading, column in zip(headings, columns, strict=True):
        table.add_column(Text(heading), justify="right" if column.is_number else "left", overflow="fold")
    for row in cells:
        table.add_row(*(Text(text) for text in row))
    Console().print(table)  # looks at NO_COLOR and at the terminal's width by itself

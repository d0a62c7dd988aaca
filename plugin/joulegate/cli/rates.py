"""``joulegate factors``, ``prices`` and ``sites``: dated, sourced, licensed rows that price energy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any, Final

import typer

from joulegate.cli.output import Column, Format, JsonOption, OutputOption, chosen, field, note, print_value, show_rows
from joulegate.core import display
from joulegate.core.errors import InvalidInputError, JoulegateError
from joulegate.core.units import MICROS, UG_PER_G, parse_whole

REFERENCE: Final = ("dataset", "version", "publisher", "licence", "source")
_MOST_ROWS: Final = 1_000
"""Rows that are sent at once; the body of one request is bounded."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of row: where the API keeps it, its fields, and its quantity as people write it.

    ``quantity`` is the field of the API, ``written`` its name in files, ``base`` the base units of one.
    """

    name: str
    help: str
    fields: tuple[str, ...]
    quantity: str
    written: str
    base: int
    is_text: bool
    columns: tuple[Column, ...]


def _number(heading: str, show: Callable[[Any], str]) -> Column:
    return Column(heading, show, is_number=True)


def _price(row: Any) -> str:  # noqa: ANN401 -- JSON
    each = "GPU-hour" if row["rule"] == "gpu_hours" else "kWh"
    return f"{display.money(int(row['micros_per_unit']), row['currency'])} per {each}"


_DATES: Final = (field("from", "valid_from"), field("to", "valid_to"))
_SOURCE: Final = (
    Column("data set", lambda row: f"{row['reference']['dataset']} {row['reference']['version']}"),
    Column("licence", lambda row: row["reference"]["licence"]),
)

KINDS: Final = (
    Kind(
        name="factors",
        help="Carbon intensities of grid zones.",
        fields=("zone", "valid_from", "valid_to", "basis", "boundary", "mix", "signal", "gwp"),
        quantity="ug_per_kwh",
        written="g_per_kwh",
        base=UG_PER_G,
        is_text=True,
        columns=(
            field("zone", "zone"),
            *_DATES,
            _number("g CO2e per kWh", lambda row: display.rounded(Fraction(int(row["ug_per_kwh"]), UG_PER_G), 6)),
            field("basis", "basis"),
            Column("what", lambda row: f"{row['boundary']}, {row['mix']}, {row['signal']}, {row['gwp']}"),
            *_SOURCE,
        ),
    ),
    Kind(
        name="prices",
        help="Prices of electricity or of GPU time.",
        fields=("rule", "currency", "gpu_model", "zone", "valid_from", "valid_to"),
        quantity="micros_per_unit",
        written="amount",
        base=MICROS,
        is_text=True,
        columns=(
            _number("price", _price),
            field("GPU", "gpu_model", "any"),
            field("zone", "zone", "any"),
            *_DATES,
            *_SOURCE,
        ),
    ),
    Kind(
        name="sites",
        help="Places with their grid zone and their power usage effectiveness (PUE).",
        fields=("name", "zone", "pue_category", "valid_from", "valid_to"),
        quantity="pue_ppm",
        written="pue",
        base=1_000_000,
        is_text=False,
        columns=(
            field("site", "name"),
            field("zone", "zone"),
            _number("PUE", lambda row: f"{int(row['pue_ppm']) / 1_000_000:g}"),
            *_DATES,
            *_SOURCE,
        ),
    ),
)


def register(app: typer.Typer) -> None:
    """Add the commands of each kind."""
    for kind in KINDS:
        group = typer.Typer(help=kind.help, no_args_is_help=True)
        group.command("list", help=f"List every row of {kind.name}.")(_lister(kind))
        written = ", ".join((*kind.fields, kind.written, *REFERENCE))
        group.command("import", help=f"Add the rows of a CSV file ({written}), or of YAML with `rows`.")(
            _importer(kind)
        )
        app.add_typer(group, name=kind.name)


def _lister(kind: Kind) -> Callable[..., None]:
    def list_(
        *,
        output: OutputOption = Format.TABLE,
        as_json: JsonOption = False,
    ) -> None:
        from joulegate.client import Client

        form = chosen(output, as_json)
        rows = Client.from_home().get(f"/v1/{kind.name}")["rows"]
        show_rows(rows, kind.columns, form, empty=f"there are no {kind.name}; nothing can be priced without them")

    return list_


def _importer(kind: Kind) -> Callable[..., None]:
    def import_(
        *,
        file: Annotated[str, typer.Argument(metavar="FILE", help="- is stdin (YAML or JSON).")],
        output: OutputOption = Format.TABLE,
        as_json: JsonOption = False,
    ) -> None:
        from joulegate.client import ApiError, Client

        form = chosen(output, as_json)
        rows = list(_rows(kind, file))
        if not rows:
            raise InvalidInputError("holds no row", file)
        client = Client.from_home()
        added = repeated = 0
        waiting: list[str] = []
        for begin in range(0, len(rows), _MOST_ROWS):
            batch = rows[begin : begin + _MOST_ROWS]
            try:
                done = client.put(f"/v1/{kind.name}", {"rows": [row for _, row in batch]})
            except ApiError as error:
                raise _placed(error.detail, error.problem, batch, file) from error
            if "change_id" in done:
                waiting.append(done["change_id"])
                continue
            added, repeated = added + int(done["added"]), repeated + int(done["repeated"])
        for change_id in waiting:
            note(f"{kind.name} wait for a second person: joulegate change approve {change_id}")
        if form is Format.TABLE:
            note(f"{added} rows of {kind.name} added, {repeated} were there already")
        else:
            print_value({"added": added, "repeated": repeated}, form)

    return import_


def _placed(detail: str, problem: Mapping[str, Any], batch: Sequence[tuple[str, object]], file: str) -> JoulegateError:
    """The API's fault at the line of its row: it names rows as ``rows.3.zone``."""
    faults = problem.get("errors") or [{"field": detail.partition(":")[0], "message": detail}]
    field_path = str(faults[0].get("field", "")).split(".")
    if field_path[0] == "rows" and len(field_path) > 1 and field_path[1].isdigit() and int(field_path[1]) < len(batch):
        place = batch[int(field_path[1])][0]
        return InvalidInputError(f"{'.'.join(field_path[2:])}: {faults[0]['message']}", place)
    return InvalidInputError(detail, file)


def _rows(kind: Kind, file: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of a file as the API takes them, each with its place."""
    from joulegate.cli.documents import read_documents, read_text
    from joulegate.core.cells import read_table

    if file.lower().endswith(".csv"):
        columns = (*kind.fields, kind.written, kind.quantity, *REFERENCE)
        for place, cells in read_table(read_text(file).splitlines(keepends=True), file, columns, kind.fields[0]):
            given: dict[str, Any] = {name: text for name, text in cells.items() if text and name not in REFERENCE}
            given["reference"] = {name: cells[name] for name in REFERENCE}
            yield place, _row(kind, given, place)
        return
    for document in read_documents(file):
        whole = document.value
        rows = whole.get("rows") if isinstance(whole, dict) else None
        if not isinstance(rows, list):
            raise InvalidInputError("needs a list `rows`", document.place("rows"))
        for index, row in enumerate(rows):
            place = document.place(f"rows[{index}]")
            if not isinstance(row, dict):
                raise InvalidInputError("is not a row", place)
            yield place, _row(kind, {"reference": whole.get("reference"), **row}, place)


def _row(kind: Kind, given: dict[str, Any], place: str) -> dict[str, Any]:
    row = dict(given)
    if kind.written in row:
        units = parse_whole(str(row.pop(kind.written)), kind.base, f"{place}: {kind.written}")
        row[kind.quantity] = str(units) if kind.is_text else units
    elif not kind.is_text and str(row.get(kind.quantity, "")).isdigit():
        row[kind.quantity] = int(row[kind.quantity])
    return row

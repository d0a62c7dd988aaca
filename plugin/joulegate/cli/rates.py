"""``joulegate factors``, ``prices``, ``sites`` and ``instruments``: dated, sourced, licensed rows that price energy."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Annotated, Any, Final

import typer

from joulegate.cli import factors, fetching, market
from joulegate.cli.factors import Rows
from joulegate.cli.output import Column, Format, JsonOption, OutputOption, chosen, field, note, print_value, show_rows
from joulegate.core import display
from joulegate.core.errors import InvalidInputError
from joulegate.core.units import MICROS, MJ_PER_KWH, UG_PER_G, UL_PER_L, format_whole, parse_whole

REFERENCE: Final = ("dataset", "version", "publisher", "licence", "source")
MORE_OF_REFERENCE: Final = ("attribution", "sha256")
_LARGEST_BODY: Final = 2**20
"""What the API takes in one request, and so as a whole or not at all."""
_MOST_FAULTS: Final = 20


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of row: where the API keeps it, its fields, and its quantity as people write it.

    ``quantity`` is the field of the API, ``written`` its name in files, ``base`` the base units of one.
    ``optional`` fields may be absent, ``counts`` of them are plain numbers; ``more`` gives, of other
    quantities as they are written, the field of the API and the base units of one.
    """

    name: str
    help: str
    fields: tuple[str, ...]
    quantity: str
    written: str
    base: int
    is_text: bool
    columns: tuple[Column, ...]
    optional: tuple[str, ...] = ()
    counts: tuple[str, ...] = ()
    more: Mapping[str, tuple[str, int]] = dataclasses.field(default_factory=dict)


def _number(heading: str, show: Callable[[Any], str]) -> Column:
    return Column(heading, show, is_number=True)


def _price(row: Any) -> str:  # noqa: ANN401 -- JSON
    each = "GPU-hour" if row["rule"] == "gpu_hours" else "kWh"
    return f"{display.money(int(row['micros_per_unit']), row['currency'])} per {each}"


def _hours(row: Any) -> str:  # noqa: ANN401 -- JSON
    if row.get("from_hour") is None:
        return "any"
    return f"{row['from_hour']}-{row['to_hour']} {row.get('timezone') or 'UTC'}"


def _water(row: Any) -> str:  # noqa: ANN401 -- JSON
    known = row.get("wue_ul_per_kwh")
    return "not told" if known is None else format_whole(int(known), UL_PER_L)


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
            field("data until", "data_until", "not told"),
            Column("what", lambda row: f"{row['boundary']}, {row['mix']}, {row['signal']}, {row['gwp']}"),
            *_SOURCE,
        ),
        optional=("data_until",),
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
            field("ownership", "ownership", "any"),
            Column("hours", _hours),
            *_DATES,
            *_SOURCE,
        ),
        optional=("ownership", "from_hour", "to_hour", "timezone"),
        counts=("from_hour", "to_hour"),
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
            field("category", "pue_category"),
            field("ownership", "ownership", "not told"),
            _number("WUE, l per kWh", _water),
            *_DATES,
            *_SOURCE,
        ),
        optional=("ownership", "wue_l_per_kwh", "wue_category"),
        more={"wue_l_per_kwh": ("wue_ul_per_kwh", UL_PER_L)},
    ),
    Kind(
        name="instruments",
        help="Certificates and contracts that cover electricity, for market-based carbon.",
        fields=("kind", "name", "zone", "valid_from", "valid_to", "kwh", "evidence"),
        quantity="ug_per_kwh",
        written="g_per_kwh",
        base=UG_PER_G,
        is_text=True,
        columns=(
            field("kind", "kind"),
            field("name", "name"),
            field("zone", "zone"),
            *_DATES,
            _number("kWh", lambda row: format_whole(int(row["energy_mj"]), MJ_PER_KWH)),
            _number("g CO2e per kWh", lambda row: display.rounded(Fraction(int(row["ug_per_kwh"]), UG_PER_G), 6)),
            field("evidence", "evidence"),
            *_SOURCE,
        ),
        more={"kwh": ("energy_mj", MJ_PER_KWH)},
    ),
)


def register(app: typer.Typer) -> None:
    """Add the commands of each kind."""
    for kind in KINDS:
        group = typer.Typer(help=kind.help, no_args_is_help=True)
        group.command("list", help=f"List every row of {kind.name}.")(_lister(kind))
        written = ", ".join((*kind.fields, kind.written, *REFERENCE))
        more = ", ".join((*kind.optional, *MORE_OF_REFERENCE))
        group.command(
            "import",
            help=f"Add the rows of a CSV file ({written}; optional {more}), or of YAML with `rows`: all or none.",
        )(_importer(kind))
        if kind.name == "factors":
            factors.add(group, partial(send, kind))
            fetching.add(group, partial(send, kind))
        if kind.name == "instruments":
            market.add(group)
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
        if kind.name == "factors":
            factors.warn_of_stale(rows)

    return list_


def _importer(kind: Kind) -> Callable[..., None]:
    def import_(
        *,
        file: Annotated[str, typer.Argument(metavar="FILE", help="- is stdin (YAML or JSON).")],
        output: OutputOption = Format.TABLE,
        as_json: JsonOption = False,
    ) -> None:
        send(kind, read(kind, file), file, chosen(output, as_json))

    return import_


def read(kind: Kind, file: str) -> Rows:
    """The rows of a file; raises :class:`InvalidInputError` once every fault has been told with its line."""
    rows: Rows = []
    faults: list[InvalidInputError] = []
    for place, given in _given(kind, file):
        try:
            rows.append((place, _row(kind, given, place)))
        except InvalidInputError as error:
            faults.append(error)
    _refuse([str(fault) for fault in faults], file)
    if not rows:
        raise InvalidInputError("holds no row", file)
    return rows


def send(kind: Kind, rows: Rows, origin: str, form: Format) -> None:
    """Add rows to the API in one request: all of them, or none.

    Raises :class:`InvalidInputError` for what is at fault, at its line, and for more than one request holds.
    """
    from joulegate.client import ApiError, Client

    body = {"rows": [row for _, row in rows]}
    if len(json.dumps(body).encode()) > _LARGEST_BODY:
        raise InvalidInputError(
            f"{len(rows)} rows are more than one request holds (1 MiB), and an import is all or nothing: split it",
            origin,
        )
    try:
        done = Client.from_home().put(f"/v1/{kind.name}", body)
    except ApiError as error:
        _refuse(_placed(error.detail, error.problem, rows, origin), origin)
        raise
    if "change_id" in done:
        note(f"{kind.name} wait for a second person: joulegate change approve {done['change_id']}")
    added, repeated = int(done.get("added", 0)), int(done.get("repeated", 0))
    if form is Format.TABLE:
        note(f"{added} rows of {kind.name} added, {repeated} were there already")
    else:
        print_value({"added": added, "repeated": repeated}, form)


def _refuse(faults: Sequence[str], origin: str) -> None:
    """Tell each fault on its own line, and add nothing."""
    if not faults:
        return
    for fault in faults[:_MOST_FAULTS]:
        note(fault)
    more = f" ({len(faults) - _MOST_FAULTS} more are not shown)" if len(faults) > _MOST_FAULTS else ""
    raise InvalidInputError(f"{len(faults)} faults, nothing was imported{more}", origin)


def _placed(detail: str, problem: Mapping[str, Any], rows: Rows, origin: str) -> list[str]:
    """The API's faults at the lines of their rows: it names rows as ``rows.3.zone``."""
    faults = problem.get("errors") or [{"field": detail.partition(":")[0], "message": detail}]
    told = []
    for fault in faults:
        path = str(fault.get("field", "")).split(".")
        if path[0] == "rows" and len(path) > 1 and path[1].isdigit() and int(path[1]) < len(rows):
            told.append(f"{rows[int(path[1])][0]}: {'.'.join(path[2:])}: {fault['message']}")
        else:
            told.append(f"{origin}: {detail}")
    return told


def _given(kind: Kind, file: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of a file as people wrote them, each with its place."""
    from joulegate.cli.documents import read_documents, read_text
    from joulegate.core.cells import read_table

    if file.lower().endswith(".csv"):
        of_row = (*kind.fields, *kind.optional, kind.written, kind.quantity)
        columns = (*of_row, *REFERENCE, *MORE_OF_REFERENCE)
        lines = read_text(file).splitlines(keepends=True)
        for place, cells in read_table(lines, file, columns, kind.fields[0], strict=True):
            given: dict[str, Any] = {name: cells[name] for name in of_row if cells[name]}
            more = {name: cells[name] for name in MORE_OF_REFERENCE if cells[name]}
            yield place, given | {"reference": {name: cells[name] for name in REFERENCE} | more}
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
            yield place, {"reference": whole.get("reference"), **row}


def _row(kind: Kind, given: dict[str, Any], place: str) -> dict[str, Any]:
    """A row as the API takes it."""
    row = dict(given)
    if kind.written in row:
        units = parse_whole(str(row.pop(kind.written)), kind.base, f"{place}: {kind.written}")
        row[kind.quantity] = str(units) if kind.is_text else units
    elif not kind.is_text and str(row.get(kind.quantity, "")).isdigit():
        row[kind.quantity] = int(row[kind.quantity])
    for written, (target, base) in kind.more.items():
        if written in row:
            row[target] = str(parse_whole(str(row.pop(written)), base, f"{place}: {written}"))
    for name in kind.counts:
        if isinstance(row.get(name), str) and row[name].isdecimal():
            row[name] = int(row[name])
    return row

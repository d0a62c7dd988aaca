"""``joulegate claims``: published figures, recomputed from the inputs printed beside them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from joulegate.cli.output import Column, Format, JsonOption, OutputOption, chosen, field, show_rows


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("claims")(claims)


def claims(
    *,
    file: Annotated[str, typer.Argument(metavar="FILE.csv", help="The table; - is stdin.")],
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Recompute published figures from the inputs that were published with them.

    Columns: name, gpu_hours, energy_kwh, watts, pue, intensity_g_per_kwh, claimed_kwh, claimed_mass,
    unit (g kg t lb), tolerance_percent; blank where absent. Ratios are recomputed / claimed.
    """
    from joulegate.cli.documents import read_text, shown_name
    from joulegate.core.claims import check_claim, read_claims

    form = chosen(output, as_json)
    lines = read_text(file).splitlines(keepends=True)
    rows = [check_claim(claim).row() for claim in read_claims(lines, shown_name(file))]
    show_rows(rows, _COLUMNS, form, empty="the table has no rows")


def _ratio(key: str) -> Any:  # noqa: ANN401 -- a cell of a row
    return lambda row: "-" if row[key] is None else f"{row[key]:.4f}"


_COLUMNS = (
    field("name", "name"),
    field("verdict", "verdict"),
    Column("energy recomputed / claimed", _ratio("ratio_energy"), is_number=True),
    Column("mass recomputed / claimed", _ratio("ratio_mass"), is_number=True),
    field("reason", "reason"),
)

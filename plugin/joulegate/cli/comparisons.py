"""``joulegate compare``: variants of a model, quality against energy."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import typer

from joulegate.cli.output import Column, Format, JsonOption, OutputOption, chosen, field, note, print_value, show_rows
from joulegate.core import display


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("compare")(compare)


def compare(  # noqa: PLR0913 -- the options of one command
    *,
    variants: Annotated[list[str], typer.Argument(metavar="VARIANT...", help="The first is the baseline.")],
    model: Annotated[str | None, typer.Option(help="Only records of this model.")] = None,
    pipeline: Annotated[str | None, typer.Option(help="Only records of this pipeline.")] = None,
    work: Annotated[str | None, typer.Option(help="Which measured window, where a record has several.")] = None,
    quality: Annotated[str | None, typer.Option(help="Which figure of merit, where a record has several.")] = None,
    per: Annotated[int, typer.Option(min=1, help="Units of work that figures are given for.")] = 1_000,
    svg: Annotated[Path | None, typer.Option(help="Write the picture to this file too.")] = None,
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Compare variants by quality against energy, carbon and money for the same amount of work."""
    from joulegate.client import Client

    form = chosen(output, as_json)
    asked = {"variants": variants, "model": model, "pipeline": pipeline, "work": work, "quality": quality, "per": per}
    body = {name: value for name, value in asked.items() if value is not None}
    found = Client.from_home().post("/v1/comparisons", body, repeatable=True)
    if svg is not None:
        svg.write_text(found["svg"], encoding="utf-8")
    if form is not Format.TABLE:
        print_value({name: value for name, value in found.items() if name != "svg"}, form)
        return
    rows = found["variants"]
    show_rows(rows, _columns(found), form, empty="")
    for row in rows:
        if row["finding"] != "baseline":
            typer.echo(f"{row['name']}: {row['words']}")
    for warning in found["warnings"]:
        note(f"note: {warning}")


def _columns(found: dict[str, Any]) -> tuple[Column, ...]:
    per = f"per {found['per']:,} {found['unit']}"
    energies = display.common_scale([_figure(row, "energy_mj") for row in found["variants"]], display.ENERGY)
    carbons = display.common_scale([_figure(row, "carbon_ug") for row in found["variants"]], display.CARBON)
    return (
        field("variant", "name"),
        Column(found["quality"], lambda row: f"{row['quality']['value']:.4g}", is_number=True),
        Column(f"energy {per}", lambda row: _energy(row, energies), is_number=True),
        Column(f"carbon {per}", lambda row: display.carbon(_figure(row, "carbon_ug"), scale=carbons), is_number=True),
        Column(f"cost {per}", lambda row: display.money(_figure(row, "cost_micros"), row["currency"]), is_number=True),
        Column("Pareto front", lambda row: "yes" if row["on_front"] else "no"),
        Column("source", lambda row: row["source"]),
    )


def _energy(row: Any, scale: display.Scale) -> str:  # noqa: ANN401 -- JSON
    text = display.energy(_figure(row, "energy_mj"), scale=scale)
    span = row["energy_interval_mj"]
    if span is None:
        return text
    return f"{text} ({display.energy_between(Fraction(span['lower']), Fraction(span['upper']), scale)})"


def _figure(row: Any, name: str) -> Fraction | None:  # noqa: ANN401 -- JSON
    return None if row[name] is None else Fraction(row[name])

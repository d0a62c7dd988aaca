"""``joulegate instruments used``: carbon in columns that are never added, and what instruments covered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Annotated, Any
from urllib.parse import urlencode

import typer

from joulegate.cli.output import Format, JsonOption, OutputOption, chosen, show_facts
from joulegate.core import display
from joulegate.core.periods import parse_instant
from joulegate.core.units import UL_PER_L


def add(group: typer.Typer) -> None:
    """Add the command to ``joulegate instruments``."""
    group.command("used")(used)


def used(
    *,
    since: Annotated[str, typer.Option("--from", metavar="INSTANT", help="A quarter-hour in UTC.")],
    until: Annotated[str, typer.Option("--to", metavar="INSTANT", help="The quarter-hour before which it ends.")],
    life_years: Annotated[
        int | None,
        typer.Option("--life-years", min=1, max=999, help="Expected life of a board, for its embodied share."),
    ] = None,
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Say what instruments covered in a period, what the residual mix prices, and the range of embodied carbon."""
    from joulegate.client import Client

    parse_instant(since, "--from")
    parse_instant(until, "--to")
    query = {"since": since, "until": until} | ({"life_years": str(life_years)} if life_years else {})
    found = Client.from_home().get(f"/v1/market?{urlencode(query)}")
    show_facts(found, list(_facts(found)), chosen(output, as_json))


def _facts(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    market = found["market"]
    lacking = f", {found['location_unknown']} slices without a factor" if found["location_unknown"] else ""
    yield "location-based", _carbon(found["location_ug"]) + lacking
    yield "market-based", _carbon(market["carbon_ug"])
    for name, words in (("facility_energy_mj", "at the meter"), ("covered_mj", "by instruments")):
        yield f"  {words}", _energy(market[name])
    yield "  by residual mix", _energy(market["residual_mj"])
    if int(market["unknown_mj"]):
        yield "  by nothing", f"{_energy(market['unknown_mj'])}: no residual mix is known, so its carbon is not either"
    if int(market["unplaced_mj"]):
        yield "  without a site", f"{_energy(market['unplaced_mj'])} of accelerators"
    for use in market["uses"]:
        told = use["instrument"]
        yield f"  {told['kind']} {told['name']}", f"{_energy(use['used_mj'])} of {_energy(use['amount_mj'])} used"
    if found["water_ul"] is not None:
        lacking = f", {found['water_unknown']} slices without a WUE" if found["water_unknown"] else ""
        yield "water", f"{display.rounded(Fraction(int(found['water_ul']), UL_PER_L), 3)} l{lacking}"
    for row in found["embodied"]:
        yield f"embodied, {row['gpu_model']}", _embodied(row)


def _embodied(row: Mapping[str, Any]) -> str:
    if row["low_ug"] is None:
        return "not known: no source counted this board"
    said = "; ".join(f"{source['publisher'].split(',')[0]}: {_carbon(source['ug'])}" for source in row["sources"])
    share = "no expected life was told"
    if row["low_share_ug"] is not None:
        share = f"share {_carbon(row['low_share_ug'])} to {_carbon(row['high_share_ug'])}"
    return f"{share}; a board: {said}; never added to the above"


def _energy(mj: str) -> str:
    return display.energy(int(mj))


def _carbon(ug: str | None) -> str:
    return "not known" if ug is None else display.carbon(int(ug))

"""``joulegate factors packs``, ``import-pack`` and ``regions``: the published tables that come with Joulegate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer

from joulegate.cli.output import Column, Format, JsonOption, OutputOption, chosen, field, note, show_rows
from joulegate.core.errors import NotFoundError
from joulegate.core.footprint import STALE_AFTER_MONTHS, is_stale
from joulegate.core.periods import parse_instant
from joulegate.core.units import UG_PER_KG, format_whole
from joulegate.wire import to_json

Rows = list[tuple[str, dict[str, Any]]]
"""Rows as the API takes them, each with its place."""

Send = Callable[[Rows, str, Format], None]

_PACK_COLUMNS: Final = (
    field("pack", "name"),
    Column("zones", lambda row: str(row["rows"]), is_number=True),
    Column("licence", lambda row: row["reference"]["licence"]),
    Column("publisher", lambda row: row["reference"]["publisher"]),
    field("what", "about"),
)
_EMBODIED_COLUMNS: Final = (
    field("board", "product"),
    Column("kg CO2e", lambda row: format_whole(int(row["ug"]), UG_PER_KG), is_number=True),
    Column("publisher", lambda row: str(row["publisher"]).split(",")[0]),
    field("source", "source"),
    field("what is counted", "scope"),
)
_REGION_COLUMNS: Final = (
    field("provider", "provider"),
    field("region", "region"),
    field("zone", "zone"),
    field("country", "country"),
    Column("packs that know it", lambda row: ", ".join(row["packs"]) or "none: bring your own factor"),
)


def add(group: typer.Typer, send: Send) -> None:
    """Add the commands to ``joulegate factors``; ``send`` adds rows to the API, all or none."""
    group.command("packs")(list_packs)
    group.command("regions")(list_regions)
    group.command("embodied")(list_embodied)
    group.command("import-pack")(_importer(send))


def list_packs(*, output: OutputOption = Format.TABLE, as_json: JsonOption = False) -> None:
    """List the factor packs of this release; none is in force before it is imported."""
    from joulegate.packs import packs

    show_rows([to_json(pack) for pack in packs().values()], _PACK_COLUMNS, chosen(output, as_json), empty="")


def list_regions(
    *,
    provider: Annotated[str | None, typer.Option(help="aws, azure or gcp.")] = None,
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """List the regions of clouds with their grid zones, and the packs that have a factor for each."""
    from joulegate.packs import packs, regions

    known = {name: {row.zone for row in pack.intensities()} for name, pack in packs().items()}
    rows = [
        to_json(region) | {"packs": [name for name, zones in known.items() if region.zone in zones]}
        for region in regions()
        if provider in (None, region.provider)
    ]
    show_rows(rows, _REGION_COLUMNS, chosen(output, as_json), empty=f"no region of {provider} is known")


def list_embodied(*, output: OutputOption = Format.TABLE, as_json: JsonOption = False) -> None:
    """List what publishers say that making an accelerator emits: they differ, and none is added to what is drawn."""
    from joulegate.packs import embodied_figures

    show_rows([to_json(row) for row in embodied_figures()], _EMBODIED_COLUMNS, chosen(output, as_json), empty="")


def _importer(send: Send) -> Callable[..., None]:
    def import_pack(
        *,
        name: Annotated[str, typer.Argument(metavar="PACK", help="A name from `joulegate factors packs`.")],
        zones: Annotated[list[str] | None, typer.Option("--zone", help="Only this zone; may be repeated.")] = None,
        output: OutputOption = Format.TABLE,
        as_json: JsonOption = False,
    ) -> None:
        """Add the rows of a pack, or of some of its zones, with their licence and attribution."""
        from joulegate.packs import pack_named

        rows = [row for row in pack_named(name).intensities() if not zones or row.zone in zones]
        for zone in zones or ():
            if zone not in {row.zone for row in rows}:
                raise NotFoundError(f"the pack {name} has no zone {zone!r}")
        send([(f"{name}, zone {row.zone}", to_json(row)) for row in rows], name, chosen(output, as_json))
        warn_of_stale([to_json(row) for row in rows])

    return import_pack


def warn_of_stale(rows: Sequence[Mapping[str, Any]], now: datetime | None = None) -> None:
    """Say which data sets in force are older than 24 months, seen from today."""
    now = now or datetime.now(UTC)
    old = sorted(
        {
            f"{row['reference']['dataset']} {row['reference']['version']}"
            for row in rows
            if parse_instant(row["valid_from"], "") <= now < parse_instant(row["valid_to"], "")
            and is_stale(parse_instant(row.get("data_until") or row["valid_from"], ""), now)
        }
    )
    for name in old:
        note(f"warning: {name}: its data ended more than {STALE_AFTER_MONTHS} months ago; a newer one may be known")

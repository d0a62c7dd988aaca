"""Factor packs in the wheel: small published tables of carbon intensity, each with its licence.

A pack prices only after somebody imported it: nothing is in force by itself. A region of a cloud has a zone where a
pack knows one; no zone stands in for another, and there is no world average.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any, Final

from joulegate.core.cells import read_table
from joulegate.core.embodied import EmbodiedFigure
from joulegate.core.errors import ConflictError, NotFoundError
from joulegate.core.footprint import EmissionBasis, GridIntensity, Reference
from joulegate.core.periods import parse_instant
from joulegate.core.units import UG_PER_G, UG_PER_KG, parse_whole

_FOLDER: Final = "data/factors"
_FIELDS: Final = (
    "zone", "valid_from", "valid_to", "data_until", "g_per_kwh", "basis", "boundary", "mix", "signal", "gwp",
)  # fmt: skip
_EMBODIED: Final = ("gpu", "product", "kg", "scope", "publisher", "source", "licence")
_REGION: Final = ("provider", "region", "zone", "country")


@dataclass(frozen=True, slots=True)
class Pack:
    """A published table: where it comes from, how many rows were taken over, and the hash (hex SHA-256) of these."""

    name: str
    about: str
    rows: int
    rows_sha256: str
    reference: Reference

    def intensities(self) -> tuple[GridIntensity, ...]:
        """The rows; raises :class:`ConflictError` where the file is not the one that was released."""
        text = _text(f"{self.name}.csv")
        if sha256(text.encode()).hexdigest() != self.rows_sha256:
            raise ConflictError(f"the pack {self.name} was changed after it was released; install Joulegate again")
        table = read_table(text.splitlines(keepends=True), f"{self.name}.csv", _FIELDS, "zone")
        return tuple(_intensity(cells, place, self.reference) for place, cells in table)

    def beside(self) -> tuple[GridIntensity, ...]:
        """The rows for a report that sets this pack beside: a region that it does not know has its country's row.

        The table of regions comes with the package too; nothing is ever posted by these rows.
        """
        rows = self.intensities()
        own = {row.zone for row in rows}
        named = {region.zone: region.country for region in regions() if region.zone not in own}
        stand_ins = [replace(row, zone=zone) for zone, country in named.items() for row in rows if row.zone == country]
        return (*rows, *stand_ins)


@dataclass(frozen=True, slots=True)
class Region:
    """A region of a cloud: its grid zone in the packs, and its country (ISO 3166-1)."""

    provider: str
    region: str
    zone: str
    country: str


@cache
def packs() -> Mapping[str, Pack]:
    """Every pack of this release, by name."""
    listed = json.loads(_text("packs.json"))["packs"]
    return {row["name"]: _pack(row) for row in listed}


def pack_named(name: str) -> Pack:
    """The pack of this name; raises :class:`NotFoundError`."""
    if name not in packs():
        raise NotFoundError(f"there is no pack {name!r}; there are {', '.join(packs())}")
    return packs()[name]


@cache
def regions() -> tuple[Region, ...]:
    """The regions of AWS, Azure and Google Cloud."""
    table = read_table(_text("regions.csv").splitlines(keepends=True), "regions.csv", _REGION, "region")
    return tuple(Region(**cells) for _, cells in table)


def region_named(provider: str, region: str) -> Region:
    """A region of ``aws``, ``azure`` or ``gcp``; raises :class:`NotFoundError`: no other zone stands in for it."""
    for known in regions():
        if (known.provider, known.region) == (provider, region):
            return known
    raise NotFoundError(f"no region {region!r} of {provider!r} is known; name the grid zone of the site itself")


@cache
def embodied_figures() -> tuple[EmbodiedFigure, ...]:
    """What publishers say of making accelerators; see :mod:`joulegate.core.embodied`."""
    table = read_table(_text("embodied.csv").splitlines(keepends=True), "embodied.csv", _EMBODIED, "gpu")
    return tuple(EmbodiedFigure(ug=parse_whole(cells.pop("kg"), UG_PER_KG, place), **cells) for place, cells in table)


@cache
def embodied_sha256() -> str:
    """The hash (hex) of the table of :func:`embodied_figures`, for a report to name."""
    return sha256(_text("embodied.csv").encode()).hexdigest()


def _pack(row: Mapping[str, Any]) -> Pack:
    parts = ("dataset", "version", "publisher", "licence", "source", "attribution", "sha256")
    reference = Reference(**{part: row[part] for part in parts})
    return Pack(row["name"], row["about"], row["rows"], row["rows_sha256"], reference)


def _intensity(cells: Mapping[str, str], place: str, reference: Reference) -> GridIntensity:
    return GridIntensity(
        zone=cells["zone"],
        valid_from=parse_instant(cells["valid_from"], place),
        valid_to=parse_instant(cells["valid_to"], place),
        ug_per_kwh=parse_whole(cells["g_per_kwh"], UG_PER_G, place),
        basis=EmissionBasis(cells["basis"]),
        boundary=cells["boundary"],
        mix=cells["mix"],
        signal=cells["signal"],
        gwp=cells["gwp"],
        reference=reference,
        data_until=parse_instant(cells["data_until"], place),
    )


def _text(name: str) -> str:
    return files("joulegate").joinpath(_FOLDER, name).read_text(encoding="utf-8")

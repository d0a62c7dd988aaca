"""Bodies of the HTTP API, version 1: dated intensities, prices, sites and instruments. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from joulegate.core.footprint import EmissionBasis, Ownership, PriceRule
from joulegate.core.instruments import InstrumentKind
from joulegate.schema import STRICT, Count, Currency, Items, Line, Quantity, Text, Validity, Word


@dataclass(frozen=True, slots=True)
class ReferenceBody:
    """Where a row comes from; nothing is taken without it."""

    __pydantic_config__ = STRICT
    dataset: Line
    version: Line
    publisher: Line
    licence: Line
    source: Annotated[str, Text(1_000)]
    attribution: Annotated[str, Text(1_000)] | None = None
    sha256: Annotated[str, Text(64, "^[0-9a-f]{64}$")] | None = None


@dataclass(frozen=True, slots=True)
class IntensityBody:
    """Carbon intensity of a grid zone between two instants."""

    __pydantic_config__ = STRICT
    zone: Line
    valid_from: Validity
    valid_to: Validity
    ug_per_kwh: Annotated[int, Quantity(0, 10**10)]
    basis: EmissionBasis
    boundary: Word
    mix: Word
    signal: Word
    gwp: Word
    reference: ReferenceBody
    data_until: Validity | None = None


@dataclass(frozen=True, slots=True)
class PriceBody:
    """Micros of a currency for a GPU-hour or for a kWh, between two instants, all day or in some hours of it."""

    __pydantic_config__ = STRICT
    rule: PriceRule
    currency: Currency
    micros_per_unit: Annotated[int, Quantity(0, 10**12)]
    valid_from: Validity
    valid_to: Validity
    reference: ReferenceBody
    gpu_model: Line | None = None
    zone: Line | None = None
    ownership: Ownership | None = None
    from_hour: Annotated[int, Count(0, 23)] | None = None
    to_hour: Annotated[int, Count(1, 24)] | None = None
    timezone: Line | None = None


@dataclass(frozen=True, slots=True)
class SiteBody:
    """A place with its grid zone, its power usage effectiveness (millionths, 1 or more), its water and its owner."""

    __pydantic_config__ = STRICT
    name: Line
    zone: Line
    pue_ppm: Annotated[int, Count(1_000_000, 10_000_000)]
    pue_category: Word
    valid_from: Validity
    valid_to: Validity
    reference: ReferenceBody
    ownership: Ownership | None = None
    wue_ul_per_kwh: Annotated[int, Quantity(0, 10**9)] | None = None
    wue_category: Word | None = None


@dataclass(frozen=True, slots=True)
class InstrumentBody:
    """An amount of electricity that certificates or a contract cover, in a zone between two instants."""

    __pydantic_config__ = STRICT
    kind: InstrumentKind
    name: Line
    zone: Line
    valid_from: Validity
    valid_to: Validity
    energy_mj: Annotated[int, Quantity(1, 10**18)]
    ug_per_kwh: Annotated[int, Quantity(0, 10**10)]
    evidence: Annotated[str, Text(1_000)]
    reference: ReferenceBody


@dataclass(frozen=True, slots=True)
class FactorsBody:
    """``PUT /v1/factors``: a dated set, added as a whole."""

    __pydantic_config__ = STRICT
    rows: Annotated[tuple[IntensityBody, ...], Items(10_000)]


@dataclass(frozen=True, slots=True)
class PricesBody:
    """``PUT /v1/prices``: a dated set, added as a whole."""

    __pydantic_config__ = STRICT
    rows: Annotated[tuple[PriceBody, ...], Items(10_000)]


@dataclass(frozen=True, slots=True)
class SitesBody:
    """``PUT /v1/sites``: a dated set, added as a whole."""

    __pydantic_config__ = STRICT
    rows: Annotated[tuple[SiteBody, ...], Items(10_000)]


@dataclass(frozen=True, slots=True)
class InstrumentsBody:
    """``PUT /v1/instruments``: a dated set, added as a whole."""

    __pydantic_config__ = STRICT
    rows: Annotated[tuple[InstrumentBody, ...], Items(10_000)]

"""Whose electricity a run used, as the GHG Protocol asks: the category that follows from who owns the machines.

The category of a figure is derived by a rule, and the rule's id is printed. Which consolidation approach an
organisation chose is its own to say: where the category depends on it, the rule says both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from joulegate.core.footprint import Ownership
from joulegate.core.metering import Boundary
from joulegate.core.tallies import Slice, totals_of

RULES: Final[Mapping[Ownership | None, tuple[str, str]]] = {
    Ownership.OWNED: ("own-machines", "Scope 2"),
    Ownership.COLO: ("colocation", "Scope 2 where you control the machines, else Scope 3 category 8"),
    Ownership.LEASED: ("leased-machines", "Scope 2 where you control the machines, else Scope 3 category 8"),
    Ownership.CLOUD_IAAS: ("cloud", "Scope 3 category 1"),
    Ownership.API: ("managed-api", "Scope 3 category 1"),
    None: ("not-told", "unknown: the site does not say who owns the machines"),
}
"""GHG Protocol, Scope 2 Guidance (2015), chapter 5, and Corporate Value Chain Standard (2011), categories 1 and 8."""


@dataclass(frozen=True, slots=True)
class Category:
    """What lies in one category at one boundary; None is known of nothing in it."""

    boundary: Boundary
    ownership: Ownership | None
    rule: str
    category: str
    energy_mj: int | None
    carbon_location_ug: int | None
    carbon_market_ug: int | None
    slices: int


def categories_of(slices: Iterable[Slice]) -> tuple[Category, ...]:
    """One row for each ownership and boundary that occurs; every slice is in one row."""
    by: dict[Ownership | None, list[Slice]] = {}
    for part in slices:
        by.setdefault(part.rates.site.ownership if part.rates.site else None, []).append(part)
    return tuple(
        Category(
            boundary=total.boundary,
            ownership=ownership,
            rule=RULES[ownership][0],
            category=RULES[ownership][1],
            energy_mj=total.energy_mj,
            carbon_location_ug=total.carbon_location_ug,
            carbon_market_ug=total.carbon_market_ug,
            slices=total.slices,
        )
        for ownership in sorted(by, key=lambda each: each or "")
        for total in totals_of(by[ownership])
    )

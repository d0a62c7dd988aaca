"""Market-based carbon: instruments first, the residual mix for the rest, and what nobody knows stays unknown."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulegate.core.errors import InvalidInputError
from joulegate.core.footprint import EmissionBasis, Rates
from joulegate.core.instruments import Instrument, InstrumentKind, MarketBased, market_based
from joulegate.core.periods import QUARTER, Period
from joulegate.core.tallies import Slice
from joulegate.core.units import MJ_PER_KWH
from tests.plugin.core.audited import NO_RATES, NOON, RATES, REFERENCE, fact, record

assert RATES.location is not None
assert RATES.site is not None
AT_ONE = replace(RATES.site, pue_ppm=1_000_000)
RESIDUAL = replace(RATES.location, basis=EmissionBasis.MARKET, mix="residual", ug_per_kwh=700_000_000)
BOTH = replace(RATES, site=AT_ONE, market=RESIDUAL)
DAY = Period(NOON.replace(hour=0), NOON.replace(hour=0) + timedelta(days=1))


def instrument(
    kwh: float, name: str = "GO-1", zone: str = "DE", since: datetime = DAY.start, until: datetime = DAY.end, g: int = 0
) -> Instrument:
    mj, ug = int(kwh * MJ_PER_KWH), g * 1_000_000
    return Instrument(InstrumentKind.CERTIFICATE, name, zone, since, until, mj, ug, "statement 7", REFERENCE)


def used(*kwh: float, rates: Rates = BOTH) -> list[Slice]:
    return list(fact(record("a", [int(amount * MJ_PER_KWH) for amount in kwh]), rates).slices)


def sums(of: MarketBased) -> tuple[float, float, float]:
    return of.covered_mj / MJ_PER_KWH, of.residual_mj / MJ_PER_KWH, of.unknown_mj / MJ_PER_KWH


def test_certificates_cover_their_amount_and_the_residual_mix_prices_the_rest() -> None:
    got = market_based(used(3, 1), [instrument(3, g=10)], DAY)
    assert sums(got) == (3, 1, 0)
    assert got.carbon_ug == 3 * 10_000_000 + 700_000_000
    (use,) = got.uses
    assert (use.amount_mj, use.used_mj, use.carbon_ug) == (3 * MJ_PER_KWH, 3 * MJ_PER_KWH, 30_000_000)


def test_without_a_residual_mix_the_rest_is_unknown_and_the_location_does_not_stand_in() -> None:
    rates = replace(BOTH, market=None)
    got = market_based(used(2, rates=rates), [instrument(0.5)], DAY)
    assert sums(got) == (0.5, 0, 1.5)
    assert got.carbon_ug == 0
    assert market_based(used(2, rates=rates), [], DAY).carbon_ug is None


def test_an_instrument_covers_its_own_zone_and_time_alone() -> None:
    elsewhere = instrument(9, "FR", zone="FR")
    tomorrow = instrument(9, "later", since=DAY.end, until=DAY.end + timedelta(days=1))
    got = market_based(used(1), [elsewhere, tomorrow], DAY)
    assert sums(got) == (0, 1, 0)
    (use,) = got.uses
    assert (use.instrument.name, use.used_mj) == ("FR", 0), "what lay in the period is told, used or not"


def test_electricity_is_counted_at_the_facilitys_meter() -> None:
    got = market_based(used(1, rates=replace(BOTH, site=replace(AT_ONE, pue_ppm=1_500_000))), [], DAY)
    assert got.facility_energy_mj == MJ_PER_KWH * 3 // 2
    homeless = market_based(used(1, rates=NO_RATES), [instrument(5)], DAY)
    assert (homeless.facility_energy_mj, homeless.unplaced_mj, homeless.carbon_ug) == (0, MJ_PER_KWH, None)


@given(
    st.integers(1, 10**13),
    st.lists(st.integers(0, 365 * 96), min_size=1, max_size=6),
)
def test_the_parts_of_periods_that_meet_are_the_whole_instrument(mj: int, cuts: list[int]) -> None:
    year = Period(DAY.start, DAY.start + timedelta(days=365))
    bought = replace(instrument(1, until=year.end), energy_mj=mj)
    bounds = [year.start, *(year.start + cut * QUARTER for cut in sorted(cuts)), year.end]
    assert sum(bought.amount_in(Period(a, b)) for a, b in pairwise(bounds)) == mj


@settings(max_examples=30)
@given(
    st.lists(st.integers(0, 10**10), min_size=1, max_size=12),
    st.lists(st.integers(1, 10**10), max_size=4),
)
def test_energy_is_conserved_and_nothing_is_covered_twice(energies: list[int], amounts: list[int]) -> None:
    slices = list(fact(record("a", [*energies]), BOTH).slices)
    bought = [replace(instrument(1, f"GO-{n}"), energy_mj=mj) for n, mj in enumerate(amounts)]
    got = market_based(slices, bought, DAY)
    assert got.covered_mj + got.residual_mj + got.unknown_mj == got.facility_energy_mj == sum(energies)
    assert got.covered_mj == min(sum(amounts), sum(energies))
    assert all(0 <= use.used_mj <= use.amount_mj for use in got.uses)
    assert market_based(slices[::-1], bought[::-1], DAY) == got, "whatever the order"


def test_an_instrument_of_nothing_is_none() -> None:
    with pytest.raises(InvalidInputError, match="more than nothing"):
        instrument(0)

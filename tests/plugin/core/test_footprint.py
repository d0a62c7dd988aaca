"""Pricing: exact, dated, independent of batching; what is unknown stays unknown."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from joulegate.core.errors import InvalidInputError
from joulegate.core.footprint import (
    EmissionBasis,
    GridIntensity,
    Ownership,
    Price,
    PriceRule,
    RateBook,
    Reference,
    Site,
    carbon_of,
    price_at,
)
from joulegate.core.units import MJ_PER_KWH, NS_PER_HOUR, Carbon, Energy, Money

SOURCE = Reference("test rows", "1", "nobody", "CC0-1.0", "this file")
T0 = datetime(2026, 1, 1, tzinfo=UTC)
T1 = datetime(2026, 7, 1, tzinfo=UTC)
T2 = datetime(2027, 1, 1, tzinfo=UTC)


def intensity(
    zone: str = "DE", since: datetime = T0, until: datetime = T2, ug_per_kwh: int = 400_000_000
) -> GridIntensity:
    return GridIntensity(
        zone,
        since,
        until,
        ug_per_kwh,
        EmissionBasis.LOCATION,
        "lifecycle",
        "production",
        "average",
        "AR5",
        SOURCE,
    )


def price(rule: PriceRule, micros: int, model: str | None = None, zone: str | None = None) -> Price:
    return Price(rule, "EUR", micros, T0, T2, model, zone, SOURCE)


SITE = Site("berlin", "DE", 1_200_000, "category 1", T0, T2, SOURCE)


def test_one_kwh_at_400_g_and_pue_1_2_is_exactly_480_g() -> None:
    assert carbon_of(Energy(MJ_PER_KWH), 1_200_000, 400_000_000) == Carbon(480_000_000)


def test_electricity_is_paid_at_the_facilitys_meter_and_gpu_hours_by_the_clock() -> None:
    kwh = Energy(MJ_PER_KWH)
    by_kwh = RateBook((intensity(),), (price(PriceRule.ELECTRICITY, 250_000),), (SITE,)).rates_at("berlin", "A100", T1)
    by_hour = RateBook((intensity(),), (price(PriceRule.GPU_HOURS, 2_000_000),), (SITE,)).rates_at("berlin", "A100", T1)
    assert by_kwh.apply(kwh, NS_PER_HOUR).cost == Money(300_000, "EUR")
    assert by_hour.apply(kwh, NS_PER_HOUR // 2).cost == Money(1_000_000, "EUR")


def test_gpu_hours_are_paid_even_where_energy_was_not_measured() -> None:
    book = RateBook((intensity(),), (price(PriceRule.GPU_HOURS, 2_000_000),), (SITE,))
    footprint = book.rates_at("berlin", None, T1).apply(None, NS_PER_HOUR)
    assert footprint.cost == Money(2_000_000, "EUR")
    assert footprint.energy is None
    assert footprint.carbon_location is None


def test_law_2_an_unknown_site_zone_factor_or_price_stays_unknown() -> None:
    nothing = RateBook((), (), ()).rates_at("berlin", None, T1).apply(Energy(5), 1)
    assert (nothing.carbon_location, nothing.carbon_market, nothing.cost) == (None, None, None)
    elsewhere = RateBook((intensity("FR"),), (), (SITE,)).rates_at("berlin", None, T1).apply(Energy(5), 1)
    assert elsewhere.carbon_location is None


def test_the_row_in_force_is_the_latest_that_holds_the_instant() -> None:
    old, new = intensity(ug_per_kwh=400), intensity(since=T1, ug_per_kwh=300)
    book = RateBook((new, old), (), (SITE,))
    assert book.rates_at("berlin", None, T1 - timedelta(minutes=15)).location == old
    assert book.rates_at("berlin", None, T1).location == new
    assert book.rates_at("berlin", None, T2).location is None


def test_the_more_specific_price_wins() -> None:
    general, exact = (
        price(PriceRule.GPU_HOURS, 1),
        price(PriceRule.GPU_HOURS, 2, model="A100", zone="DE"),
    )
    assert price_at([general, exact], "DE", "A100", T1) == exact
    assert price_at([general, exact], "FR", "A100", T1) == general


@given(
    st.lists(st.integers(0, 10**10), min_size=1, max_size=30),
    st.integers(10**6, 3 * 10**6),
    st.integers(0, 10**9),
)
def test_law_7_cumulative_charges_do_not_depend_on_batching(parts: list[int], pue: int, rate: int) -> None:
    posted, cumulative = 0, 0
    for part in parts:
        cumulative += part
        posted += carbon_of(Energy(cumulative), pue, rate).ug - posted
    assert posted == carbon_of(Energy(sum(parts)), pue, rate).ug


def test_a_marginal_rate_prices_nothing() -> None:
    marginal = replace(intensity(), signal="srmer")
    book = RateBook((marginal,), (), (SITE,))
    assert book.rates_at("berlin", None, T1).location is None


@given(st.integers(0, 23), st.integers(1, 24), st.integers(0, 365 * 96))
def test_a_price_of_hours_and_its_complement_share_every_quarter_of_a_year(begin: int, end: int, quarter: int) -> None:
    assume(begin != end and not (begin == 0 and end == 24))
    inside = replace(price(PriceRule.GPU_HOURS, 1), from_hour=begin, to_hour=end, timezone="Europe/Berlin")
    outside = replace(inside, from_hour=end % 24, to_hour=begin or 24)
    instant = T0 + timedelta(minutes=15 * quarter)
    assert inside.in_hours(instant) != outside.in_hours(instant)


def test_the_most_specific_price_is_by_model_then_ownership_then_zone_then_hour() -> None:
    anything = price(PriceRule.GPU_HOURS, 1)
    night = replace(price(PriceRule.GPU_HOURS, 2), from_hour=22, to_hour=6)
    german = price(PriceRule.GPU_HOURS, 3, zone="DE")
    rented = replace(price(PriceRule.GPU_HOURS, 4), ownership=Ownership.CLOUD_IAAS)
    exact = price(PriceRule.GPU_HOURS, 5, model="A100-SXM4-80GB")
    rows = [anything, night, german, rented, exact]
    at_night, at_noon = T1 + timedelta(hours=23), T1 + timedelta(hours=12)
    assert price_at(rows, "DE", "NVIDIA A100-SXM4-80GB", at_night, Ownership.CLOUD_IAAS) == exact
    assert price_at(rows, "DE", "H100", at_night, Ownership.CLOUD_IAAS) == rented
    assert price_at(rows, "DE", "H100", at_night, Ownership.OWNED) == german
    assert price_at(rows, "FR", "H100", at_night, None) == night, "an unknown ownership gets no special price"
    assert price_at(rows, "FR", "H100", at_noon, None) == anything


@pytest.mark.parametrize(
    ("begin", "end", "zone"),
    [(1, None, None), (None, 2, None), (3, 3, None), (0, 25, None), (None, None, "UTC"), (1, 2, "Moon")],
)
def test_hours_that_are_none_are_refused(begin: int | None, end: int | None, zone: str | None) -> None:
    with pytest.raises(InvalidInputError):
        replace(price(PriceRule.GPU_HOURS, 1), from_hour=begin, to_hour=end, timezone=zone)


def test_the_site_tells_its_category_and_its_water() -> None:
    hall = replace(SITE, pue_category="2", wue_ul_per_kwh=1_800_000, ownership=Ownership.COLO)
    assert hall.iso_category == 2
    assert hall.water_ul(Energy(MJ_PER_KWH // 2)) == 900_000
    assert SITE.iso_category == 1
    assert replace(SITE, pue_category="survey").iso_category is None
    assert SITE.water_ul(Energy(5)) is None, "not known is not zero"


@pytest.mark.parametrize(("day", "stale"), [("2028-01-01", False), ("2028-01-02", True)])
def test_a_factor_is_stale_24_months_after_its_data(day: str, stale: bool) -> None:
    row = replace(intensity(), data_until=T0)
    assert row.is_stale_at(datetime.fromisoformat(f"{day}T00:00:00+00:00")) == stale
    assert intensity().is_stale_at(T2 + timedelta(days=366)), "where no end is told, the begin of the row counts"

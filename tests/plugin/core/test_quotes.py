"""Quotes: the parts sum to the whole, each is priced where it falls, and what no row prices stays unknown."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.core.encoding import decode, encode
from joulegate.core.errors import InvalidInputError
from joulegate.core.footprint import EmissionBasis, GridIntensity, Price, PriceRule, RateBook, Reference, Site
from joulegate.core.periods import QUARTER, quarter_of
from joulegate.core.quotes import LONGEST_NS, Basis, Estimate, Quote, quote
from joulegate.core.units import Money

START = datetime(2026, 11, 23, 8, 7, tzinfo=UTC)
HOUR = 3_600 * 10**9
SOURCE = Reference("d", "1", "p", "CC-BY-4.0", "https://example.org")
ALWAYS = (datetime(2020, 1, 1, tzinfo=UTC), datetime(2040, 1, 1, tzinfo=UTC))
BASIS = Basis("prior", 0, "nameplate")


def intensity(ug_per_kwh: int, start: datetime, end: datetime) -> GridIntensity:
    return GridIntensity(
        "DE", start, end, ug_per_kwh, EmissionBasis.LOCATION, "direct", "production", "average", "AR5", SOURCE
    )


def gpu_hour(micros: int, model: str | None = None, currency: str = "EUR") -> Price:
    return Price(PriceRule.GPU_HOURS, currency, micros, *ALWAYS, model, None, SOURCE)


SITE = Site("default", "DE", 1_200_000, "reported", *ALWAYS, SOURCE)
BOOK = RateBook((intensity(400_000_000, *ALWAYS),), (gpu_hour(2_000_000),), (SITE,))
NO_RATES = RateBook((), (), ())


def of(energy_mj: int, duration_ns: int, book: RateBook = BOOK, boards: int = 1) -> Quote:
    return quote([Estimate("A100", Fraction(boards), energy_mj)], book, "default", START, duration_ns, BASIS)


@given(st.integers(0, 10**13), st.integers(1_000, 3 * 24 * HOUR))
def test_the_quarters_sum_to_the_energy_and_meet_without_gaps(energy_mj: int, duration_ns: int) -> None:
    found = of(energy_mj, duration_ns)
    assert found.energy_mj == energy_mj
    starts = [quarter.start for quarter in found.quarters]
    assert starts[0] == START
    assert all(starts[index + 1] == quarter_of(start) + QUARTER for index, start in enumerate(starts[:-1]))
    assert starts[-1] < START + timedelta(microseconds=max(1, duration_ns // 1_000))


def test_energy_carbon_and_money_are_those_of_the_rates() -> None:
    found = of(3_600_000_000, HOUR, boards=2)
    assert found.carbon_ug == 480_000_000
    assert found.cost == Money(4_000_000, "EUR")
    assert found.references == (SOURCE,)
    assert [quarter.energy_mj for quarter in found.quarters] == [
        480_000_000,
        900_000_000,
        900_000_000,
        900_000_000,
        420_000_000,
    ]


def test_a_rate_that_changes_on_the_way_prices_what_falls_after_it() -> None:
    turn = datetime(2026, 11, 23, 8, 30, tzinfo=UTC)
    rows = (intensity(400_000_000, ALWAYS[0], turn), intensity(0, turn, ALWAYS[1]))
    found = of(3_600_000_000, HOUR, RateBook(rows, (), (SITE,)))
    assert [quarter.carbon_ug for quarter in found.quarters] == [64_000_000, 120_000_000, 0, 0, 0]


def test_what_no_row_prices_is_unknown_and_not_zero() -> None:
    found = of(10, HOUR, NO_RATES)
    assert (found.energy_mj, found.carbon_ug, found.cost, found.references) == (10, None, None, ())
    until_noon = intensity(1, ALWAYS[0], datetime(2026, 11, 23, 8, 30, tzinfo=UTC))
    partly = of(10, HOUR, RateBook((until_noon,), (), (SITE,)))
    assert partly.quarters[0].carbon_ug is not None
    assert partly.carbon_ug is None


def test_boards_of_several_models_are_added_and_unknown_money_stays_unknown() -> None:
    prices = (gpu_hour(1_000_000, "A100"), gpu_hour(3_000_000, "H100"))
    book = RateBook((), prices, (SITE,))
    both = [Estimate("A100", Fraction(1), 100), Estimate("H100", Fraction(1, 2), 50)]
    found = quote(both, book, "default", START, HOUR, BASIS)
    assert found.energy_mj == 150
    assert found.cost == Money(2_500_000, "EUR")
    unpriced = RateBook((), prices[:1], (SITE,))
    assert quote(both, unpriced, "default", START, HOUR, BASIS).cost is None
    mixed = RateBook((), (prices[0], gpu_hour(1, "H100", "USD")), (SITE,))
    assert quote(both, mixed, "default", START, HOUR, BASIS).cost is None


@pytest.mark.parametrize("duration_ns", [0, -1, LONGEST_NS + 1])
def test_no_time_and_endless_time_cannot_be_quoted(duration_ns: int) -> None:
    with pytest.raises(InvalidInputError):
        of(10, duration_ns)


@given(st.integers(0, 10**12), st.integers(1_000, 5 * HOUR))
def test_a_quote_is_kept_exactly(energy_mj: int, duration_ns: int) -> None:
    found = of(energy_mj, duration_ns)
    assert decode(Quote, encode(found)) == found

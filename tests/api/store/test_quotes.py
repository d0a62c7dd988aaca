"""A frozen quote is kept as it was given."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from joulegate.core.quotes import QuarterAmount, Quote
from joulegate.core.units import Money
from joulegate_api.store.quotes import quote_hash, read_quote, write_quote
from tests.api.store.examples import REFERENCE

INSTANTS = st.datetimes(datetime(1990, 1, 1), datetime(2200, 1, 1)).map(lambda at: at.replace(tzinfo=UTC))  # noqa: DTZ001
AMOUNT = st.integers(0, 2**62)
QUARTERS = st.builds(
    QuarterAmount,
    INSTANTS,
    AMOUNT,
    st.none() | AMOUNT,
    st.none() | st.builds(Money, AMOUNT, st.sampled_from(["EUR", "USD"])),
)


@given(st.lists(QUARTERS, max_size=5), st.text(max_size=20))
def test_a_quote_is_read_back_equal(quarters: list[QuarterAmount], detail: str) -> None:
    quote = Quote(tuple(quarters), (REFERENCE, REFERENCE), "history", 3, detail)
    assert read_quote(write_quote(quote)) == quote


def test_every_change_of_a_quote_changes_its_hash() -> None:
    at = datetime(2026, 11, 23, tzinfo=UTC)
    one = Quote((QuarterAmount(at, 1, None, None),), (), "prior", 0, "x")
    other = Quote((QuarterAmount(at + timedelta(microseconds=1), 1, None, None),), (), "prior", 0, "x")
    assert quote_hash(write_quote(one)) != quote_hash(write_quote(other))

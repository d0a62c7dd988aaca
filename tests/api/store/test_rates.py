"""Rates are dated, added and never changed."""

from __future__ import annotations

import pytest

from joulegate.core.errors import ConflictError
from joulegate.core.footprint import RateBook
from joulegate_api.store import Store
from tests.api.store.examples import intensity, price, site


def test_a_set_is_read_back_as_it_was_put(store: Store) -> None:
    intensities = [intensity(zone="FR"), intensity(), intensity(version="2026-2")]
    assert store.rates.put_intensities(intensities, "admin").added == 3
    assert store.rates.put_prices([price(), price(gpu_model="H100")], "admin").added == 2
    assert store.rates.put_sites([site()], "admin").added == 1
    book = store.rates.book()
    assert isinstance(book, RateBook)
    assert set(book.intensities) == set(intensities)
    assert set(book.prices) == {price(), price(gpu_model="H100")}
    assert book.sites == (site(),)


def test_a_repeat_changes_nothing(store: Store) -> None:
    first = store.rates.put_prices([price()], "admin")
    again = store.rates.put_prices([price()], "admin")
    assert (again.set_id, again.added, again.repeated) == (first.set_id, 0, 1)
    more = store.rates.put_prices([price(), price(zone="DE")], "admin")
    assert (more.added, more.repeated) == (1, 1)


def test_a_row_of_the_same_identity_with_other_values_is_a_conflict(store: Store) -> None:
    store.rates.put_intensities([intensity()], "admin")
    with pytest.raises(ConflictError, match="new version"):
        store.rates.put_intensities([intensity(zone="FR"), intensity(1)], "admin")
    assert store.rates.book().intensities == (intensity(),)


def test_a_set_that_contradicts_itself_is_a_conflict(store: Store) -> None:
    with pytest.raises(ConflictError):
        store.rates.put_sites([site(), site(pue_ppm=1_500_000)], "admin")
    assert store.rates.book().sites == ()


def test_another_process_sees_new_rates_at_once(store: Store, database_url: str) -> None:
    assert store.rates.book().prices == ()
    other = Store.open(database_url)
    other.rates.put_prices([price()], "admin")
    other.close()
    assert store.rates.book().prices == (price(),)


@pytest.mark.slow
def test_thousands_of_rows_are_one_set(store: Store) -> None:
    rows = [intensity(zone=f"Z-{number}") for number in range(3_000)]
    assert store.rates.put_intensities(rows, "admin").added == 3_000
    assert store.rates.put_intensities(rows, "admin").repeated == 3_000

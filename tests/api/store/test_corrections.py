"""What was posted is reversed and replaced, never edited away."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from joulegate.core.budgets import Limits
from joulegate.core.errors import NotFoundError
from joulegate.core.units import Carbon, Money, Unit
from joulegate_api.store import HoldState, ReasonCode, Store
from tests.api.store.examples import (
    FAR_AHEAD,
    LONG_AGO,
    MORNING,
    QUARTER,
    Clock,
    budget,
    demand,
    device,
    intensity,
    price,
    quote,
    record,
    request,
    site,
)
from tests.api.store.test_windows import batch, window

ONE_KWH = 3_600_000_000


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    opened = Store.open(database_url, clock=Clock())
    opened.budgets.put(budget(limits=Limits(10**12, 10**12, 10**12, "EUR")), "admin")
    yield opened
    opened.close()


def furnish(store: Store) -> None:
    store.rates.put_intensities([intensity()], "admin")
    store.rates.put_prices([price()], "admin")
    store.rates.put_sites([site()], "admin")


def standing(store: Store, unit: Unit = Unit.MJ) -> tuple[int, int]:
    found = store.budgets.balance("vision").balances[unit]
    return found.posted, found.pending


def test_a_reversed_record_leaves_its_balances_as_they_were(store: Store) -> None:
    furnish(store)
    store.ledger.decide(request("run", quote(100, carbon_ug=5, cost=Money(5, "EUR"))))
    store.records.accept(record("a", devices=[device("GPU-1", 60)], run_uid="run"), "a", "somebody")
    assert standing(store) == (60, 40)
    assert store.corrections.reverse("a", ReasonCode.DUPLICATE, "admin")
    assert not store.corrections.reverse("a", ReasonCode.DUPLICATE, "admin")
    assert standing(store) == (0, 100)
    assert standing(store, Unit.UG)[0] == 0
    assert store.trial_balance.run().differences == ()
    with pytest.raises(NotFoundError):
        store.corrections.reverse("nothing", ReasonCode.DUPLICATE, "admin")


def test_what_had_no_rate_is_priced_once_when_one_comes_and_its_hold_closes(store: Store) -> None:
    store.ledger.decide(request("run", quote(ONE_KWH, carbon_ug=7, cost=Money(9, "EUR"))))
    store.records.accept(record("a", devices=[device("GPU-1", ONE_KWH)], run_uid="run"), "a", "somebody")
    store.holds.release("local", "run", "operator")
    assert (standing(store, Unit.UG), standing(store, Unit.MICROS)) == ((0, 7), (0, 9))
    assert store.pricing.price_unpriced() == 0
    furnish(store)
    assert store.pricing.price_unpriced() == 1
    assert store.pricing.price_unpriced() == 0
    assert (standing(store, Unit.UG), standing(store, Unit.MICROS)) == ((480_000_000, 0), (360_000, 0))
    assert store.records.get("a").footprint.carbon_location == Carbon(480_000_000)
    assert [part.state for part in store.holds.get("local", "run")] == [HoldState.CLOSED]
    assert store.trial_balance.run().differences == ()


def test_repricing_is_explicit_and_reverses_and_replaces(store: Store) -> None:
    furnish(store)
    store.records.accept(record("a", devices=[device("GPU-1", ONE_KWH)]), "a", "somebody")
    store.rates.put_intensities([intensity(800_000_000, version="2026-2")], "admin")
    assert store.pricing.price_unpriced() == 0
    assert standing(store, Unit.UG)[0] == 480_000_000
    assert store.pricing.reprice(LONG_AGO, MORNING, "admin", "a better factor") == 0
    assert store.pricing.reprice(LONG_AGO, FAR_AHEAD, "admin", "a better factor") == 1
    assert store.pricing.reprice(LONG_AGO, FAR_AHEAD, "admin", "a better factor") == 0
    assert standing(store, Unit.UG)[0] == 960_000_000
    assert store.corrections.reverse("a", ReasonCode.MISMEASURED, "admin")
    assert (standing(store), standing(store, Unit.UG)) == ((0, 0), (0, 0))
    assert store.trial_balance.run().differences == ()


def test_what_was_reversed_is_not_priced_when_its_rate_comes(store: Store) -> None:
    store.records.accept(record("a", devices=[device("GPU-1", ONE_KWH)]), "a", "somebody")
    store.corrections.reverse("a", ReasonCode.DUPLICATE, "admin")
    furnish(store)
    assert store.pricing.price_unpriced() == 0
    assert store.pricing.reprice(LONG_AGO, FAR_AHEAD, "admin", "a better factor") == 0
    assert [standing(store, unit) for unit in Unit] == [(0, 0)] * 3


def test_a_hold_does_not_wait_for_the_price_of_what_was_reversed(store: Store) -> None:
    store.ledger.decide(request("run", quote(100, carbon_ug=7, cost=Money(9, "EUR"))))
    store.records.accept(record("a", devices=[device("GPU-1", 60)], run_uid="run"), "a", "somebody")
    store.holds.release("local", "run", "operator")
    assert (standing(store, Unit.UG), standing(store, Unit.MICROS)) == ((0, 7), (0, 9))
    store.corrections.reverse("a", ReasonCode.MISMEASURED, "admin")
    assert [part.state for part in store.holds.get("local", "run")] == [HoldState.CLOSED]
    assert [standing(store, unit) for unit in Unit] == [(0, 0)] * 3
    assert store.trial_balance.run().differences == ()


def test_a_hold_does_not_wait_for_the_price_of_what_is_not_charged(store: Store) -> None:
    store.windows.ingest(batch(window(0, pod_uid=None, namespace=None)))  # from now on only windows charge
    store.ledger.decide(request("run", quote(100, carbon_ug=7, cost=Money(9, "EUR"))))
    store.records.accept(record("a", devices=[device("GPU-9", 60)], run_uid="run"), "a", "somebody")
    store.holds.release("local", "run", "operator")
    assert [part.state for part in store.holds.get("local", "run")] == [HoldState.CLOSED]
    assert [standing(store, unit) for unit in Unit] == [(0, 0)] * 3


def test_growth_keeps_pending_what_was_quoted_once_while_nothing_is_priced(store: Store) -> None:
    store.ledger.decide(request("run", quote(100, carbon_ug=100, cost=Money(100, "EUR"))))
    grown = quote(120, carbon_ug=120, cost=Money(120, "EUR"))
    store.ledger.decide(request("run", grown, demand=demand(2)))
    store.records.accept(record("a", devices=[device("GPU-1", 60)], run_uid="run"), "a", "somebody")
    assert [standing(store, unit) for unit in Unit] == [(60, 60), (0, 120), (0, 120)]
    store.holds.release("local", "run", "operator")
    assert [standing(store, unit) for unit in Unit] == [(60, 0), (0, 120), (0, 120)]
    furnish(store)
    store.pricing.price_unpriced()
    assert [part.state for part in store.holds.get("local", "run")] == [HoldState.CLOSED] * 2
    assert store.trial_balance.run().differences == ()


def test_only_the_quarter_hours_of_a_span_are_priced_again(store: Store) -> None:
    furnish(store)
    store.records.accept(record("a", devices=[device("GPU-1", ONE_KWH, ONE_KWH)]), "a", "somebody")
    store.rates.put_intensities([intensity(800_000_000, version="2026-2")], "admin")
    assert store.pricing.rehearse(MORNING, MORNING + QUARTER).records == 1
    assert store.pricing.reprice(MORNING, MORNING + QUARTER, "admin", "a better factor") == 1
    assert standing(store, Unit.UG)[0] == 960_000_000 + 480_000_000
    assert store.pricing.reprice(MORNING + QUARTER, FAR_AHEAD, "admin", "a better factor") == 1
    assert standing(store, Unit.UG)[0] == 2 * 960_000_000
    assert store.trial_balance.run().differences == ()

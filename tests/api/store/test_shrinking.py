"""A smaller demand of the same root gives the difference back, exactly once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from joulegate.core.budgets import Limits
from joulegate.core.errors import NotFoundError
from joulegate.core.units import Money, Unit
from joulegate_api.store import HoldState, Origin, Store
from tests.api.store.examples import QUARTER, Clock, budget, demand, device, quote, record, request

HOUR_NS = 3_600_000_000_000


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(database_url: str, clock: Clock) -> Iterator[Store]:
    opened = Store.open(database_url, clock=clock)
    opened.budgets.put(budget(limits=Limits(10_000)), "admin")
    yield opened
    assert opened.trial_balance.run().differences == ()
    opened.close()


def pending(store: Store, unit: Unit = Unit.MJ) -> int:
    return store.budgets.balance("vision").balances[unit].pending


def test_fewer_boards_hold_less_in_every_unit_and_once(store: Store) -> None:
    store.budgets.put(budget(limits=Limits(10_000, 10_000, 10_000, "EUR")), "admin")
    store.ledger.decide(request(quoted=quote(400, carbon_ug=41, cost=Money(10, "EUR")), demand=demand(4)))
    for _ in range(2):
        store.holds.shrink("local", "root", demand(1), "operator")
        assert [pending(store, unit) for unit in (Unit.MJ, Unit.UG, Unit.MICROS)] == [100, 11, 3]
    assert store.ledger.held("local", "root") == demand(1)


def test_a_demand_that_is_not_smaller_changes_nothing(store: Store) -> None:
    store.ledger.decide(request(quoted=400, demand=demand(2)))
    store.holds.shrink("local", "root", demand(3), "operator")
    store.holds.shrink("local", "root", demand(2), "operator")
    assert pending(store) == 400
    with pytest.raises(NotFoundError):
        store.holds.shrink("local", "nobody", demand(1), "operator")


def test_time_that_is_over_stays_held_until_it_is_measured_and_what_was_drawn_is_not_given_back(
    store: Store, clock: Clock
) -> None:
    store.ledger.decide(request("run", quote(100, 100, 100, 100), demand=demand(2)))
    store.holds.confirm("local", "run", "operator")
    store.records.accept(record("a", devices=[device("GPU-1", 90)], run_uid="run"), "a", "somebody")
    clock.now += QUARTER + timedelta(minutes=1)
    store.holds.shrink("local", "run", demand(1), "operator")
    assert pending(store) == 100 + 100 + 50 + 50 - 90


def test_what_is_drawn_already_is_not_given_back(store: Store) -> None:
    store.ledger.decide(request("run", 400, demand=demand(4)))
    store.records.accept(record("a", devices=[device("GPU-1", 350)], run_uid="run"), "a", "somebody")
    store.holds.shrink("local", "run", demand(1), "operator")
    balance = store.budgets.balance("vision").balances[Unit.MJ]
    assert (balance.posted, balance.pending) == (350, 0)


def test_growing_again_is_decided_again(store: Store) -> None:
    store.ledger.decide(request(quoted=400, demand=demand(4)))
    store.holds.shrink("local", "root", demand(1), "operator")
    assert store.ledger.decide(request(quoted=50, demand=demand(1))).allowed
    assert pending(store) == 100
    assert store.ledger.decide(request(quoted=400, demand=demand(4))).allowed
    assert pending(store) == 400
    store.holds.shrink("local", "root", demand(1), "operator")
    assert pending(store) == 100


def test_a_root_that_grew_and_was_extended_shrinks_as_a_whole(store: Store) -> None:
    store.ledger.decide(request(quoted=100, demand=demand(1)))
    store.ledger.decide(request(quoted=300, demand=demand(3)))
    store.ledger.decide(request(quoted=150, demand=demand(3), origin=Origin.EXTENDED, extension="x"))
    assert pending(store) == 450
    store.holds.shrink("local", "root", demand(2), "operator")
    assert pending(store) == 200 + 100
    assert [part.state for part in store.holds.get("local", "root")] == [
        HoldState.UNCONFIRMED,
        HoldState.UNCONFIRMED,
        HoldState.CONFIRMED,
    ]


def test_less_time_gives_back_the_quarter_hours_after_it(store: Store) -> None:
    store.ledger.decide(request(quoted=quote(10, 20, 30, 40, 50, 60), demand=demand(declared_ns=3 * HOUR_NS // 2)))
    store.holds.shrink("local", "root", demand(declared_ns=HOUR_NS // 2), "operator")
    assert pending(store) == 30


def test_an_ended_hold_does_not_shrink(store: Store) -> None:
    store.ledger.decide(request(quoted=400, demand=demand(4)))
    store.holds.release("local", "root", "operator")
    store.holds.shrink("local", "root", demand(1), "operator")
    assert [part.demand for part in store.holds.get("local", "root")] == [demand(4)]

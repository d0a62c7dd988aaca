"""Holds go from state to state, each change exactly once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from joulegate.core.budgets import Limits, Outcome, Reason
from joulegate.core.errors import NotFoundError
from joulegate.core.units import Money, Unit
from joulegate_api.store import HoldState, Origin, Store
from tests.api.store.examples import (
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


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(database_url: str, clock: Clock) -> Iterator[Store]:
    opened = Store.open(database_url, clock=clock)
    opened.budgets.put(budget(), "admin")
    yield opened
    opened.close()


def pending(store: Store, unit: Unit = Unit.MJ) -> int:
    return store.budgets.balance("vision").balances[unit].pending


def states(store: Store, uid: str = "root") -> list[HoldState]:
    return [part.state for part in store.holds.get("local", uid)]


def test_a_hold_is_confirmed_once_and_stays_pending(store: Store) -> None:
    store.ledger.decide(request(quoted=100))
    assert states(store) == [HoldState.UNCONFIRMED]
    for _ in range(2):
        store.holds.confirm("local", "root", "operator")
        assert states(store) == [HoldState.CONFIRMED]
    assert pending(store) == 100


def test_a_root_without_a_hold_is_not_found(store: Store) -> None:
    for ask in (store.holds.confirm, store.holds.release):
        with pytest.raises(NotFoundError):
            ask("local", "nobody", "operator")


def test_an_expired_hold_gives_back_what_it_held_once(store: Store) -> None:
    store.ledger.decide(request(quoted=100))
    for _ in range(2):
        store.holds.expire("local", "root", {"inventory": "x"})
        assert (states(store), pending(store)) == ([HoldState.EXPIRED], 0)
    assert store.ledger.decide(request(quoted=1_000)).allowed
    assert states(store) == [HoldState.EXPIRED, HoldState.UNCONFIRMED]


def test_a_confirmed_hold_does_not_expire(store: Store) -> None:
    store.ledger.decide(request(quoted=100))
    store.holds.confirm("local", "root", "operator")
    store.holds.expire("local", "root", {})
    assert (states(store), pending(store)) == ([HoldState.CONFIRMED], 100)


def test_growth_is_its_own_unconfirmed_part(store: Store) -> None:
    store.ledger.decide(request(quoted=100, demand=demand(1)))
    store.holds.confirm("local", "root", "operator")
    store.ledger.decide(request(quoted=300, demand=demand(3)))
    assert states(store) == [HoldState.CONFIRMED, HoldState.UNCONFIRMED]
    store.holds.expire("local", "root", {})
    assert (states(store), pending(store)) == ([HoldState.CONFIRMED, HoldState.EXPIRED], 100)


def test_a_new_uid_of_the_same_name_replaces_an_unconfirmed_hold(store: Store) -> None:
    store.ledger.decide(request("old", 800, name="job"))
    assert store.ledger.decide(request("new", 900, name="job"), dry_run=True).allowed
    assert store.ledger.decide(request("new", 900, name="job")).allowed
    assert states(store, "old") == [HoldState.REPLACED]
    assert pending(store) == 900
    store.holds.confirm("local", "new", "operator")
    assert not store.ledger.decide(request("third", 200, name="job")).allowed
    assert states(store, "new") == [HoldState.CONFIRMED]


def test_a_released_hold_gives_back_its_rest_and_closes_when_all_is_priced(store: Store) -> None:
    store.ledger.decide(request(quoted=100))
    store.holds.confirm("local", "root", "operator")
    store.rates.put_intensities([intensity()], "admin")
    store.rates.put_prices([price()], "admin")
    store.rates.put_sites([site()], "admin")
    store.records.accept(record("a", devices=[device("GPU-1", 60)], run_uid="root"), "a", "somebody")
    for _ in range(2):
        store.holds.release("local", "root", "operator")
        assert (states(store), pending(store)) == ([HoldState.CLOSED], 0)
    assert store.budgets.balance("vision").balances[Unit.MJ].posted == 60


def test_carbon_and_money_of_unpriced_energy_stay_pending_as_quoted(store: Store) -> None:
    store.budgets.put(budget(limits=Limits(1_000, 1_000, 1_000, "EUR")), "admin")
    store.ledger.decide(request(quoted=quote(100, 100, carbon_ug=30, cost=Money(20, "EUR"))))
    store.records.accept(record("a", devices=[device("GPU-1", 60)], run_uid="root"), "a", "somebody")
    store.holds.release("local", "root", "operator")
    assert states(store) == [HoldState.RELEASED]
    assert (pending(store), pending(store, Unit.UG), pending(store, Unit.MICROS)) == (0, 30, 20)


def test_a_record_that_comes_after_the_release_is_posted_to_the_same_budgets(store: Store) -> None:
    store.ledger.decide(request(quoted=100))
    store.holds.release("local", "root", "operator")
    store.budgets.close("vision", "admin")
    store.records.accept(record("late", devices=[device("GPU-1", 60)], run_uid="root"), "late", "somebody")
    balance = store.budgets.balance("vision").balances[Unit.MJ]
    assert (balance.posted, balance.pending) == (60, 0)


def test_adopted_work_is_held_even_beyond_the_limit(store: Store) -> None:
    verdict = store.ledger.decide(request(quoted=1_500, origin=Origin.ADOPTED))
    assert (verdict.outcome, verdict.reason) == (Outcome.ALLOW, Reason.ADOPTED)
    assert states(store) == [HoldState.CONFIRMED]
    assert store.budgets.balance("vision").balances[Unit.MJ].debt == 500
    assert store.ledger.decide(request(quoted=1_500, origin=Origin.ADOPTED)) == verdict
    assert pending(store) == 1_500


def test_an_extension_is_decided_on_top_and_once(store: Store) -> None:
    store.ledger.decide(request(quoted=600))
    more = request(quoted=300, origin=Origin.EXTENDED, extension="x-1")
    verdict = store.ledger.decide(more)
    assert verdict.allowed
    assert store.ledger.decide(more) == verdict
    assert pending(store) == 900
    assert not store.ledger.decide(replace(more, extension="x-2")).allowed
    assert pending(store) == 900


def test_a_renewal_that_does_not_fit_is_a_forced_hold_and_says_so(store: Store) -> None:
    store.ledger.decide(request(quoted=600))
    verdict = store.ledger.decide(request(quoted=600, origin=Origin.RENEWED, extension="december"))
    assert not verdict.allowed
    assert verdict.hold
    assert pending(store) == 1_200


def test_balances_as_of_an_instant_follow_every_change(store: Store, clock: Clock) -> None:
    stood = []
    for change in (
        lambda: store.ledger.decide(request("a", 100)),
        lambda: store.holds.confirm("local", "a", "operator"),
        lambda: store.ledger.decide(request("b", 50)),
        lambda: store.holds.expire("local", "b", {}),
        lambda: store.holds.release("local", "a", "operator"),
    ):
        clock.now += timedelta(seconds=1)
        change()
        stood.append((clock.now, pending(store)))
    assert [amount for _, amount in stood] == [100, 100, 150, 100, 0]
    for at, amount in stood:
        assert store.budgets.balance("vision", as_of=at).balances[Unit.MJ].pending == amount

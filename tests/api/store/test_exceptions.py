"""Exceptions relieve their own namespace, need a second person, and expire on every path."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from joulegate.core.binding import Work
from joulegate.core.budgets import Limits, Reason, Scope
from joulegate.core.errors import ConflictError, InvalidInputError, NotFoundError, NotPermittedError
from joulegate.core.units import Unit
from joulegate_api.store import Amounts, BudgetException, HoldRequest, Inventory, ObjectSeen, PodSeen, Store
from tests.api.store.examples import MORNING, QUARTER, Clock, budget, demand, quote, request
from tests.api.store.test_releases import measured
from tests.api.store.test_windows import batch, window


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(database_url: str, clock: Clock) -> Iterator[Store]:
    opened = Store.open(database_url, clock=clock)
    opened.budgets.put(budget(scope=Scope(namespaces=("vision", "speech"))), "admin")
    yield opened
    opened.close()


ASKED = BudgetException(
    exception_id="e-1",
    namespace="vision",
    budgets=("vision",),
    amount=Amounts(500, 0, 0),
    currency=None,
    reason="a deadline",
    ticket="T-1",
    requested_by="ann",
    expires_at=MORNING + timedelta(hours=1),
)


def grant(store: Store, asked: BudgetException = ASKED) -> None:
    store.exceptions.request(asked)
    store.exceptions.approve(asked.exception_id, "bob")


def speech(uid: str, energy_mj: int) -> HoldRequest:
    return request(uid, energy_mj, namespace="speech", work=Work("speech", "training"))


def test_a_request_gives_nothing_before_another_approves_it(store: Store) -> None:
    assert store.exceptions.request(ASKED)
    assert not store.exceptions.request(ASKED)
    assert not store.ledger.decide(request("a", 1_200)).allowed
    with pytest.raises(NotPermittedError):
        store.exceptions.approve("e-1", "ann")
    approved = store.exceptions.approve("e-1", "bob")
    assert (approved.approved_by, approved.approved_at) == ("bob", MORNING)
    verdict = store.ledger.decide(request("a", 1_200))
    assert (verdict.allowed, verdict.reason, verdict.available) == (True, Reason.EXCEPTION_GRANTED, 1_500)
    assert store.exceptions.approve("e-1", "bob") == approved
    with pytest.raises(ConflictError):
        store.exceptions.approve("e-1", "carol")
    balance = store.budgets.balance("vision").balances[Unit.MJ]
    assert (balance.base, balance.exceptions, balance.limit, balance.available) == (1_000, 500, 1_500, 300)


def test_the_amount_serves_its_own_namespace_only(store: Store) -> None:
    grant(store)
    refused = store.ledger.decide(speech("s", 1_100))
    assert (refused.allowed, refused.available) == (False, 1_000)
    assert store.ledger.decide(request("v", 1_300)).allowed
    assert store.ledger.decide(speech("s", 1)).available == 0
    assert store.ledger.decide(request("w", 200)).allowed
    assert not store.ledger.decide(request("x", 1)).allowed


def test_at_expiry_the_used_part_stays(store: Store, clock: Clock) -> None:
    grant(store)
    store.ledger.decide(request("a", 1_200))
    clock.now += timedelta(hours=1)
    assert store.budgets.balance("vision").balances[Unit.MJ].exceptions == 200
    assert not store.ledger.decide(request("b", 1), dry_run=True).allowed
    refused = store.ledger.decide(request("b", 1))
    assert (refused.allowed, refused.available) == (False, 0)
    balance = store.budgets.balance("vision").balances[Unit.MJ]
    assert (balance.exceptions, balance.debt) == (200, 0)


def test_what_is_given_back_before_expiry_is_not_used(store: Store, clock: Clock) -> None:
    grant(store)
    store.ledger.decide(request("a", 1_200))
    store.holds.expire("local", "a", {})
    clock.now += timedelta(hours=1)
    assert store.ledger.decide(request("b", 1_001)).available == 1_000


def test_an_exception_counts_on_each_budget_that_it_names(store: Store) -> None:
    store.budgets.put(budget("company", scope=None), "admin")
    store.budgets.put(replace(store.budgets.get("vision"), parent="company"), "admin")
    grant(store)
    assert store.ledger.decide(request("a", 1_200)).budget == "company"
    grant(store, replace(ASKED, exception_id="e-2", budgets=("company",)))
    assert store.ledger.decide(request("a", 1_200)).allowed


@pytest.mark.parametrize(
    "wrong",
    [
        {"amount": Amounts(0, 0, 0)},
        {"expires_at": MORNING},
        {"budgets": ("nothing",)},
        {"budgets": ()},
        {"namespace": "elsewhere"},
    ],
)
def test_a_request_that_makes_no_sense_is_refused(store: Store, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        store.exceptions.request(replace(ASKED, **wrong))
    assert store.exceptions.list() == ()


def test_the_same_id_with_other_content_is_a_conflict(store: Store) -> None:
    store.exceptions.request(ASKED)
    with pytest.raises(ConflictError):
        store.exceptions.request(replace(ASKED, reason="another"))


def test_an_exception_that_ran_out_is_not_approved(store: Store, clock: Clock) -> None:
    store.exceptions.request(ASKED)
    clock.now += timedelta(hours=1)
    with pytest.raises(ConflictError):
        store.exceptions.approve("e-1", "bob")
    with pytest.raises(NotFoundError):
        store.exceptions.approve("e-9", "bob")


def test_money_is_asked_for_in_the_currency_of_the_budget(store: Store) -> None:
    store.budgets.put(budget("euros", limits=Limits(cost_micros=1, currency="EUR")), "admin")
    asked = replace(ASKED, budgets=("euros",), amount=Amounts(0, 0, 5), currency="USD")
    with pytest.raises(InvalidInputError):
        store.exceptions.request(asked)
    assert store.exceptions.request(replace(asked, currency="EUR"))


def test_a_balance_as_of_an_instant_has_the_exceptions_of_that_instant(store: Store, clock: Clock) -> None:
    at: list[datetime] = []

    def tick() -> None:
        at.append(clock.now)
        clock.now += timedelta(minutes=1)

    tick()
    store.exceptions.request(ASKED)
    tick()
    store.exceptions.approve("e-1", "bob")
    store.ledger.decide(request("big", 1_200))
    tick()
    clock.now = ASKED.expires_at
    tick()
    store.ledger.decide(request("small", 0))
    tick()
    given = [store.budgets.balance("vision", as_of=instant).balances[Unit.MJ].exceptions for instant in at]
    assert given == [0, 0, 500, 200, 200]


def test_windows_use_the_exception_of_their_namespace(store: Store, clock: Clock) -> None:
    grant(store)
    store.windows.ingest(batch(window(0, 1_300)))
    clock.now += timedelta(hours=2)
    balance = store.budgets.balance("vision").balances[Unit.MJ]
    assert (balance.exceptions, balance.available) == (300, 0)


def test_what_is_estimated_uses_the_exception_of_its_namespace(store: Store, clock: Clock) -> None:
    """In another period than that of the hold, so that nothing pending stands for it there."""
    store.ledger.decide(request("root", quote(900)))
    measured(store, 0, MORNING, MORNING + timedelta(minutes=1), 0)
    seen = ObjectSeen("root", None, "vision", "root", (PodSeen("pod-1", "node-1", MORNING + QUARTER),))
    clock.now = MORNING + QUARTER
    store.inventories.put(Inventory("local", "jobs", clock.now, complete=True, objects=(seen,)))
    clock.now = datetime(2026, 12, 20, tzinfo=UTC)
    store.closes.close("vision", MORNING, "admin")
    assert store.ledger.decide(request("another", quote(1_000, start=clock.now))).allowed
    grant(store, replace(ASKED, amount=Amounts(2_000, 0, 0), expires_at=clock.now + timedelta(hours=1)))
    store.inventories.put(Inventory("local", "jobs", clock.now, complete=True, objects=()))
    estimated = store.budgets.balance("vision").balances[Unit.MJ].posted
    clock.now += timedelta(hours=2)
    balance = store.budgets.balance("vision").balances[Unit.MJ]
    assert estimated == balance.exceptions > 0


def test_a_rehearsal_frees_of_a_namesake_only_what_would_be_replaced(store: Store) -> None:
    store.ledger.decide(request("first", 400, name="same"))
    store.holds.confirm("local", "first", "operator")
    store.ledger.decide(request("first", 500, name="same", demand=demand(2)))
    for asked, fits in ((600, True), (601, False)):
        twin = request("second", asked, name="same")
        assert store.ledger.decide(twin, dry_run=True).allowed is fits
    assert not store.ledger.decide(request("second", 601, name="same")).allowed

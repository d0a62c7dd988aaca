"""Periods are closed once, carry what was not used, and later facts go to the open one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from joulegate.core.budgets import CarryOver, Reason
from joulegate.core.errors import ConflictError, NotFoundError
from joulegate.core.units import Unit
from joulegate_api.store import Amounts, BudgetException, ReasonCode, Store
from joulegate_api.store.amounts import NOTHING
from joulegate_api.store.tables import postings
from tests.api.store.examples import MORNING, QUARTER, Clock, budget, device, quote, record, request

DECEMBER = datetime(2026, 12, 1, tzinfo=UTC)
LATER = DECEMBER + timedelta(days=5)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(database_url: str, clock: Clock) -> Iterator[Store]:
    opened = Store.open(database_url, clock=clock)
    opened.budgets.put(budget(carry_over=CarryOver.UNUSED), "admin")
    yield opened
    opened.close()


def standing(store: Store, at: datetime) -> tuple[int, int]:
    found = store.budgets.balance("vision", at=at).balances[Unit.MJ]
    return found.posted, found.pending


def test_what_was_not_used_is_carried_once(store: Store, clock: Clock) -> None:
    store.records.accept(record("a", devices=[device("GPU-1", 300)]), "a", "somebody")
    store.ledger.decide(request("running", 100))
    clock.now = LATER
    assert store.closes.close("vision", MORNING, "admin").carried.mj == 600
    assert store.closes.close("vision", MORNING, "admin").repeat
    balance = store.budgets.balance("vision").balances[Unit.MJ]
    assert (balance.carried, balance.limit) == (600, 1_600)
    assert store.trial_balance.run().differences == ()


def test_a_budget_that_carries_nothing_carries_nothing(store: Store, clock: Clock) -> None:
    store.budgets.put(budget(), "admin")
    clock.now = LATER
    store.closes.close("vision", MORNING, "admin")
    assert store.budgets.balance("vision").balances[Unit.MJ].limit == 1_000


def test_a_period_is_closed_when_its_late_facts_have_come(store: Store, clock: Clock) -> None:
    clock.now = DECEMBER + timedelta(days=3)
    with pytest.raises(ConflictError, match="2026-12-05"):
        store.closes.close("vision", MORNING, "admin")
    assert not store.closes.close("vision", MORNING, "admin", delay=timedelta(0)).repeat
    with pytest.raises(NotFoundError):
        store.closes.close("nothing", MORNING, "admin")


def test_later_facts_are_posted_to_the_open_period_and_name_the_one_they_correct(store: Store, clock: Clock) -> None:
    store.ledger.decide(request("run", 100))
    clock.now = LATER
    store.records.accept(record("before", devices=[device("GPU-1", 30)]), "before", "somebody")
    store.closes.close("vision", MORNING, "admin")
    store.records.accept(record("after", devices=[device("GPU-1", 40)], run_uid="run"), "after", "somebody")
    closed = store.budgets.balance("vision", at=MORNING).balances[Unit.MJ]
    running = store.budgets.balance("vision").balances[Unit.MJ]
    assert (closed.posted, closed.pending, running.posted) == (30, 60, 40)
    with store._database.read() as connection:
        query = select(postings.c.corrects_period).where(
            postings.c.fact_id == "after", postings.c.period_start == DECEMBER
        )
        assert connection.execute(query).scalar_one() == datetime(2026, 11, 1, tzinfo=UTC)
    assert store.trial_balance.run().differences == ()


def test_a_balance_as_of_an_instant_has_what_was_carried_by_then(store: Store, clock: Clock) -> None:
    clock.now = LATER
    store.closes.close("vision", MORNING, "admin")
    clock.now += timedelta(days=1)
    carried = [
        store.budgets.balance("vision", at=LATER, as_of=at).balances[Unit.MJ].carried
        for at in (LATER - timedelta(seconds=1), LATER, clock.now)
    ]
    assert carried == [0, 1_000, 1_000]


def test_what_is_taken_back_after_a_close_is_given_back_to_the_hold_that_it_drew(store: Store, clock: Clock) -> None:
    """A record of both sides of a period's turn, of which the first is closed when it comes."""
    turn = DECEMBER - QUARTER
    store.ledger.decide(request("run", quote(100, 100, start=turn)))
    clock.now = LATER
    store.closes.close("vision", MORNING, "admin")
    sent = record("late", devices=[device("GPU-1", 40, 70, start=turn)], run_uid="run")
    store.records.accept(sent, "late", "somebody")
    closed, running = standing(store, turn), standing(store, LATER)
    assert (closed, running) == ((0, 60), (110, 30))
    store.corrections.reverse("late", ReasonCode.DUPLICATE, "admin")
    assert (standing(store, turn), standing(store, LATER)) == ((0, 100), (0, 100))
    assert store.trial_balance.run().differences == ()


def test_a_period_before_the_budget_was_written_has_no_rest(store: Store, clock: Clock) -> None:
    october = MORNING - timedelta(days=30)
    clock.now = LATER
    with pytest.raises(ConflictError, match="was written on 2026-11-23, after that period"):
        store.closes.close("vision", october, "admin")
    store.records.accept(record("old", devices=[device("GPU-1", 40, start=october)]), "old", "somebody")
    assert store.closes.close("vision", october, "admin").carried == NOTHING
    assert store.budgets.balance("vision", at=MORNING).balances[Unit.MJ].carried == 0


def test_rests_are_carried_in_order(store: Store, clock: Clock) -> None:
    clock.now = datetime(2027, 1, 10, tzinfo=UTC)
    with pytest.raises(ConflictError, match="close the period from 2026-11-01T00:00:00Z first"):
        store.closes.close("vision", DECEMBER, "admin")
    assert [store.closes.close("vision", at, "admin").carried.mj for at in (MORNING, DECEMBER)] == [1_000, 2_000]
    assert store.budgets.balance("vision").balances[Unit.MJ].limit == 3_000


def test_what_an_exception_gave_is_not_carried(store: Store, clock: Clock) -> None:
    amount, until = Amounts(500, 0, 0), MORNING + timedelta(hours=1)
    asked = BudgetException("e", "vision", ("vision",), amount, None, "why", None, "ann", until)
    store.exceptions.request(asked)
    store.exceptions.approve("e", "bob")
    assert store.ledger.decide(request("run", 1_400)).allowed
    clock.now = LATER
    store.holds.release("local", "run", "operator")
    assert store.budgets.balance("vision", at=MORNING).balances[Unit.MJ].exceptions == 400  # the part that was used
    assert store.closes.close("vision", MORNING, "admin").carried.mj == 1_000


def test_what_is_carried_on_relieves_the_exceptions_of_the_next_period(store: Store, clock: Clock) -> None:
    """What an exception had to carry fits the limit once the rest has come, so nothing of it stays when it ends."""
    clock.now = LATER
    asked = BudgetException("e", "vision", ("vision",), Amounts(500, 0, 0), None, "why", None, "ann", LATER + QUARTER)
    store.exceptions.request(asked)
    store.exceptions.approve("e", "bob")
    assert store.ledger.decide(request("run", quote(1_400, start=LATER))).reason is Reason.EXCEPTION_GRANTED
    assert store.closes.close("vision", MORNING, "admin").carried.mj == 1_000
    clock.now += QUARTER
    balance = store.budgets.balance("vision").balances[Unit.MJ]
    assert (balance.carried, balance.exceptions, balance.available) == (1_000, 0, 600)
    assert store.trial_balance.run().differences == ()

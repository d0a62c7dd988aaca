"""Budgets are revised, closed and continued; their tree is always sound."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest

from joulegate.core.budgets import LabelRule, Limits, Reason, Scope, SelectorOperator
from joulegate.core.errors import ConflictError, InvalidInputError, NotFoundError
from joulegate.core.periods import CalendarRule, CalendarUnit, FixedRule, Period
from joulegate.core.units import Money, Unit
from joulegate_api.store import Amounts, BudgetException, Store
from tests.api.store.examples import MORNING, Clock, budget, quote, request


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(database_url: str, clock: Clock) -> Iterator[Store]:
    opened = Store.open(database_url, clock=clock)
    yield opened
    opened.close()


def test_a_budget_is_read_back_as_it_was_put(store: Store) -> None:
    whole = budget(
        limits=Limits(1, 2, 3, "EUR"),
        scope=Scope(("a", "b"), (LabelRule("k", SelectorOperator.IN, ("v",)),), ("training",)),
        hold_quantile=Fraction(95, 100),
        warn_at_percent=(1, 99),
    )
    assert store.budgets.put(whole, "admin")
    assert store.budgets.get("vision") == whole
    assert store.budgets.list() == (whole,)


def test_putting_the_same_again_changes_nothing(store: Store) -> None:
    assert store.budgets.put(budget(), "admin")
    assert not store.budgets.put(budget(), "admin")


def test_cycles_and_dangling_parents_are_refused(store: Store) -> None:
    with pytest.raises(InvalidInputError):
        store.budgets.put(budget("a", parent="b"), "admin")
    store.budgets.put(budget("a"), "admin")
    store.budgets.put(budget("b", parent="a"), "admin")
    with pytest.raises(InvalidInputError):
        store.budgets.put(budget("a", parent="b"), "admin")
    assert store.budgets.get("a").parent is None


def test_a_parent_is_closed_after_its_children(store: Store) -> None:
    store.budgets.put(budget("a"), "admin")
    store.budgets.put(budget("b", parent="a"), "admin")
    with pytest.raises(ConflictError, match="parent of b"):
        store.budgets.close("a", "admin")
    store.budgets.close("b", "admin")
    store.budgets.close("a", "admin")
    with pytest.raises(NotFoundError):
        store.budgets.get("a")
    with pytest.raises(NotFoundError):
        store.budgets.close("a", "admin")


def test_a_closed_budget_keeps_its_balance_and_one_of_the_same_name_continues_the_period(store: Store) -> None:
    store.budgets.put(budget(), "admin")
    store.ledger.decide(request("a", 300))
    store.budgets.close("vision", "admin")
    assert store.budgets.balance("vision").balances[Unit.MJ].pending == 300
    assert store.ledger.decide(request("b", 300)).reason == "NoBudget"
    store.budgets.put(budget(limits=Limits(energy_mj=500)), "admin")
    assert store.budgets.balance("vision").balances[Unit.MJ].available == 200


def test_a_new_limit_counts_for_the_running_period_and_not_for_those_that_are_over(store: Store, clock: Clock) -> None:
    store.budgets.put(budget(), "admin")
    store.ledger.decide(request("a", 300))
    clock.now = datetime(2026, 12, 2, tzinfo=UTC)
    store.budgets.put(budget(limits=Limits(energy_mj=5_000)), "admin")
    assert store.budgets.balance("vision", at=MORNING).balances[Unit.MJ].limit == 1_000
    assert store.budgets.balance("vision").balances[Unit.MJ].limit == 5_000


def test_a_balance_as_of_an_instant_has_the_limit_of_that_instant(store: Store, clock: Clock) -> None:
    store.budgets.put(budget(), "admin")
    before = clock.now
    clock.now += timedelta(hours=1)
    store.budgets.put(budget(limits=Limits(energy_mj=2_000)), "admin")
    assert store.budgets.balance("vision", as_of=before).balances[Unit.MJ].limit == 1_000
    assert store.budgets.balance("vision").balances[Unit.MJ].limit == 2_000


def test_other_periods_are_refused_once_something_was_held(store: Store) -> None:
    store.budgets.put(budget(), "admin")
    store.ledger.decide(request("refused", 5_000))
    store.budgets.put(budget(period=CalendarRule(CalendarUnit.DAY)), "admin")
    assert store.budgets.balance("vision").period.end == datetime(2026, 11, 24, tzinfo=UTC)
    store.ledger.decide(request("held", 5))
    with pytest.raises(ConflictError):
        store.budgets.put(budget(period=CalendarRule(CalendarUnit.WEEK)), "admin")


def test_another_currency_is_refused_while_money_was_counted_in_the_first(store: Store, clock: Clock) -> None:
    store.budgets.put(budget(limits=Limits(cost_micros=100, currency="EUR")), "admin")
    store.ledger.decide(request("a", quote(1, cost=Money(5, "EUR"))))
    dollars = budget(limits=Limits(cost_micros=100, currency="USD"))
    with pytest.raises(ConflictError, match="EUR"):
        store.budgets.put(dollars, "admin")
    clock.now = datetime(2026, 12, 2, tzinfo=UTC)
    assert store.budgets.put(dollars, "admin")


def test_a_budget_that_nobody_wrote_or_a_span_that_is_over_has_no_balance(store: Store) -> None:
    with pytest.raises(NotFoundError):
        store.budgets.balance("nothing")
    store.budgets.put(
        budget(period=FixedRule(Period(MORNING - timedelta(days=2), MORNING - timedelta(days=1)))), "admin"
    )
    with pytest.raises(NotFoundError):
        store.budgets.balance("vision")


def test_a_period_without_activity_has_the_limit_and_nothing_else(store: Store) -> None:
    store.budgets.put(budget(), "admin")
    found = store.budgets.balance("vision", at=datetime(2027, 3, 3, tzinfo=UTC))
    assert found.period == Period(datetime(2027, 3, 1, tzinfo=UTC), datetime(2027, 4, 1, tzinfo=UTC))
    assert (found.balances[Unit.MJ].available, found.balances[Unit.UG].limit) == (1_000, None)


def test_a_tree_of_any_depth_is_decided_and_charged_as_a_whole(store: Store) -> None:
    """Each level up to the root, whatever its periods; the tightest one binds."""
    depth = 40
    for level in range(depth):
        own = budget(
            f"level-{level:02}",
            parent=f"level-{level - 1:02}" if level else None,
            scope=Scope(("vision",)) if level == depth - 1 else None,
            period=CalendarRule(list(CalendarUnit)[level % 5]),
            limits=Limits(energy_mj=500 if level == 17 else 1_000),
        )
        store.budgets.put(own, "admin")
    refused = store.ledger.decide(request("too-much", 501))
    assert (refused.allowed, refused.budget, refused.fits) == (False, "level-17", 500)
    assert store.ledger.decide(request("fits", 500)).allowed
    pending = [store.budgets.balance(each.name).balances[Unit.MJ].pending for each in store.budgets.list()]
    assert pending == [500] * depth
    with pytest.raises(InvalidInputError, match="cycle"):
        store.budgets.put(budget("level-00", parent="level-39", scope=None), "admin")


@pytest.mark.parametrize(
    ("zone", "midnight"),
    [
        ("Asia/Kathmandu", datetime(2026, 11, 23, 18, 15, tzinfo=UTC)),
        ("Asia/Kolkata", datetime(2026, 11, 23, 18, 30, tzinfo=UTC)),
        ("Australia/Lord_Howe", datetime(2026, 11, 23, 13, 0, tzinfo=UTC)),
        ("Pacific/Chatham", datetime(2026, 11, 23, 10, 15, tzinfo=UTC)),
    ],
)
def test_a_hold_is_cut_at_midnight_of_zones_of_half_and_quarter_hours(
    store: Store, zone: str, midnight: datetime
) -> None:
    store.budgets.put(budget(period=CalendarRule(CalendarUnit.DAY, zone)), "admin")
    assert store.ledger.decide(request("run", quote(700, 600, start=midnight - timedelta(minutes=15)))).allowed
    kept = [store.budgets.balance("vision", at=midnight + timedelta(minutes=minutes)) for minutes in (-1, 0)]
    assert [each.balances[Unit.MJ].pending for each in kept] == [700, 600]
    assert kept[0].period.end == kept[1].period.start == midnight


@pytest.mark.parametrize(("day", "hours"), [((2026, 3, 29), 23), ((2026, 10, 25), 25), ((2026, 11, 1), 24)])
def test_a_day_on_which_the_clocks_change_is_one_period(store: Store, day: tuple[int, int, int], hours: int) -> None:
    store.budgets.put(budget(period=CalendarRule(CalendarUnit.DAY, "Europe/Berlin")), "admin")
    period = store.budgets.balance("vision", at=datetime(*day, 12, tzinfo=UTC)).period
    assert period.end - period.start == timedelta(hours=hours)


def test_a_fixed_span_binds_inside_itself_and_has_no_next(store: Store) -> None:
    span = Period(MORNING, MORNING + timedelta(minutes=15))
    store.budgets.put(budget(period=FixedRule(span), limits=Limits(energy_mj=100)), "admin")
    assert not store.ledger.decide(request("inside", quote(101, 0))).allowed
    assert store.ledger.decide(request("beyond", quote(100, 10**6))).allowed
    assert store.budgets.balance("vision").balances[Unit.MJ].pending == 100
    assert store.ledger.decide(request("after", quote(10**6, start=span.end))).reason is Reason.NO_BUDGET


def test_an_exception_carries_what_a_lowered_limit_leaves_without_room(store: Store, clock: Clock) -> None:
    store.budgets.put(budget(), "admin")
    until = MORNING + timedelta(hours=1)
    asked = BudgetException("e", "vision", ("vision",), Amounts(500, 0, 0), None, "why", None, "ann", until)
    store.exceptions.request(asked)
    store.exceptions.approve("e", "bob")
    store.ledger.decide(request("run", 1_100))
    store.budgets.put(budget(limits=Limits(energy_mj=800)), "admin")
    clock.now += timedelta(hours=2)
    balance = store.budgets.balance("vision").balances[Unit.MJ]
    assert (balance.exceptions, balance.limit, balance.available) == (300, 1_100, 0)
    assert store.trial_balance.run().differences == ()

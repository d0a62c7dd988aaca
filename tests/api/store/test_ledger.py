"""Decisions and their holds, on both databases."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from joulegate.core.binding import Work
from joulegate.core.budgets import Enforcement, Limits, Outcome, Reason, Verdict, WhenUndecidable
from joulegate.core.errors import InvalidInputError, UnavailableError
from joulegate.core.log import EntryType, read_entry
from joulegate.core.periods import CalendarRule, CalendarUnit, FixedRule, Period
from joulegate.core.units import Money, Unit
from joulegate_api.store import Store
from joulegate_api.store.database import Database
from joulegate_api.store.tables import entries, hold_claims, holds
from tests.api.store.examples import MORNING, QUARTER, Clock, budget, demand, quote, request


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(database_url: str, clock: Clock) -> Iterator[Store]:
    opened = Store.open(database_url, clock=clock)
    opened.budgets.put(budget(), "admin")
    yield opened
    opened.close()


def pending(store: Store, name: str = "vision", unit: Unit = Unit.MJ) -> int:
    return store.budgets.balance(name).balances[unit].pending


def counts(url: str) -> tuple[int, int, int]:
    database = Database(url)
    with database.read() as connection:
        found = [
            connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (holds, hold_claims, entries)
        ]
    database.close()
    return found[0], found[1], found[2]


def together(calls: list[Callable[[], Any]]) -> list[Any]:
    """Run every call in a thread of its own, begun at once."""
    barrier = threading.Barrier(len(calls))
    results: list[Any] = [None] * len(calls)

    def run(number: int, call: Callable[[], Any]) -> None:
        barrier.wait()
        try:
            results[number] = call()
        except Exception as error:  # noqa: BLE001 - handed to the test
            results[number] = error

    threads = [threading.Thread(target=run, args=(number, call)) for number, call in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_a_request_that_fits_is_allowed_and_held(store: Store) -> None:
    verdict = store.ledger.decide(request(quoted=100))
    assert (verdict.outcome, verdict.reason, verdict.unit) == (Outcome.ALLOW, Reason.WITHIN_BUDGET, Unit.MJ)
    assert (verdict.asked, verdict.available, verdict.basis, verdict.as_of) == (100, 1_000, "prior", MORNING)
    assert verdict.hold
    assert pending(store) == 100


def test_a_request_that_does_not_fit_is_refused_with_what_would(store: Store) -> None:
    store.ledger.decide(request("first", 700))
    verdict = store.ledger.decide(request("second", 301))
    assert (verdict.outcome, verdict.reason) == (Outcome.DENY, Reason.ESTIMATE_EXCEEDS_AVAILABLE)
    assert (verdict.budget, verdict.unit, verdict.asked, verdict.available, verdict.fits) == (
        "vision",
        Unit.MJ,
        301,
        300,
        300,
    )
    assert verdict.hold is None
    assert pending(store) == 700
    assert store.ledger.decide(request("third", 300)).allowed
    assert store.ledger.decide(request("fourth", 1)).reason is Reason.BUDGET_EXHAUSTED


def test_the_same_root_with_the_same_or_a_smaller_demand_gets_the_same_answer_and_one_hold(
    store: Store, database_url: str, clock: Clock
) -> None:
    first = store.ledger.decide(request(quoted=400, demand=demand(4)))
    before = counts(database_url)
    clock.now += timedelta(hours=1)
    assert store.ledger.decide(request(quoted=400, demand=demand(4))) == first
    assert store.ledger.decide(request(quoted=100, demand=demand(1))) == first
    assert store.ledger.decide(request(quoted=900, demand=demand(4))) == first
    assert store.ledger.decide(request(quoted=400, demand=demand(4)), dry_run=True) == first
    assert counts(database_url) == before
    assert pending(store) == 400


def test_a_larger_demand_is_growth_and_only_the_difference_is_decided(store: Store) -> None:
    first = store.ledger.decide(request(quoted=400, demand=demand(4)))
    refused = store.ledger.decide(request(quoted=1_001, demand=demand(10)))
    assert (refused.reason, refused.asked, refused.available) == (Reason.GROWTH_REFUSED, 601, 600)
    assert pending(store) == 400
    grown = store.ledger.decide(request(quoted=1_000, demand=demand(8)))
    assert grown.allowed
    assert grown.asked == 600
    assert grown.hold != first.hold
    assert pending(store) == 1_000
    assert store.ledger.decide(request(quoted=1_000, demand=demand(8))) == grown
    assert store.ledger.decide(request(quoted=400, demand=demand(4))) == first


def test_a_refusal_is_decided_again(store: Store) -> None:
    assert not store.ledger.decide(request(quoted=1_001)).allowed
    store.budgets.put(budget(limits=Limits(energy_mj=1_001)), "admin")
    assert store.ledger.decide(request(quoted=1_001)).allowed


def test_a_dry_run_decides_and_writes_nothing(store: Store, database_url: str) -> None:
    before = counts(database_url)
    fits = store.ledger.decide(request(quoted=1_000), dry_run=True)
    assert (fits.outcome, fits.hold, fits.as_of) == (Outcome.ALLOW, None, MORNING)
    assert not store.ledger.decide(request(quoted=1_001), dry_run=True).allowed
    assert counts(database_url) == before
    assert pending(store) == 0


def test_a_hold_is_split_by_quarter_hour_into_the_periods_it_touches(store: Store) -> None:
    store.budgets.put(
        budget("daily", period=CalendarRule(CalendarUnit.DAY, "Europe/Berlin"), limits=Limits(energy_mj=50)), "admin"
    )
    midnight_in_berlin = datetime(2026, 11, 23, 23, 0, tzinfo=UTC)
    quoted = quote(20, 20, 30, 30, start=midnight_in_berlin - 2 * QUARTER)
    verdict = store.ledger.decide(request(quoted=quoted))
    assert (verdict.allowed, verdict.budget, verdict.asked, verdict.available) == (False, "daily", 60, 50)
    quoted = quote(20, 20, 30, 20, start=midnight_in_berlin - 2 * QUARTER)
    assert store.ledger.decide(request(quoted=quoted)).allowed
    for at, held in ((midnight_in_berlin - QUARTER, 40), (midnight_in_berlin, 50)):
        assert store.budgets.balance("daily", at=at).balances[Unit.MJ].pending == held
    assert pending(store) == 90


def test_a_decision_must_fit_every_budget_up_to_the_root(store: Store) -> None:
    store.budgets.put(budget("company", scope=None, limits=Limits(energy_mj=150)), "admin")
    store.budgets.put(budget(parent="company"), "admin")
    assert store.ledger.decide(request("a", 100)).allowed
    verdict = store.ledger.decide(request("b", 100))
    assert (verdict.allowed, verdict.budget, verdict.fits) == (False, "company", 50)
    assert pending(store, "company") == pending(store) == 100


def test_what_cannot_be_priced_is_unpriceable_and_never_zero(store: Store) -> None:
    store.budgets.put(budget(limits=Limits(energy_mj=1_000, carbon_ug=5, cost_micros=100, currency="EUR")), "admin")
    assert store.ledger.decide(request("a", quote(1, cost=Money(1, "EUR")))).reason is Reason.UNPRICEABLE
    dollars = store.ledger.decide(request("b", quote(1, carbon_ug=1, cost=Money(1, "USD"))))
    assert (dollars.reason, dollars.unit) == (Reason.UNPRICEABLE, Unit.MICROS)
    assert store.ledger.decide(request("c", quote(1, carbon_ug=1, cost=Money(1, "EUR")))).allowed


def test_a_budget_that_allows_the_undecidable_lets_the_unpriceable_pass(store: Store) -> None:
    store.budgets.put(budget(limits=Limits(carbon_ug=5), when_undecidable=WhenUndecidable.ALLOW), "admin")
    assert store.ledger.decide(request(quoted=1)).allowed
    assert pending(store, unit=Unit.UG) == 0


def test_money_of_another_currency_counts_nowhere(store: Store) -> None:
    assert store.ledger.decide(request("a", quote(1, cost=Money(7, "USD")))).allowed
    balance = store.budgets.balance("vision").balances[Unit.MICROS]
    assert (balance.limit, balance.pending, balance.currency) == (None, 7, "USD")
    assert store.ledger.decide(request("b", quote(1, cost=Money(9, "EUR")))).allowed
    assert pending(store, unit=Unit.MICROS) == 7


@pytest.mark.parametrize(
    ("enforcement", "outcome"), [(Enforcement.AUDIT, Outcome.ALLOW), (Enforcement.WARN, Outcome.WARN)]
)
def test_a_budget_that_only_watches_is_held_in_full_and_shows_debt(
    store: Store, enforcement: Enforcement, outcome: Outcome
) -> None:
    store.budgets.put(budget(enforcement=enforcement), "admin")
    verdict = store.ledger.decide(request(quoted=1_500))
    assert (verdict.outcome, verdict.reason) == (outcome, Reason.WARNED)
    balance = store.budgets.balance("vision").balances[Unit.MJ]
    assert (balance.pending, balance.available, balance.debt) == (1_500, -500, 500)


def test_work_that_no_budget_binds_is_allowed_as_such(store: Store) -> None:
    verdict = store.ledger.decide(request(work=Work("elsewhere", "training")))
    assert (verdict.outcome, verdict.reason) == (Outcome.ALLOW, Reason.NO_BUDGET)
    assert store.ledger.decide(request(work=Work("elsewhere", "training"))) == verdict


def test_a_fixed_span_binds_inside_its_span_only(store: Store) -> None:
    span = Period(MORNING, MORNING + QUARTER)
    store.budgets.put(budget("project", period=FixedRule(span), limits=Limits(energy_mj=10)), "admin")
    assert store.ledger.decide(request("a", quote(11))).budget == "project"
    assert store.ledger.decide(request("b", quote(10, 500))).allowed
    assert store.ledger.decide(request("c", quote(100, start=MORNING + QUARTER))).allowed


def test_a_budget_that_the_subject_may_not_use_refuses(store: Store) -> None:
    store.budgets.put(budget("golden", selectable=True), "admin")
    work = Work("vision", "training", chosen="golden", usable=frozenset())
    verdict = store.ledger.decide(request(work=work))
    assert (verdict.outcome, verdict.reason, verdict.budget) == (Outcome.DENY, Reason.NOT_PERMITTED, "golden")


def test_decisions_are_made_by_the_budgets_of_the_moment_even_if_another_process_changed_them(
    store: Store, database_url: str
) -> None:
    store.ledger.decide(request("a", 100))
    other = Store.open(database_url)
    other.budgets.put(budget(limits=Limits(energy_mj=150)), "admin")
    other.budgets.put(budget("second", limits=Limits(energy_mj=40)), "admin")
    other.close()
    verdict = store.ledger.decide(request("b", 50))
    assert (verdict.budget, verdict.asked, verdict.available) == ("second", 50, 40)
    assert store.ledger.decide(request("c", 40)).allowed
    assert store.ledger.decide(request("d", 11)).available == 0


def test_the_largest_limits_are_decided_logged_and_answered(store: Store) -> None:
    most = 10**18
    store.budgets.put(budget(limits=Limits(most, most, most, "EUR")), "admin")
    verdict = store.ledger.decide(request(quoted=quote(10**13, carbon_ug=1, cost=Money(1, "EUR"))))
    assert (verdict.allowed, verdict.available) == (True, most)
    refused = store.ledger.decide(request("b", quote(2 * most, carbon_ug=1, cost=Money(1, "EUR"))))
    assert (refused.allowed, refused.asked, refused.fits) == (False, 2 * most, most - 10**13)
    assert store.ledger.decide(request(quoted=quote(10**13))) == verdict
    assert store.trial_balance.run().differences == ()


def test_of_64_threads_at_room_for_10_exactly_10_pass(store: Store) -> None:
    verdicts = together([partial(store.ledger.decide, request(f"root-{n}", 100)) for n in range(64)])
    assert sum(verdict.allowed for verdict in verdicts) == 10
    assert pending(store) == 1_000


def test_of_300_threads_and_two_processes_worth_of_stores_exactly_10_pass(store: Store, database_url: str) -> None:
    other = Store.open(database_url, clock=Clock())
    stores = (store, other)
    verdicts = together([partial(stores[n % 2].ledger.decide, request(f"root-{n}", 100)) for n in range(300)])
    other.close()
    assert [verdict for verdict in verdicts if isinstance(verdict, Exception)] == []
    assert sum(verdict.allowed for verdict in verdicts) == 10
    assert pending(store) == 1_000


def test_one_root_asked_for_by_many_at_once_gets_one_hold(store: Store, database_url: str) -> None:
    other = Store.open(database_url, clock=Clock())
    stores = (store, other)
    verdicts = together([partial(stores[n % 2].ledger.decide, request("root", 100)) for n in range(32)])
    other.close()
    assert {verdict.hold for verdict in verdicts} == {verdicts[0].hold}
    assert counts(database_url)[:2] == (1, 1)
    assert pending(store) == 100


def test_one_bad_request_does_not_refuse_those_that_came_with_it(store: Store) -> None:
    class Torn:
        quarters = property(lambda _: 1 // 0)

    calls: list[Callable[[], Any]] = [partial(store.ledger.decide, request(f"root-{n}", 10)) for n in range(8)]
    calls.append(lambda: store.ledger.decide(request("torn", Torn())))  # type: ignore[arg-type]
    results = together(calls)
    assert isinstance(results[-1], ZeroDivisionError)
    assert all(isinstance(verdict, Verdict) and verdict.allowed for verdict in results[:-1])
    assert pending(store) == 80


def test_a_request_that_no_entry_can_hold_is_refused_alone(store: Store) -> None:
    roots = [*(f"root-{number}" for number in range(8)), "\ud800"]
    *verdicts, error = together([partial(store.ledger.decide, request(root, 10)) for root in roots])
    assert isinstance(error, InvalidInputError)
    assert all(isinstance(verdict, Verdict) and verdict.allowed for verdict in verdicts)
    assert pending(store) == 80


def test_every_decision_writes_its_entry_in_its_transaction(store: Store, database_url: str) -> None:
    allowed = store.ledger.decide(request("a", 900))
    store.ledger.decide(request("b", 900))
    database = Database(database_url)
    with database.read() as connection:
        rows = connection.execute(select(entries).order_by(entries.c.writer_id, entries.c.writer_seq)).all()
    database.close()
    told = [read_entry(row.data) for row in rows if row.type == EntryType.DECISION]
    assert [entry.body["verdict"]["outcome"] for entry in told] == ["allow", "deny"]
    assert told[0].id == allowed.hold
    assert told[0].body["claims"][0]["asked"] == {"mj": "900", "ug": None, "micros": None}
    assert told[1].body["claims"][0]["available"]["mj"] == "100"


def test_a_database_that_goes_away_is_unavailable_in_one_line(store: Store, sqlite_url: str) -> None:
    assert sqlite_url
    store.close()
    broken = Store.open(sqlite_url)
    broken.budgets.put(budget(), "admin")
    with broken._database.write() as connection:
        connection.exec_driver_sql("DROP TABLE balances")
    with pytest.raises(UnavailableError) as caught:
        broken.ledger.decide(request())
    assert "\n" not in str(caught.value)
    broken.close()


ASKED = st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(1, 4), st.integers(0, 400)), min_size=1, max_size=20)


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=ASKED, rooms=st.tuples(st.integers(0, 1_000), st.integers(0, 1_000)))
def test_law_6_no_overspend(
    fresh: Callable[[], Store], asked: list[tuple[str, int, int]], rooms: tuple[int, int]
) -> None:
    """Against a plain model: what is allowed fits everywhere, and what fits is allowed."""
    store = fresh()
    store.budgets.put(budget("company", scope=None, limits=Limits(energy_mj=rooms[0])), "admin")
    store.budgets.put(budget(parent="company", limits=Limits(energy_mj=rooms[1])), "admin")
    held: dict[str, list[tuple[int, int]]] = {}
    spent = 0
    for root, boards, energy in asked:
        verdict = store.ledger.decide(request(root, energy, demand=demand(boards)))
        parts = held.setdefault(root, [])
        if any(boards <= most for most, _ in parts):
            assert verdict.allowed
            continue
        more = max(0, energy - sum(amount for _, amount in parts))
        assert verdict.allowed == (spent + more <= min(rooms))
        if verdict.allowed:
            parts.append((boards, more))
            spent += more
        assert spent <= min(rooms)
    for name in ("company", "vision"):
        assert pending(store, name) == spent


@pytest.fixture
def fresh(request: pytest.FixtureRequest, store: Store, database_url: str) -> Iterator[Callable[[], Store]]:
    """Another tenant of the same database for each example: nothing of one is seen by the next."""
    opened: list[Store] = []

    def make() -> Store:
        for old in opened:
            old.close()
        opened[:] = [Store.open(database_url, tenant=f"tenant-{next(number)}", clock=Clock())]
        return opened[0]

    number = iter(range(10_000))
    yield make
    for old in opened:
        old.close()


def test_tenants_do_not_see_each_other(store: Store, database_url: str) -> None:
    store.ledger.decide(request("a", 900))
    other = Store.open(database_url, tenant="other", clock=Clock())
    assert other.budgets.list() == ()
    other.budgets.put(budget(), "admin")
    assert other.ledger.decide(request("a", 900)).allowed
    assert pending(other) == pending(store) == 900
    other.close()

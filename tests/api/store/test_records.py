"""Records are kept once, priced once, and posted to their budgets in the same transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from joulegate.core.budgets import LabelRule, Limits, Scope, SelectorOperator
from joulegate.core.errors import ConflictError, InvalidInputError, NotFoundError
from joulegate.core.footprint import PriceRule
from joulegate.core.log import EntryType, read_entry
from joulegate.core.metering import Boundary
from joulegate.core.periods import CalendarRule, CalendarUnit, quarter_of
from joulegate.core.records import DeviceUse, EfficiencyRecord, Run
from joulegate.core.units import Carbon, Energy, Money, Unit
from joulegate_api.store import RecordFilters, Store
from joulegate_api.store.database import Database
from joulegate_api.store.tables import entries, postings, record_slices, records
from tests.api.store.examples import (
    MODEL,
    MORNING,
    QUARTER,
    Clock,
    budget,
    device,
    intensity,
    interval,
    price,
    quote,
    record,
    request,
    site,
)

ONE_KWH = 3_600_000_000


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    opened = Store.open(database_url, clock=Clock())
    furnish(opened)
    yield opened
    opened.close()


def furnish(store: Store) -> None:
    store.budgets.put(
        budget(limits=Limits(energy_mj=10 * ONE_KWH, carbon_ug=10**12, cost_micros=10**9, currency="EUR")), "admin"
    )
    store.rates.put_intensities([intensity()], "admin")
    store.rates.put_prices([price()], "admin")
    store.rates.put_sites([site()], "admin")


def accept(store: Store, *sent: EfficiencyRecord) -> None:
    for each in sent:
        store.records.accept(each, f"hash-of-{each.record_id}", "somebody")


def standing(store: Store, name: str = "vision", at: datetime = MORNING) -> tuple[int, int, int]:
    found = store.budgets.balance(name, at=at).balances
    return found[Unit.MJ].posted, found[Unit.UG].posted, found[Unit.MICROS].posted


def rows_of(url: str) -> list[int]:
    database = Database(url)
    with database.read() as connection:
        found = [
            connection.execute(select(func.count()).select_from(t)).scalar_one()
            for t in (records, record_slices, postings, entries)
        ]
    database.close()
    return found


def test_a_record_is_priced_with_the_dated_rates_of_its_site(store: Store) -> None:
    accepted = store.records.accept(record(devices=[device("GPU-1", ONE_KWH)]), "h", "somebody")
    assert not accepted.repeat
    footprint = store.records.get("r-1").footprint
    assert (footprint.energy, footprint.carbon_location) == (Energy(ONE_KWH), Carbon(480_000_000))
    assert (footprint.carbon_market, footprint.cost) == (None, Money(360_000, "EUR"))
    part = store.records.get("r-1").slices[0]
    assert (part.rates.site, part.rates.location, part.rates.price) == (site(), intensity(), price())
    assert standing(store) == (ONE_KWH, 480_000_000, 360_000)


def test_a_record_is_read_back_as_it_was_sent(store: Store) -> None:
    sent = record(devices=[device("GPU-1", 5, None, 7), device("GPU-2", 0)])
    accept(store, sent)
    assert store.records.get("r-1").record == sent


def test_law_7_exactly_once(store: Store, database_url: str) -> None:
    accept(store, record())
    before, stood = rows_of(database_url), standing(store)
    repeat = store.records.accept(record(), "hash-of-r-1", "somebody")
    assert repeat.repeat
    assert repeat.slices == store.records.get("r-1").slices
    assert (rows_of(database_url), standing(store)) == (before, stood)


def test_the_same_id_with_other_content_is_a_conflict_and_changes_nothing(store: Store, database_url: str) -> None:
    accept(store, record())
    before = rows_of(database_url)
    with pytest.raises(ConflictError, match="r-1"):
        store.records.accept(record(devices=[]), "another hash", "somebody")
    assert rows_of(database_url) == before


def test_what_is_drawn_beyond_the_limit_is_posted_in_full_and_is_debt(store: Store) -> None:
    accept(store, record(devices=[device("GPU-1", 11 * ONE_KWH)]))
    balance = store.budgets.balance("vision", at=MORNING).balances[Unit.MJ]
    assert (balance.posted, balance.available, balance.debt) == (11 * ONE_KWH, -ONE_KWH, ONE_KWH)


def test_a_record_counts_in_every_budget_above_its_own(store: Store) -> None:
    store.budgets.put(budget("company", scope=None, period=CalendarRule(CalendarUnit.YEAR)), "admin")
    store.budgets.put(replace(store.budgets.get("vision"), parent="company"), "admin")
    accept(store, record(devices=[device("GPU-1", 70)]))
    assert standing(store, "company")[0] == standing(store)[0] == 70
    assert store.records.get("r-1").budgets == ("company", "vision")


def test_a_record_outside_every_scope_is_kept_and_charges_nothing(store: Store) -> None:
    accept(store, record(run=Run("x", namespace="elsewhere")))
    assert store.records.get("r-1").budgets == ()
    assert standing(store) == (0, 0, 0)


def test_labels_of_the_namespace_bind_a_record(store: Store) -> None:
    rule = LabelRule("team", SelectorOperator.IN, ("sight",))
    store.budgets.put(budget("team", scope=Scope(namespace_selector=(rule,))), "admin")
    store.records.accept(record("a"), "a", "somebody", labels={"team": "sight"})
    store.records.accept(record("b"), "b", "somebody", labels={"team": "sound"})
    assert store.records.get("a").budgets == ("team", "vision")
    assert store.records.get("b").budgets == ("vision",)


def test_what_was_not_measured_is_not_zero(store: Store) -> None:
    accept(store, record(devices=[device("GPU-1", None, 50)]))
    stored = store.records.get("r-1")
    assert [part.footprint.energy for part in stored.slices] == [None, Energy(50)]
    assert [part.missing_ns for part in stored.slices] == [900 * 10**9, 0]
    assert stored.footprint.energy is None
    assert standing(store)[0] == 50


def test_an_unknown_factor_or_price_is_unknown_and_listed_never_zero(store: Store) -> None:
    before_any_rate = datetime(2019, 5, 1, tzinfo=UTC)
    store.budgets.put(budget("early"), "admin")
    accept(store, record(devices=[device("GPU-1", 50, start=before_any_rate)], started_at=before_any_rate))
    stored = store.records.get("r-1")
    assert stored.footprint.energy == Energy(50)
    assert (stored.footprint.carbon_location, stored.footprint.cost) == (None, None)
    assert stored.unpriced == stored.slices
    assert standing(store, at=before_any_rate) == (50, 0, 0)


def test_money_of_another_currency_than_the_budget_is_not_counted_there(store: Store) -> None:
    store.rates.put_prices([price(currency="USD", zone="DE", gpu_model=MODEL)], "admin")
    accept(store, record(devices=[device("GPU-1", ONE_KWH)]))
    assert store.records.get("r-1").footprint.cost == Money(360_000, "USD")
    assert standing(store) == (ONE_KWH, 480_000_000, 0)


def test_hours_of_a_gpu_are_priced_even_where_energy_is_unknown(store: Store) -> None:
    hourly = price(4_000_000, rule=PriceRule.GPU_HOURS, gpu_model=MODEL)
    store.rates.put_prices([hourly], "admin")
    accept(store, record(devices=[device("GPU-1", None)]))
    assert store.records.get("r-1").footprint.cost == Money(1_000_000, "EUR")


def test_energy_of_another_boundary_is_kept_and_never_added(store: Store) -> None:
    node = DeviceUse("NODE-1", MODEL, (interval(MORNING, MORNING + QUARTER, 900, Boundary.NODE),))
    accept(store, record(devices=[device("GPU-1", 50), node]))
    assert store.records.get("r-1").footprint.energy == Energy(50)
    assert standing(store)[0] == 50


def test_rates_apply_forward_and_what_was_priced_stays(store: Store) -> None:
    accept(store, record("a", devices=[device("GPU-1", ONE_KWH)]))
    store.rates.put_intensities([intensity(800_000_000, version="2026-2")], "admin")
    accept(store, record("b", devices=[device("GPU-1", ONE_KWH)]))
    assert store.records.get("a").footprint.carbon_location == Carbon(480_000_000)
    assert store.records.get("b").footprint.carbon_location == Carbon(960_000_000)


def test_a_record_of_a_held_run_draws_its_hold_and_posts_the_rest_as_excess(store: Store) -> None:
    store.ledger.decide(request("run-1", quote(100, carbon_ug=30, cost=Money(20, "EUR"))))
    accept(store, record("a", devices=[device("GPU-1", 60)], run_uid="run-1"))
    balance = store.budgets.balance("vision").balances[Unit.MJ]
    assert (balance.posted, balance.pending) == (60, 40)
    accept(store, record("b", devices=[device("GPU-1", 70)], run_uid="run-1"))
    balance = store.budgets.balance("vision").balances[Unit.MJ]
    assert (balance.posted, balance.pending) == (130, 0)


def test_a_hold_keeps_the_budgets_that_it_was_made_under(store: Store) -> None:
    store.ledger.decide(request("run-1", quote(100, carbon_ug=30, cost=Money(20, "EUR"))))
    store.budgets.close("vision", "admin")
    store.budgets.put(budget("newer"), "admin")
    accept(store, record("a", devices=[device("GPU-1", 60)], run_uid="run-1"))
    assert store.records.get("a").budgets == ("vision",)
    assert standing(store, "newer")[0] == 0
    assert store.budgets.balance("vision").balances[Unit.MJ].pending == 40


def test_a_record_is_found_by_run_and_by_filter_and_paged(store: Store) -> None:
    for number in range(7):
        started = MORNING + number // 2 * QUARTER
        accept(
            store,
            record(
                f"r-{number}",
                run_uid=f"run-{number % 2}",
                variant="sparse" if number == 3 else "teacher",
                started_at=started,
            ),
        )
    newest_first = [f"r-{number}" for number in (6, 5, 4, 3, 2, 1, 0)]
    found, cursor = [], None
    while True:
        page = store.records.list(cursor=cursor, limit=2)
        found += [stored.record.record_id for stored in page.records]
        cursor = page.cursor
        if cursor is None:
            break
    assert found == newest_first
    assert [stored.record.record_id for stored in store.records.run("run-1")] == ["r-1", "r-3", "r-5"]
    assert [s.record.record_id for s in store.records.list(RecordFilters(variant="sparse")).records] == ["r-3"]
    span = RecordFilters(since=MORNING + QUARTER, until=MORNING + 2 * QUARTER)
    assert [s.record.record_id for s in store.records.list(span).records] == ["r-3", "r-2"]


@pytest.mark.parametrize("cursor", ["", "x", "%%%", "bm90IGEgY3Vyc29y"])
def test_a_foreign_cursor_is_refused(store: Store, cursor: str) -> None:
    with pytest.raises(InvalidInputError):
        store.records.list(cursor=cursor)


def test_an_unknown_record_or_run_is_not_found(store: Store) -> None:
    with pytest.raises(NotFoundError):
        store.records.get("none")
    with pytest.raises(NotFoundError):
        store.records.run("none")


def test_history_gives_finished_fully_measured_runs(store: Store) -> None:
    accept(store, record("a", devices=[device("GPU-1", 5, 6)]), record("b", devices=[device("GPU-1", 5, None)]))
    past = store.records.history("vision")
    assert [(run.energy_mj, run.duration_ns, run.gpu_model, run.accelerators) for run in past] == [
        (11, 1_800 * 10**9, MODEL, Fraction(1))
    ]


def test_every_record_writes_its_entry_with_the_rows_that_priced_it(store: Store, database_url: str) -> None:
    accept(store, record(devices=[device("GPU-1", ONE_KWH)]))
    database = Database(database_url)
    with database.read() as connection:
        data = connection.execute(select(entries.c.data).where(entries.c.type == EntryType.RECORD.value)).scalar_one()
    database.close()
    entry = read_entry(data)
    assert entry.id == "r-1"
    assert entry.body["slices"][0]["footprint"]["carbon_location_ug"] == "480000000"
    assert len(entry.body["slices"][0]["rates"]["location"]) == 64
    assert entry.body["charges"][0]["posted"] == {"mj": str(ONE_KWH), "ug": "480000000", "micros": "360000"}


PIECES = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 89), st.integers(0, 10**7)),
    min_size=1,
    max_size=12,
    unique_by=lambda p: p[1],
)


@pytest.mark.slow
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=PIECES, order=st.randoms(use_true_random=False))
def test_law_1_charges_do_not_depend_on_order_or_batching_inside_a_record(
    tenants: Callable[[], Store], pieces: list[tuple[int, int, int]], order: object
) -> None:
    """Pieces of ten seconds, in any order and joined by quarter-hour or not, cost the same to the last unit."""
    spans = [(f"GPU-{gpu}", MORNING + timedelta(seconds=10 * place), energy) for gpu, place, energy in pieces]
    apart: dict[str, list[tuple[datetime, int]]] = {}
    joined: dict[tuple[str, datetime], int] = {}
    for uuid, start, energy in spans:
        apart.setdefault(uuid, []).append((start, energy))
        cell = (uuid, quarter_of(start))
        joined[cell] = joined.get(cell, 0) + energy
    order.shuffle(spans)  # type: ignore[attr-defined]
    length = timedelta(seconds=10)
    sent = [
        DeviceUse(uuid, MODEL, tuple(interval(s, s + length, e) for u, s, e in spans if u == uuid))
        for uuid in sorted(apart, reverse=True)
    ]
    whole = [
        DeviceUse(uuid, MODEL, tuple(interval(q, q + length, e) for (u, q), e in joined.items() if u == uuid))
        for uuid in sorted(apart)
    ]
    answers = []
    for devices in (sent, whole):
        store = tenants()
        furnish(store)
        accept(store, record(devices=devices))
        answers.append((standing(store), store.records.get("r-1").footprint))
    assert answers[0] == answers[1]


@pytest.mark.slow
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    energies=st.lists(st.integers(0, 10**7), min_size=1, max_size=6),
    again=st.lists(st.integers(0, 5), max_size=6),
    data=st.data(),
)
def test_law_7_records_sent_in_any_order_and_any_number_of_times_stand_the_same(
    tenants: Callable[[], Store], energies: list[int], again: list[int], data: st.DataObject
) -> None:
    sent = [
        record(f"r-{n}", devices=[device("GPU-1", energy, start=MORNING + n * QUARTER)])
        for n, energy in enumerate(energies)
    ]
    shuffled = data.draw(st.permutations([*sent, *(sent[n % len(sent)] for n in again)]))
    answers = []
    for each in (sent, shuffled):
        store = tenants()
        furnish(store)
        accept(store, *each)
        answers.append((standing(store), {s.record.record_id: s.slices for s in store.records.list().records}))
    assert answers[0] == answers[1]


@pytest.fixture
def tenants(database_url: str) -> Iterator[Callable[[], Store]]:
    """Another tenant of the same database each time."""
    opened: list[Store] = []

    def make() -> Store:
        if opened:
            opened[-1].close()
        opened.append(Store.open(database_url, tenant=f"tenant-{len(opened)}", clock=Clock()))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


def test_balances_as_of_an_instant_are_counted_again_from_what_was_written(database_url: str) -> None:
    clock = Clock()
    store = Store.open(database_url, clock=clock)
    furnish(store)
    steps = []
    for number in range(3):
        clock.now += timedelta(minutes=1)
        store.ledger.decide(request(f"run-{number}", 100))
        accept(store, record(f"r-{number}", devices=[device("GPU-1", 60)], run_uid=f"run-{number}"))
        steps.append((clock.now, store.budgets.balance("vision").balances))
    clock.now += timedelta(days=1)
    for at, balances in steps:
        assert store.budgets.balance("vision", as_of=at).balances == balances
    store.close()


def test_a_chosen_budget_binds_only_work_that_chose_it(store: Store) -> None:
    store.budgets.put(budget("golden", selectable=True), "admin")
    accept(store, record("a"))
    assert store.records.get("a").budgets == ("vision",)

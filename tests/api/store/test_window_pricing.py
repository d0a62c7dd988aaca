"""Windows are priced when their rates come, and again on demand: cumulative energy, rounded once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from joulegate.core.budgets import Limits
from joulegate.core.footprint import PriceRule
from joulegate.core.units import Energy, Money, Unit
from joulegate_api.store import Device, HoldState, Inventory, ObjectSeen, PodSeen, Store
from tests.api.store.examples import (
    FAR_AHEAD,
    LONG_AGO,
    MODEL,
    MORNING,
    Clock,
    budget,
    intensity,
    price,
    quote,
    request,
    site,
)
from tests.api.store.test_windows import batch, window

FIRST, SECOND = 333_333_333, 777_777_777


@pytest.fixture
def tenants(database_url: str) -> Iterator[Callable[[], Store]]:
    """Another tenant of the same database each time."""
    opened: list[Store] = []

    def make() -> Store:
        store = Store.open(database_url, tenant=f"tenant-{len(opened)}", clock=Clock())
        store.budgets.put(budget(limits=Limits(10**12, 10**15, 10**12, "EUR")), "admin")
        opened.append(store)
        return store

    yield make
    for each in opened:
        each.close()


@pytest.fixture
def store(tenants: Callable[[], Store]) -> Store:
    return tenants()


def furnish(store: Store, ug_per_kwh: int = FIRST, version: str = "2026-1") -> None:
    store.rates.put_intensities([intensity(ug_per_kwh, version=version)], "admin")
    store.rates.put_prices([price(277_777)], "admin")
    store.rates.put_sites([site(pue_ppm=1_234_567)], "admin")


def standing(store: Store) -> dict[Unit, tuple[int, int]]:
    balances = store.budgets.balance("vision", at=MORNING).balances
    return {unit: (balances[unit].posted, balances[unit].pending) for unit in Unit}


def expected(store: Store, energies: list[int]) -> tuple[int, int]:
    """Carbon and money of one subject, device and quarter-hour by the rates in force."""
    rates = store.rates.book().rates_at("default", None, MORNING)
    known = rates.apply(Energy(sum(energies)), 1)
    assert known.carbon_location is not None
    assert known.cost is not None
    return known.carbon_location.ug, known.cost.micros


def test_energy_without_a_rate_is_priced_once_when_one_comes_and_its_hold_closes(store: Store) -> None:
    store.ledger.decide(request("pod-1", quote(2_000, carbon_ug=50, cost=Money(9, "EUR"))))
    store.windows.ingest(batch(window(0), window(1)))
    store.holds.release("local", "pod-1", "operator")
    assert standing(store) == {Unit.MJ: (1_800, 0), Unit.UG: (0, 50), Unit.MICROS: (0, 9)}
    assert store.pricing.price_unpriced() == 0
    furnish(store)
    assert store.pricing.price_unpriced() == 1
    assert store.pricing.price_unpriced() == 0
    carbon, money = expected(store, [1_800])
    assert standing(store) == {Unit.MJ: (1_800, 0), Unit.UG: (carbon, 0), Unit.MICROS: (money, 0)}
    assert [part.state for part in store.holds.get("local", "pod-1")] == [HoldState.CLOSED]
    assert store.trial_balance.run().differences == ()


def test_what_was_priced_stays_until_it_is_priced_again_on_demand(store: Store) -> None:
    furnish(store)
    store.windows.ingest(batch(window(0, 10**7)))
    before = standing(store)
    furnish(store, SECOND, "2026-2")
    assert store.pricing.price_unpriced() == 0
    assert standing(store) == before
    store.windows.ingest(batch(window(1, 10**7)))
    assert store.pricing.reprice(LONG_AGO, MORNING, "admin", "a better factor") == 0
    assert store.pricing.reprice(LONG_AGO, FAR_AHEAD, "admin", "a better factor") == 1
    assert store.pricing.reprice(LONG_AGO, FAR_AHEAD, "admin", "a better factor") == 0
    carbon, money = expected(store, [2 * 10**7])
    assert (standing(store)[Unit.UG][0], standing(store)[Unit.MICROS][0]) == (carbon, money)
    assert store.trial_balance.run().differences == ()


def test_a_device_that_is_enrolled_later_is_priced_by_its_model_then(store: Store) -> None:
    store.rates.put_prices([price(rule=PriceRule.GPU_HOURS, gpu_model=MODEL)], "admin")
    store.rates.put_sites([site()], "admin")
    store.rates.put_intensities([intensity()], "admin")
    store.windows.ingest(batch(window(0, 10**6)))
    assert standing(store)[Unit.MICROS] == (0, 0)
    store.devices.enroll(Device("local", "node-1", "GPU-1", MODEL, None, MORNING))
    assert store.pricing.price_unpriced() == 1
    assert standing(store)[Unit.MICROS][0] > 0


def test_energy_priced_before_its_pod_was_known_is_drawn_from_the_root_as_priced(store: Store) -> None:
    store.ledger.decide(request("root", quote(2_000, carbon_ug=500_000, cost=Money(9_000, "EUR"))))
    store.windows.ingest(batch(window(0, 900_000)))
    furnish(store)
    store.pricing.price_unpriced()
    carbon, money = expected(store, [900_000])
    seen = ObjectSeen("root", None, "vision", "root", (PodSeen("pod-1", "node-1"),))
    store.inventories.put(Inventory("local", "jobs", MORNING, complete=True, objects=(seen,)))
    assert standing(store) == {
        Unit.MJ: (900_000, 0),
        Unit.UG: (carbon, 500_000 - carbon),
        Unit.MICROS: (money, 9_000 - money),
    }
    assert store.trial_balance.run().differences == ()


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(energies=st.lists(st.integers(0, 10**7), min_size=2, max_size=12), data=st.data())
def test_law_1_neither_batching_nor_order_nor_when_it_is_priced_changes_a_bill(
    tenants: Callable[[], Store], energies: list[int], data: st.DataObject
) -> None:
    store = tenants()
    sent = [window(seq, energy) for seq, energy in enumerate(energies)]
    cuts = data.draw(st.lists(st.integers(1, len(sent) - 1), max_size=5).map(sorted))
    pieces = [sent[a:b] for a, b in zip([0, *cuts], [*cuts, len(sent)], strict=True) if a < b]
    again = data.draw(st.lists(st.sampled_from(pieces), max_size=3))
    steps: list[Callable[[], object]] = [lambda piece=piece: store.windows.ingest(batch(*piece)) for piece in pieces]  # type: ignore[misc]
    steps += [lambda piece=piece: store.windows.ingest(batch(*piece)) for piece in again]  # type: ignore[misc]
    steps += [lambda: furnish(store), store.pricing.price_unpriced]
    store.ledger.decide(request("pod-1", quote(5 * 10**7, carbon_ug=10**6, cost=Money(10**4, "EUR"))))
    for step in data.draw(st.permutations(steps)):
        step()
    store.pricing.price_unpriced()
    carbon, money = expected(store, energies)
    stood = standing(store)
    assert [stood[unit][0] for unit in Unit] == [sum(energies), carbon, money]
    furnish(store, SECOND, "2026-2")
    store.windows.ingest(batch(window(len(sent), 1_234_567)))
    store.pricing.reprice(LONG_AGO, FAR_AHEAD, "admin", "a better factor")
    carbon, money = expected(store, [*energies, 1_234_567])
    stood = standing(store)
    assert [stood[unit][0] for unit in Unit] == [sum(energies) + 1_234_567, carbon, money]
    assert stood[Unit.UG][1] == max(0, 10**6 - carbon)
    assert store.trial_balance.run().differences == ()

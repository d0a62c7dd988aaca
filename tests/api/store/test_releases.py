"""Holds end by evidence: lists of live objects, and meters that answered for the time until the end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from joulegate.core.metering import Boundary, Method
from joulegate.core.units import Unit
from joulegate_api.store import Evidence, HoldState, Inventory, ObjectSeen, PodSeen, Store, Window, WindowBatch
from tests.api.store.examples import MORNING, QUARTER, Clock, budget, intensity, price, quote, request, site

MINUTE = timedelta(minutes=1)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(database_url: str, clock: Clock) -> Iterator[Store]:
    opened = Store.open(database_url, clock=clock)
    opened.budgets.put(budget(), "admin")
    opened.rates.put_intensities([intensity()], "admin")
    opened.rates.put_prices([price()], "admin")
    opened.rates.put_sites([site()], "admin")
    yield opened
    opened.close()


def standing(store: Store) -> tuple[int, int]:
    found = store.budgets.balance("vision", at=MORNING).balances[Unit.MJ]
    return found.posted, found.pending


def states(store: Store, uid: str = "root") -> list[HoldState]:
    return [part.state for part in store.holds.get("local", uid)]


def listed(store: Store, clock: Clock, *seen: ObjectSeen, complete: bool = True) -> Evidence:
    clock.now += MINUTE
    return store.inventories.put(Inventory("local", "jobs", clock.now, complete, seen))


def job(uid: str = "root", *pods: PodSeen) -> ObjectSeen:
    return ObjectSeen(uid, None, "vision", uid, pods)


def measured(store: Store, seq: int, start: datetime, end: datetime, energy_mj: int = 50) -> None:
    window = Window(
        window_seq=seq,
        device_uuid="GPU-1",
        start=start,
        end=end,
        energy_start_mj=seq * 1_000,
        energy_end_mj=seq * 1_000 + 1_000,
        active_mj=energy_mj,
        idle_mj=0,
        allocated_gpu_ns=1,
        pod_uid="pod-1",
        namespace="vision",
        pod="p",
        container="c",
        method=Method.NVML_COUNTER,
        boundary=Boundary.ACCELERATOR,
        coverage=1.0,
        uncertainty=None,
    )
    store.windows.ingest(WindowBatch("local", "node-1", "node-1/log", seq, (window,)))


def test_a_listed_root_is_confirmed(store: Store, clock: Clock) -> None:
    store.ledger.decide(request(quoted=100))
    listed(store, clock, job())
    assert states(store) == [HoldState.CONFIRMED]


def test_an_unconfirmed_hold_expires_only_on_a_complete_list_begun_after_it_without_its_root(
    store: Store, clock: Clock
) -> None:
    before = Inventory("local", "jobs", clock.now, complete=True, objects=())
    clock.now += MINUTE
    store.ledger.decide(request(quoted=100))
    store.inventories.put(before)
    listed(store, clock, complete=False)
    store.inventories.put(Inventory("local", "pods", clock.now, complete=True, objects=()))
    store.inventories.put(Inventory("elsewhere", "jobs", clock.now, complete=True, objects=()))
    clock.now += timedelta(days=30)
    assert states(store) == [HoldState.UNCONFIRMED]
    listed(store, clock)
    assert (states(store), standing(store)) == ([HoldState.EXPIRED], (0, 0))


def test_a_root_that_is_gone_is_released_at_once_where_no_meter_reports(store: Store, clock: Clock) -> None:
    store.ledger.decide(request(quoted=100))
    listed(store, clock, job("root", PodSeen("pod-1", "node-1")))
    listed(store, clock)
    assert (states(store), standing(store)) == ([HoldState.CLOSED], (0, 0))


def test_a_hold_waits_until_the_meter_of_its_last_pod_has_answered_past_its_end(store: Store, clock: Clock) -> None:
    store.ledger.decide(request(quoted=100))
    measured(store, 0, MORNING, MORNING + MINUTE, 10)
    listed(store, clock, job("root", PodSeen("pod-1", "node-1")))
    clock.now = MORNING + 10 * MINUTE
    listed(store, clock, job("root", PodSeen("pod-1", "node-1", clock.now)))
    listed(store, clock)
    assert (states(store), standing(store)) == ([HoldState.CONFIRMED], (10, 90))
    measured(store, 1, MORNING + MINUTE, MORNING + 9 * MINUTE)
    assert store.releases.sweep() == 0
    measured(store, 2, MORNING + 9 * MINUTE, MORNING + 11 * MINUTE, 20)
    assert store.releases.sweep() == 1
    assert (states(store), standing(store)) == ([HoldState.CLOSED], (80, 0))
    assert store.trial_balance.run().differences == ()


def test_killing_a_meter_makes_nothing_free(store: Store, clock: Clock) -> None:
    store.ledger.decide(request(quoted=quote(60, 40)))
    measured(store, 0, MORNING, MORNING + MINUTE, 10)
    listed(store, clock, job("root", PodSeen("pod-1", "node-1")))
    clock.now = MORNING + 2 * QUARTER
    listed(store, clock, job("root", PodSeen("pod-1", "node-1", clock.now)))
    listed(store, clock)
    clock.now += timedelta(hours=71)
    assert store.releases.sweep() == 0
    assert standing(store) == (10, 90)
    clock.now += timedelta(hours=1)
    store.releases.sweep()
    assert standing(store) == (100, 0)
    assert store.releases.sweep() == 0
    measured(store, 1, MORNING + MINUTE, MORNING + QUARTER, 33)
    assert standing(store) == (43, 0)
    assert store.trial_balance.run().differences == ()


def test_a_live_root_without_a_hold_is_named(store: Store, clock: Clock) -> None:
    evidence = listed(store, clock, job("stranger"))
    assert evidence.unadmitted == ("stranger",)


def test_the_same_list_again_concludes_nothing_new(store: Store, clock: Clock) -> None:
    store.ledger.decide(request(quoted=100))
    clock.now += MINUTE
    inventory = Inventory("local", "jobs", clock.now, complete=True, objects=(job(),))
    assert store.inventories.put(inventory).confirmed == ("root",)
    assert store.inventories.put(inventory).confirmed == ()
    assert store.inventories.put(replace(inventory, objects=())).ended == ("root",)

"""Holds end by evidence: lists of live objects, and meters that answered for the time until the end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from joulegate.core.metering import Boundary, Method
from joulegate.core.units import Unit
from joulegate_api.store import Evidence, HoldState, Inventory, ObjectSeen, Origin, PodSeen, Store, Window, WindowBatch
from joulegate_api.store.inventories import KEPT_WITHIN
from tests.api.store.examples import MORNING, QUARTER, Clock, budget, demand, intensity, price, quote, request, site

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


def measured(
    store: Store,
    seq: int,
    start: datetime,
    end: datetime,
    energy_mj: int = 50,
    *,
    node: str = "node-1",
    log: str = "log",
) -> None:
    window = Window(
        window_seq=seq,
        device_uuid=f"GPU-of-{node}",
        start=start,
        end=end,
        energy_start_mj=int((start - MORNING).total_seconds()) * 1_000,
        energy_end_mj=int((end - MORNING).total_seconds()) * 1_000,
        active_mj=energy_mj,
        idle_mj=0,
        allocated_gpu_ns=1,
        pod_uid="pod-1" if node == "node-1" else "pod-2",
        namespace="vision",
        pod="p",
        container="c",
        method=Method.NVML_COUNTER,
        boundary=Boundary.ACCELERATOR,
        coverage=1.0,
        uncertainty=None,
    )
    store.windows.ingest(WindowBatch("local", node, f"{node}/{log}", seq, (window,)))


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


def test_an_object_that_is_kept_after_the_list_was_begun_keeps_its_hold(store: Store, clock: Clock) -> None:
    """Between the decision and the object other webhooks may take their time; a list begun then proves nothing."""
    store.ledger.decide(request(quoted=100))
    clock.now += KEPT_WITHIN - timedelta(milliseconds=1)
    early = store.inventories.put(Inventory("local", "jobs", clock.now, complete=True, objects=()))
    assert (early.expired, early.ended, states(store)) == ((), (), [HoldState.UNCONFIRMED])
    clock.now += timedelta(milliseconds=1)
    late = store.inventories.put(Inventory("local", "jobs", clock.now, complete=True, objects=()))
    assert (late.expired, states(store)) == (("root",), [HoldState.EXPIRED])


def test_growth_that_nobody_has_seen_does_not_keep_a_root_that_is_gone(store: Store, clock: Clock) -> None:
    store.ledger.decide(request(quoted=100))
    listed(store, clock, job())
    store.ledger.decide(request(quoted=150, demand=demand(2)))
    clock.now += timedelta(seconds=1)
    gone = store.inventories.put(Inventory("local", "jobs", clock.now, complete=True, objects=()))
    assert (gone.ended, standing(store)[1]) == (("root",), 0)


def test_one_list_ends_every_part_of_a_root_that_ended_before_it_was_ever_confirmed(store: Store, clock: Clock) -> None:
    store.ledger.decide(request(quoted=100))
    store.ledger.decide(request(quoted=50, origin=Origin.EXTENDED, extension="more"))
    assert listed(store, clock).ended == ("root",)
    assert (states(store), standing(store)) == ([HoldState.EXPIRED, HoldState.CLOSED], (0, 0))


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
    assert store.trial_balance.run().differences == ()


def killed(store: Store, clock: Clock) -> None:
    """A run of two quarter-hours whose meter fell silent after a minute; 56 + 34 are estimated of 60 + 40 quoted."""
    store.ledger.decide(request(quoted=quote(60, 40)))
    measured(store, 0, MORNING, MORNING + MINUTE, 10)
    clock.now = MORNING + 2 * QUARTER
    listed(store, clock, job("root", PodSeen("pod-1", "node-1", clock.now)))
    listed(store, clock)
    clock.now += timedelta(hours=73)
    store.releases.sweep()
    assert standing(store) == (10 + 56 + 34, 0)


def test_only_the_time_that_was_measured_late_is_taken_back(store: Store, clock: Clock) -> None:
    killed(store, clock)
    measured(store, 1, MORNING + MINUTE, MORNING + QUARTER, 33)
    assert standing(store) == (10 + 33 + 34, 0)
    measured(store, 2, MORNING + QUARTER, MORNING + QUARTER + 5 * MINUTE, 7)
    assert standing(store) == (10 + 33 + 7 + 34 - 11, 0)
    store.releases.sweep()
    measured(store, 2, MORNING + QUARTER, MORNING + QUARTER + 5 * MINUTE, 7)
    assert standing(store) == (10 + 33 + 7 + 34 - 11, 0)
    measured(store, 3, MORNING + QUARTER + 5 * MINUTE, MORNING + 2 * QUARTER, 21)
    assert standing(store) == (10 + 33 + 7 + 21, 0)
    assert store.releases.sweep() == 0
    assert store.trial_balance.run().differences == ()


def test_late_windows_that_leave_out_some_take_nothing_back_before_those_have_come(store: Store, clock: Clock) -> None:
    killed(store, clock)
    measured(store, 2, MORNING + QUARTER, MORNING + 2 * QUARTER, 30)
    assert standing(store) == (10 + 30 + 56 + 34, 0)
    measured(store, 1, MORNING + MINUTE, MORNING + QUARTER, 33)
    assert standing(store) == (10 + 30 + 33, 0)


def test_what_lies_between_two_logs_of_a_meter_was_measured_by_nobody(store: Store, clock: Clock) -> None:
    store.ledger.decide(request(quoted=quote(60, 40)))
    measured(store, 0, MORNING, MORNING + 3 * MINUTE, 10)
    measured(store, 0, MORNING + QUARTER, MORNING + 2 * QUARTER, 30, log="another")
    clock.now = MORNING + 2 * QUARTER
    listed(store, clock, job("root", PodSeen("pod-1", "node-1", clock.now)))
    listed(store, clock)
    assert (states(store), standing(store)) == ([HoldState.CONFIRMED], (40, 60))
    clock.now += timedelta(hours=73)
    assert store.releases.sweep() == 1
    assert standing(store) == (40 + 48, 0)


def test_a_meter_is_waited_for_until_the_last_pod_on_its_node_has_ended(store: Store, clock: Clock) -> None:
    store.ledger.decide(request(quoted=quote(60, 40)))
    measured(store, 0, MORNING, MORNING + QUARTER, 10)
    measured(store, 0, MORNING, MORNING + 2 * QUARTER - QUARTER, 20, node="node-2")
    measured(store, 1, MORNING + QUARTER, MORNING + 2 * QUARTER, 20, node="node-2")
    clock.now = MORNING + 2 * QUARTER
    drained = PodSeen("pod-1", "node-1", MORNING + QUARTER)
    listed(store, clock, job("root", drained, PodSeen("pod-2", "node-2", clock.now)))
    listed(store, clock)
    assert states(store) == [HoldState.CLOSED]


def test_time_beyond_the_quote_is_estimated_as_the_quote_was_on_average(store: Store, clock: Clock) -> None:
    store.ledger.decide(request(quoted=quote(60, 40)))
    measured(store, 0, MORNING, MORNING + QUARTER, 10)
    measured(store, 1, MORNING + QUARTER, MORNING + 2 * QUARTER, 10)
    clock.now = MORNING + 3 * QUARTER
    listed(store, clock, job("root", PodSeen("pod-1", "node-1", clock.now)))
    listed(store, clock)
    clock.now += timedelta(hours=73)
    store.releases.sweep()
    assert standing(store) == (20 + 50, 0)


def test_growth_that_expired_is_in_no_estimate(store: Store, clock: Clock) -> None:
    store.ledger.decide(request(quoted=quote(60, 40)))
    listed(store, clock, job("root", PodSeen("pod-1", "node-1", None)))
    larger = replace(demand(), groups=(replace(demand().groups[0], replicas=2),))
    assert store.ledger.decide(request(quoted=quote(600, 400), demand=larger)).allowed
    store.holds.expire("local", "root", {})
    assert states(store) == [HoldState.CONFIRMED, HoldState.EXPIRED]
    measured(store, 0, MORNING, MORNING + MINUTE, 0)
    clock.now = MORNING + 2 * QUARTER
    listed(store, clock, job("root", PodSeen("pod-1", "node-1", MORNING + QUARTER)))
    listed(store, clock)
    clock.now += timedelta(hours=73)
    store.releases.sweep()
    assert standing(store) == (56, 0), "fourteen of fifteen minutes that were quoted at 60 mJ"


def test_an_estimate_for_a_closed_period_is_posted_to_the_open_one(store: Store, clock: Clock) -> None:
    store.ledger.decide(request(quoted=quote(60, 40)))
    measured(store, 0, MORNING, MORNING + MINUTE, 10)
    listed(store, clock, job("root", PodSeen("pod-1", "node-1", MORNING + 2 * QUARTER)))
    clock.now = datetime(2026, 12, 20, tzinfo=UTC)
    store.closes.close("vision", MORNING, "admin")
    listed(store, clock)
    december = store.budgets.balance("vision").balances[Unit.MJ]
    assert (standing(store), december.posted, december.pending) == ((10, 0), 90, 0)
    measured(store, 1, MORNING + MINUTE, MORNING + QUARTER, 33)
    december = store.budgets.balance("vision").balances[Unit.MJ]
    assert (standing(store), december.posted) == ((10, 0), 90 - 56 + 33)
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

"""Children of an admitted root: replacements pass, growth is decided, and nobody counts twice."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from fractions import Fraction

import pytest

from joulegate.core.workloads import Group
from joulegate_api.store import Child, Inventory, ObjectSeen, PodSeen, Store
from tests.api.store.examples import MODEL, Clock, budget, demand, request

TWO_PODS = replace(demand(), groups=(Group(MODEL, Fraction(1), 2),))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(database_url: str, clock: Clock) -> Iterator[Store]:
    opened = Store.open(database_url, clock=clock)
    opened.budgets.put(budget(), "admin")
    opened.ledger.decide(request("root", 100, demand=TWO_PODS))
    yield opened
    opened.close()


def pod(uid: str, owner: str = "root", boards: int = 1) -> Child:
    return Child("local", uid, owner, "vision", uid, demand(boards), is_pod=True)


def passes(store: Store, child: Child) -> bool:
    standing = store.trees.admit(child)
    assert standing is not None
    return standing.growth is None


def listed(store: Store, clock: Clock, *pods: PodSeen, **other: int) -> None:
    clock.now += timedelta(minutes=1)
    seen = ObjectSeen("root", None, "vision", "root", pods, demand=TWO_PODS, **other)
    store.inventories.put(Inventory("local", "jobs", clock.now, complete=True, objects=(seen,)))


def test_pods_pass_until_the_root_runs_what_it_was_admitted_with(store: Store) -> None:
    assert passes(store, pod("p-1"))
    assert passes(store, pod("p-1"))
    assert passes(store, pod("p-2"))
    standing = store.trees.admit(pod("p-3"))
    assert standing is not None
    assert standing.root_uid == "root"
    assert standing.growth is not None
    assert standing.growth.accelerators == 3
    assert {each.uid for each in standing.counted} == {"p-1", "p-2"}


def test_a_replacement_passes_while_the_pod_before_it_terminates_or_is_gone(store: Store, clock: Clock) -> None:
    assert passes(store, pod("p-1"))
    assert passes(store, pod("p-2"))
    store.trees.gone("local", ["p-1"], terminating=True)
    assert passes(store, pod("p-3"))
    store.trees.gone("local", ["p-2"])
    assert passes(store, pod("p-4"))
    assert not passes(store, pod("p-5"))
    listed(store, clock, PodSeen("p-3", "n", clock.now), PodSeen("p-4", "n"), PodSeen("p-2", "n", clock.now))
    assert passes(store, pod("p-5"))


def test_growth_that_was_held_lets_the_child_pass(store: Store) -> None:
    assert passes(store, pod("p-1", boards=2))
    standing = store.trees.admit(pod("p-2"))
    assert standing is not None
    assert standing.growth is not None
    assert store.ledger.decide(request(standing.root_uid, 150, demand=standing.growth)).allowed
    assert passes(store, pod("p-2"))


def test_a_drained_hold_is_no_reason_against_a_replacement(store: Store) -> None:
    store.ledger.decide(request("other", 900))
    assert passes(store, pod("p-1"))


def test_a_rolling_update_may_run_its_surge(store: Store, clock: Clock) -> None:
    listed(store, clock, PodSeen("p-1", "n"), PodSeen("p-2", "n"), surge=1)
    assert passes(store, pod("p-3"))
    assert not passes(store, pod("p-4"))


def test_a_chain_of_owners_leads_to_the_root(store: Store) -> None:
    assert store.trees.note("local", "middle", "root", "vision", "middle") == "root"
    assert passes(store, pod("p-1", owner="middle", boards=2))
    assert not passes(store, pod("p-2"))
    assert store.trees.root_of("local", "p-1") == "root"


def test_a_child_of_a_root_without_a_live_hold_is_none(store: Store) -> None:
    assert store.trees.admit(pod("p-1", owner="stranger")) is None
    assert store.trees.note("local", "middle", "stranger", "vision", "middle") is None
    store.holds.release("local", "root", "operator")
    assert store.trees.admit(pod("p-1")) is None


def test_an_object_that_makes_pods_is_weighed_by_its_own_demand(store: Store) -> None:
    assert passes(store, pod("p-1", boards=2))
    assert passes(store, Child("local", "rs", "root", "vision", "rs", demand(2), is_pod=False))
    assert not passes(store, Child("local", "rs-2", "root", "vision", "rs-2", demand(3), is_pod=False))


def test_a_dry_run_counts_nothing(store: Store) -> None:
    for number in range(3):
        standing = store.trees.admit(pod(f"p-{number}", boards=2), dry_run=True)
        assert standing is not None
        assert standing.growth is None


def test_a_pod_that_never_came_to_be_is_forgotten_by_a_complete_list(store: Store, clock: Clock) -> None:
    assert passes(store, pod("p-1", boards=2))
    listed(store, clock)
    assert passes(store, pod("p-2", boards=2))


def test_pods_of_an_adopted_root_count_as_listed(store: Store, clock: Clock) -> None:
    listed(store, clock, PodSeen("p-1", "n"), PodSeen("p-2", "n"))
    assert passes(store, pod("p-1"))
    assert not passes(store, pod("p-3"))


def test_a_list_with_a_smaller_demand_shrinks_the_hold_once(store: Store, clock: Clock) -> None:
    clock.now += timedelta(minutes=1)
    seen = ObjectSeen("root", None, "vision", "root", demand=demand(1))
    inventory = Inventory("local", "jobs", clock.now, complete=True, objects=(seen,))
    store.ledger.decide(request("root", 300, demand=demand(3)))
    assert store.inventories.put(inventory).shrunk == ()  # it is older than the growth
    clock.now += timedelta(minutes=1)
    newer = Inventory("local", "jobs", clock.now, complete=True, objects=(seen,))
    assert store.inventories.put(newer).shrunk == ("root",)
    assert store.inventories.put(newer).shrunk == ()
    assert store.ledger.held("local", "root") == demand(1)


def test_of_many_pods_at_once_exactly_the_entitled_pass(store: Store) -> None:
    passed: list[bool] = []
    threads = [threading.Thread(target=lambda n=n: passed.append(passes(store, pod(f"p-{n}")))) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(passed) == 2

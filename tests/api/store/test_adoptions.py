"""A budget enforces in a cluster with an operator once what ran in its scope has been adopted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from joulegate.core.binding import Work
from joulegate.core.budgets import Enforcement, Outcome, Reason, Scope, Verdict
from joulegate.core.errors import InvalidInputError
from joulegate.core.units import Unit
from joulegate_api.store import HoldFilters, Inventory, ObjectSeen, Origin, Store
from tests.api.store.examples import Clock, budget, demand, request

TOO_MUCH = 1_001
"""Of a budget of 1,000."""
SECOND = timedelta(seconds=1)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(database_url: str, clock: Clock) -> Iterator[Store]:
    opened = Store.open(database_url, clock=clock)
    yield opened
    opened.close()


def asked(store: Store, root: str = "root", energy_mj: int = TOO_MUCH, **other: object) -> Verdict:
    return store.ledger.decide(request(root, energy_mj, **other))


def adopted(store: Store, clock: Clock) -> frozenset[str]:
    """What waits after everything was listed once more."""
    clock.now += SECOND
    return store.adoptions.put("local", clock.now)


def test_without_an_operator_a_budget_enforces_at_once(store: Store) -> None:
    store.budgets.put(budget(), "admin")
    assert asked(store).outcome is Outcome.DENY


def test_where_an_operator_is_there_a_budget_audits_until_its_scope_was_adopted(store: Store, clock: Clock) -> None:
    assert store.adoptions.put("local", None) == frozenset()
    store.budgets.put(budget(), "operator")
    assert store.adoptions.put("local", clock.now) == {"vision"}, "no list that began with the budget proves anything"
    told = asked(store)
    assert (told.outcome, told.reason, told.budget) == (Outcome.ALLOW, Reason.WARNED, "vision")
    assert told.hold is not None
    assert told.detail == "what runs in its scope is still being adopted"
    assert told.warnings == ("budget vision is not enforced yet: what runs in its scope is still being adopted",)
    assert store.budgets.balance("vision").balances[Unit.MJ].pending == TOO_MUCH, "it is held as under Audit"
    assert adopted(store, clock) == frozenset()
    refused = asked(store, "another", 1)
    assert (refused.outcome, refused.warnings) == (Outcome.DENY, ())


def test_what_fits_meanwhile_is_within_the_budget_and_says_that_it_is_not_enforced(store: Store) -> None:
    store.adoptions.put("local", None)
    store.budgets.put(budget(), "operator")
    told = asked(store, energy_mj=1_000)
    assert (told.outcome, told.reason, told.detail) == (Outcome.ALLOW, Reason.WITHIN_BUDGET, None)
    assert len(told.warnings) == 1


def test_a_dry_run_says_the_same(store: Store) -> None:
    store.adoptions.put("local", None)
    store.budgets.put(budget(), "operator")
    rehearsed = store.ledger.decide(request("root", TOO_MUCH), dry_run=True)
    assert (rehearsed.outcome, rehearsed.reason) == (Outcome.ALLOW, Reason.WARNED)


def test_an_operator_that_is_new_has_adopted_nothing(store: Store, clock: Clock) -> None:
    store.budgets.put(budget(), "admin")
    clock.now += SECOND
    assert store.adoptions.put("local", None) == {"vision"}
    assert asked(store).allowed
    assert adopted(store, clock) == frozenset()
    assert not asked(store, "another").allowed


def test_other_clusters_and_those_that_no_operator_attends_do_not_wait(store: Store) -> None:
    store.adoptions.put("local", None)
    store.budgets.put(budget(), "operator")
    assert asked(store, cluster="elsewhere").outcome is Outcome.DENY
    assert asked(store, unattended=True).outcome is Outcome.DENY


def test_another_limit_waits_for_nothing_and_another_scope_does(store: Store, clock: Clock) -> None:
    store.adoptions.put("local", None)
    store.budgets.put(budget(), "operator")
    assert adopted(store, clock) == frozenset()
    store.budgets.put(budget(enforcement=Enforcement.QUEUE), "operator")
    assert asked(store).outcome is Outcome.QUEUE
    store.budgets.put(budget(scope=Scope(namespaces=("vision", "audio"))), "operator")
    assert asked(store).outcome is Outcome.ALLOW
    assert adopted(store, clock) == frozenset()
    assert asked(store, "another").outcome is Outcome.DENY


def test_a_budget_that_was_closed_is_adopted_anew(store: Store, clock: Clock) -> None:
    store.adoptions.put("local", None)
    store.budgets.put(budget(), "operator")
    adopted(store, clock)
    store.budgets.close("vision", "operator")
    adopted(store, clock)
    clock.now += SECOND
    store.budgets.put(budget(), "operator")
    assert store.adoptions.put("local", clock.now) == {"vision"}
    assert asked(store).allowed


def test_what_is_above_enforces_for_those_whose_own_budget_was_adopted(store: Store, clock: Clock) -> None:
    store.adoptions.put("local", None)
    store.budgets.put(budget("all", scope=None), "operator")
    store.budgets.put(budget("vision", parent="all"), "operator")
    assert adopted(store, clock) == frozenset()
    store.budgets.put(budget("audio", parent="all", scope=Scope(namespaces=("audio",))), "operator")
    audio = Work("audio", "training")
    assert asked(store, work=audio, namespace="audio").outcome is Outcome.ALLOW
    assert asked(store, "another").outcome is Outcome.DENY
    assert adopted(store, clock) == frozenset()
    assert asked(store, "third", work=audio, namespace="audio").outcome is Outcome.DENY


def test_a_list_in_parts_and_the_adoption_of_what_ran_leave_room_for_nothing_more(store: Store, clock: Clock) -> None:
    store.adoptions.put("local", None)
    store.budgets.put(budget(), "operator")
    clock.now += SECOND
    began = clock.now
    for part, uid in enumerate(("one", "two")):
        seen = (ObjectSeen(uid, None, "vision", uid, demand=demand()),)
        unknown = store.inventories.put(
            Inventory("local", "jobs", began, complete=True, objects=seen, part=part, parts=2)
        )
        assert unknown.unadmitted == (uid,)
        assert asked(store, uid, 600, origin=Origin.ADOPTED).reason is Reason.ADOPTED
        assert asked(store, f"beside-{uid}").allowed, "while a part is missing nothing is enforced"
    assert store.adoptions.put("local", began) == frozenset()
    assert asked(store, "late", 1).outcome is Outcome.DENY
    assert {row.root_uid for row in store.hold_list.list(HoldFilters(cluster="local")).holds} >= {"one", "two"}


def test_what_is_told_of_the_future_is_refused(store: Store, clock: Clock) -> None:
    with pytest.raises(InvalidInputError, match="future"):
        store.adoptions.put("local", clock.now + SECOND)


def test_an_adoption_outlives_the_process_and_a_repeat_changes_nothing(
    store: Store, clock: Clock, database_url: str
) -> None:
    store.adoptions.put("local", None)
    store.budgets.put(budget(), "operator")
    adopted(store, clock)
    version = store.budgets.hierarchy().version
    assert store.adoptions.put("local", clock.now) == frozenset()
    assert store.adoptions.put("local", None) == frozenset()
    assert store.budgets.hierarchy().version == version
    again = Store.open(database_url, clock=clock)
    try:
        assert asked(again).outcome is Outcome.DENY
    finally:
        again.close()


def test_growth_of_what_was_adopted_meanwhile_is_let_through(store: Store) -> None:
    store.adoptions.put("local", None)
    store.budgets.put(budget(), "operator")
    asked(store, energy_mj=1_000)
    grown = asked(store, energy_mj=3_000, demand=replace(demand(), groups=demand(3).groups))
    assert (grown.outcome, grown.reason) == (Outcome.ALLOW, Reason.WARNED)

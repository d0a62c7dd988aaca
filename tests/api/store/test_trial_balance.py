"""The trial balance finds every row that is not what the entries say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from joulegate_api.store import Amounts, BudgetException, Store
from tests.api.store.examples import MORNING, Clock, budget, device, record, request
from tests.api.store.superuser import disarm, execute


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    clock = Clock()
    opened = Store.open(database_url, clock=clock)
    opened.budgets.put(budget(), "admin")
    opened.ledger.decide(request("a", 100))
    opened.ledger.decide(request("b", 200))
    opened.ledger.decide(request("refused", 5_000))
    opened.holds.expire("local", "b", {})
    opened.records.accept(record("r", devices=[device("GPU-1", 60)], run_uid="a"), "r", "somebody")
    asked = BudgetException(
        "e", "vision", ("vision",), Amounts(5, 0, 0), None, "why", None, "ann", MORNING + timedelta(hours=1)
    )
    for number in range(2):
        opened.exceptions.request(replace(asked, exception_id=f"e-{number}"))
        opened.exceptions.approve(f"e-{number}", "bob")
    clock.now += timedelta(hours=2)
    opened.holds.release("local", "a", "operator")
    yield opened
    opened.close()


def test_what_was_written_adds_up(store: Store) -> None:
    found = store.trial_balance.run()
    assert found.differences == ()
    assert (found.entries, found.balances) == (14, 1)


@pytest.mark.parametrize(
    ("change", "row"),
    [
        ("UPDATE balances SET posted_mj = posted_mj - 1", "balances vision 2026-11-01T00:00Z posted_mj"),
        ("UPDATE balances SET exceptions_ug = 7", "balances vision 2026-11-01T00:00Z exceptions_ug"),
        (
            "UPDATE hold_claims SET pending_mj = 3 WHERE pending_mj = 0",
            "hold_claims vision 2026-11-01T00:00Z pending_mj",
        ),
        ("DELETE FROM balances", "balances vision 2026-11-01T00:00Z"),
        ("DELETE FROM entries WHERE type = 'record'", "balances vision 2026-11-01T00:00Z posted_mj"),
        ("UPDATE entries SET leaf_hash = data WHERE type = 'record'", "data"),
    ],
)
def test_what_was_changed_behind_the_log_is_named_to_the_row(store: Store, change: str, row: str) -> None:
    disarm(store)
    execute(store, change)
    assert any(row in difference.row for difference in store.trial_balance.run().differences)


def test_a_missing_entry_breaks_its_chain(store: Store) -> None:
    disarm(store)
    execute(store, "DELETE FROM entries WHERE type = 'budget'")
    assert any(difference.row.endswith("chain") for difference in store.trial_balance.run().differences)


@pytest.mark.parametrize("size", [1, 5, 9, 14])
def test_a_pruned_log_adds_up_from_what_was_brought_forward(store: Store, size: int) -> None:
    before = store.trial_balance.run()
    store.sequencer.catch_up()
    assert store.log.prune(size, {"before": "2026-12-01T00:00:00Z", "principal": "alice"}) == size
    after = store.trial_balance.run()
    assert (after.differences, after.entries) == ((), before.entries - size + 1)


def test_pruning_twice_brings_nothing_forward_twice(store: Store) -> None:
    store.sequencer.catch_up()
    for size in (7, 14, 14):
        store.log.prune(size, {"before": "2026-12-01T00:00:00Z", "principal": "alice"})
    assert store.trial_balance.run().differences == ()


def test_what_a_retention_does_not_cover_is_missed_after_pruning_too(store: Store) -> None:
    store.sequencer.catch_up()
    store.log.prune(4, {"before": "2026-12-01T00:00:00Z", "principal": "alice"})
    disarm(store)
    execute(store, "DELETE FROM entries WHERE type = 'record'")
    assert any(difference.row.endswith("chain") for difference in store.trial_balance.run().differences)

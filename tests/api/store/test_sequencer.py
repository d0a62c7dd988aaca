"""Entries get contiguous places in the log, once each, whoever sequences; and what does not hold gets none."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from joulegate.core.log import EntryType, read_entry
from joulegate.core.merkle import EMPTY_ROOT, leaf_hash, root_of
from joulegate_api.store import Store
from joulegate_api.store.sequencer import Sequencer
from tests.api.store.examples import MORNING, Clock
from tests.api.store.superuser import disarm, execute

Opener = Callable[..., Store]


@pytest.fixture
def opened(database_url: str) -> Iterator[Callable[..., Store]]:
    """Opens stores on one database; each is another process as far as the log can tell."""
    stores: list[Store] = []

    def open_(clock: Clock | None = None) -> Store:
        stores.append(Store.open(database_url, clock=clock))
        return stores[-1]

    yield open_
    for each in stores:
        each.close()


def write(store: Store, count: int, begin: int = 0) -> None:
    for number in range(begin, begin + count):
        store.log.note(EntryType.REPORT, f"fact-{number}", {"number": str(number)})


def hashes(store: Store) -> list[bytes]:
    return [leaf.leaf_hash for leaf in store.log.leaves(0, store.log.head().size)]


def test_an_empty_log_has_the_root_of_nothing(store: Store) -> None:
    assert (store.sequencer.step(), store.log.head().size, store.log.head().root) == (0, 0, EMPTY_ROOT)
    assert store.log.root_at(0) == EMPTY_ROOT


def test_places_are_contiguous_and_each_entry_has_one(store: Store) -> None:
    write(store, 40)
    assert store.log.head().size == 0
    assert store.sequencer.catch_up() == 40
    leaves = list(store.log.leaves(0, 40))
    assert [leaf.index for leaf in leaves] == list(range(40))
    facts = [read_entry(leaf.data).id for leaf in leaves if leaf.data is not None]
    assert sorted(facts) == sorted(f"fact-{number}" for number in range(40))
    assert all(leaf.data is not None and leaf_hash(leaf.data) == leaf.leaf_hash for leaf in leaves)
    assert store.log.head().root == root_of(leaf.leaf_hash for leaf in leaves)
    assert store.sequencer.catch_up() == 0


def test_the_tree_goes_on_where_it_was_left(store: Store) -> None:
    for begin in range(0, 100, 7):
        write(store, 7, begin)
        store.sequencer.catch_up()
    found = hashes(store)
    assert len(found) == 105
    for size in (1, 2, 16, 17, 64, 100, 105):
        assert store.log.root_at(size) == root_of(found[:size])


def test_two_processes_never_give_one_place_twice(opened: Opener) -> None:
    stores = [opened() for _ in range(3)]
    stop = threading.Event()

    def sequence(own: Store) -> None:
        while not stop.is_set():
            own.sequencer.step(at_once=True)

    threads = [threading.Thread(target=sequence, args=(own,)) for own in stores[:2]]
    for thread in threads:
        thread.start()
    write(stores[2], 60)
    stop.set()
    for thread in threads:
        thread.join()
    stores[0].sequencer.catch_up()
    facts = [read_entry(leaf.data).id for leaf in stores[0].log.leaves(0, 60) if leaf.data is not None]
    assert sorted(facts) == sorted(f"fact-{number}" for number in range(60))


def test_another_process_takes_over_where_the_holder_leaves_entries_waiting(opened: Opener) -> None:
    clock = Clock()
    first, second = opened(clock), opened(clock)
    write(first, 1)
    assert first.sequencer.step() == 1
    write(first, 1, 1)
    assert second.sequencer.step() == 0  # the holder is not late
    clock.now = MORNING + timedelta(seconds=6)
    assert second.sequencer.step() == 1
    write(first, 1, 2)
    assert first.sequencer.step() == 0  # it finds the epoch of another, and stands down
    assert second.sequencer.step() == 1
    assert first.log.head().epoch == 2


@pytest.mark.parametrize(
    "harm",
    [
        "UPDATE entries SET data = leaf_hash WHERE fact_id = 'fact-1'",
        "DELETE FROM entries WHERE fact_id = 'fact-1'",
        "DELETE FROM log_queue WHERE first_seq = 1",
    ],
)
def test_a_chain_that_does_not_hold_gets_no_places_and_is_told_of(store: Store, harm: str) -> None:
    write(store, 3)
    disarm(store)
    execute(store, harm)
    assert store.sequencer.catch_up() == 1
    waiting, _ = store.log.backlog()
    assert waiting.held == waiting.entries > 0
    other = Sequencer(store._database, "default")
    assert other.step(at_once=True) == 0


def test_a_checkpoint_is_signed_once_a_size(store: Store) -> None:
    write(store, 3)
    store.sequencer.catch_up()
    signed = store.sequencer.sign(lambda size, root: f"{size} {root.hex()}")
    assert signed is not None
    assert signed.note == f"3 {store.log.head().root.hex()}"
    assert store.sequencer.sign(lambda *_: "again") is None
    assert store.log.newest() == signed
    again = store.sequencer.sign(lambda *_: "again", again=True)
    assert again is not None
    assert [each.note for each in store.log.checkpoints(3)] == [signed.note, "again"]


@pytest.mark.parametrize("table", ["entries", "log_leaves", "log_nodes", "log_checkpoints"])
@pytest.mark.parametrize("statement", ["UPDATE {0} SET tenant = 'x'", "DELETE FROM {0}", "TRUNCATE {0}"])
def test_what_is_in_the_log_cannot_be_changed(store: Store, table: str, statement: str) -> None:
    if store._database.is_sqlite and statement.startswith("TRUNCATE"):
        return  # SQLite has no such statement: DELETE is what there is
    write(store, 20)
    store.sequencer.catch_up()
    store.sequencer.sign(lambda *_: "note")
    before = hashes(store)
    with pytest.raises(Exception, match="is only ever added to"):
        execute(store, statement.format(table))
    assert hashes(store) == before

"""The log is signed where it follows what was published, and frozen where it does not."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from joulegate import signing
from joulegate.core.checkpoints import Checkpoint, read_checkpoint, read_note
from joulegate.core.errors import UnavailableError
from joulegate.core.log import EntryType
from joulegate_api.log_keeper import LogKeeper
from joulegate_api.settings import Settings, load
from joulegate_api.store import Store
from tests.api.store.examples import budget


def settings_of(folder: Path) -> Settings:
    return load({"home": folder})


def keeper_of(store: Store, folder: Path) -> LogKeeper:
    keeper = LogKeeper(settings_of(folder), store)
    keeper.make_key("test")
    return keeper


def change(store: Store, name: str) -> None:
    store.budgets.put(budget(name), "alice")


@contextmanager
def restarted(url: str, folder: Path) -> Iterator[tuple[Store, LogKeeper]]:
    """The service begins on a database, as it does after a restore."""
    store = Store.open(url)
    keeper = keeper_of(store, folder)
    keeper.start()
    try:
        yield store, keeper
    finally:
        store.close()


def test_a_checkpoint_is_signed_anchored_and_kept(store: Store, tmp_path: Path) -> None:
    keeper = keeper_of(store, tmp_path)
    change(store, "a")
    assert keeper.checkpoint() == 1
    assert keeper.checkpoint() == 0  # nothing was added
    newest = store.log.newest()
    assert newest is not None
    assert newest.note == keeper.anchors[0].newest()
    note = read_note(newest.note)
    assert signing.is_note_of(note, keeper.keys()[0].verifier)
    head = store.log.head()
    assert read_checkpoint(note) == Checkpoint("joulegate/test/default", head.size, head.root)


def test_without_a_key_nothing_is_signed(store: Store, tmp_path: Path) -> None:
    keeper = LogKeeper(settings_of(tmp_path), store)
    assert keeper.checkpoint() == 0
    with pytest.raises(UnavailableError, match="no key"):
        keeper.sign()


def test_a_key_that_begins_to_sign_is_an_entry_and_a_rotation_is_signed_by_both(store: Store, tmp_path: Path) -> None:
    keeper = keeper_of(store, tmp_path)
    change(store, "a")
    keeper.sign()
    (old,) = keeper.keys()
    new = signing.new_key(old.name)
    signing.write_keys(tmp_path / "log" / "keys", [new, old])
    made = keeper.sign()
    assert made is not None
    assert all(signing.is_note_of(read_note(made.note), key.verifier) for key in (old, new))
    first, second = store.log.bodies(EntryType.KEY_EVENT)
    assert (first["key"], first["after"]) == (str(old.verifier), None)
    assert (second["key"], second["after"]) == (str(new.verifier), str(old.verifier))
    statement = read_note(second["statement"])
    assert statement.text == signing.key_statement(str(new.verifier), str(old.verifier))
    assert all(signing.is_note_of(statement, key.verifier) for key in (old, new))
    signing.write_keys(tmp_path / "log" / "keys", [new])
    change(store, "b")
    made = keeper.sign()
    assert made is not None
    assert not signing.is_note_of(read_note(made.note), old.verifier)


def test_a_database_that_was_put_back_is_found_on_start_and_refused_until_the_loss_is_accepted(
    sqlite_url: str, tmp_path: Path
) -> None:
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    with restarted(sqlite_url, tmp_path) as (store, keeper):
        change(store, "kept")
        keeper.sign()
    shutil.copyfile(path, tmp_path / "backup")
    with restarted(sqlite_url, tmp_path) as (store, keeper):
        change(store, "lost")
        published = keeper.sign()
        assert published is not None
    shutil.copyfile(tmp_path / "backup", path)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    with restarted(sqlite_url, tmp_path) as (store, keeper):
        assert keeper.read_only
        with pytest.raises(UnavailableError, match=r"read-only.*restored or changed"):
            change(store, "after")
        with pytest.raises(UnavailableError, match="read-only"):
            keeper.sign()
        assert [each.name for each in store.budgets.list()] == ["kept"]
        other = Store.open(sqlite_url)
        assert keeper_of(other, tmp_path).recover("alice") == 1
        other.close()
        assert keeper.checkpoint() == 0  # finds that the loss was accepted, and that all is signed
        change(store, "after")
        again = keeper.sign()
        assert again is not None
        assert keeper.anchors[0].newest() == again.note
        (told,) = store.log.bodies(EntryType.RECOVERY)
        assert told["lost_checkpoint"] == published.note
    with restarted(sqlite_url, tmp_path) as (store, keeper):
        assert not keeper.read_only
        assert keeper.recover("alice") == 0


def test_another_history_of_the_same_length_is_refused(store: Store, tmp_path: Path) -> None:
    keeper = keeper_of(store, tmp_path)
    change(store, "a")
    keeper.sign()
    forged = Checkpoint("joulegate/test/default", 1, bytes(32))
    note = str(signing.signed(forged, keeper.keys()))
    (tmp_path / "log" / "anchor" / "checkpoint").write_text(note)
    change(store, "b")
    with pytest.raises(UnavailableError, match="does not begin with it"):
        keeper.sign()
    assert keeper.read_only

"""Keeps the log: sequences it, signs it, anchors it outside the database, and stops where it was put back.

Before the service starts and before each signature, the newest checkpoint of every
anchor must be the head of a tree that begins this log. Where it is not, the
database was restored from a backup or changed, and nothing is written any more until
somebody accepts the loss, which is an entry itself.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from joulegate import signing
from joulegate.core.checkpoints import Checkpoint, Note, read_note
from joulegate.core.errors import ReadOnlyError, UnavailableError
from joulegate.core.log import EntryType
from joulegate.core.periods import format_instant
from joulegate.signing import SigningKey
from joulegate_api.anchors import Anchor, anchor_of, checkpoint_of, keep_in
from joulegate_api.logs import log
from joulegate_api.metrics import LogState
from joulegate_api.settings import Settings
from joulegate_api.store import Signed, Store
from joulegate_api.timers import Job

SEQUENCE_S: Final = 0.25
"""How often entries are given their places; the promise is a second."""


class LogKeeper:
    """Keeps the log of one store."""

    def __init__(self, settings: Settings, store: Store) -> None:
        """Read nothing yet: keys and anchors are read when they are needed."""
        self._store = store
        self._tenant = settings.tenant
        self._key_path = settings.log_key_path
        self._every_s = float(settings.checkpoint_s)
        self.anchors: tuple[Anchor, ...] = tuple(anchor_of(text) for text in settings.anchor_places)
        self._lock = threading.Lock()
        self._warned = False
        self._known_keys: list[str] | None = None

    def keys(self) -> tuple[SigningKey, ...]:
        """The signing keys, the one in use first."""
        return signing.read_keys(self._key_path)

    def make_key(self, install: str) -> SigningKey:
        """The key of this log; a new one of origin ``joulegate/<install>/<tenant>`` where there is none."""
        known = self.keys()
        if known:
            return known[0]
        key = signing.new_key(f"joulegate/{install}/{self._tenant}")
        signing.write_keys(self._key_path, [key])
        return key

    def rotate(self) -> SigningKey:
        """A new key before those of before; raises :class:`UnavailableError` where there is none to hand over."""
        known = self.keys()
        if not known:
            raise UnavailableError(f"there is no key at {self._key_path} that could be followed by another")
        key = signing.new_key(known[0].name)
        signing.write_keys(self._key_path, [key, *known])
        return key

    def prune(self, before: datetime, principal: str) -> tuple[int, int]:
        """Delete bodies of entries from before an instant; the index below which they went, and how many.

        The log is signed afterwards, so that what was deleted is covered by a checkpoint that says so.
        """
        self.start()
        self._store.sequencer.catch_up()
        index = self._store.log.index_before(before)
        if index == 0:
            return 0, 0
        count = self._store.log.prune(index, {"before": format_instant(before), "principal": principal})
        if self.keys():
            self.sign()
        return index, count

    def forget(self, name: str) -> int:
        """Erase what the log means by a name; how many rows went."""
        return self._store.log.forget(name)

    def start(self) -> None:
        """Compare the log with what was published, and freeze the ledger where it does not begin there."""
        try:
            self.prove()
        except UnavailableError as error:
            self._store.log.freeze(str(error))
            log.error("the ledger is read-only", cause=str(error))
        else:
            self._store.log.freeze(None)

    def jobs(self) -> tuple[Job, ...]:
        """What is done by the clock."""
        return (Job("sequence", SEQUENCE_S, self.sequence), Job("checkpoint", self._every_s, self.checkpoint))

    def sequence(self) -> int:
        """Give places to what waits; nothing while the ledger is frozen."""
        return 0 if self._store.log.frozen else self._store.sequencer.step()

    def checkpoint(self) -> int:
        """Sign and anchor what was added since the last checkpoint; 1 where there was something."""
        if not self.keys():
            if not self._warned:
                log.warning("the log is not signed: there is no key", path=str(self._key_path))
                self._warned = True
            return 0
        if self._store.log.frozen:
            self.start()  # somebody may have accepted the loss meanwhile
        return 0 if self._store.log.frozen or self.sign() is None else 1

    def sign(self) -> Signed | None:
        """Sign the log as it is, after it was proved against every anchor; None where nothing was added.

        Raises :class:`UnavailableError` where there is no key, or the log does not begin with what was published.
        """
        with self._lock:
            keys = self.keys()
            if not keys:
                raise UnavailableError(f"the log cannot be signed: there is no key at {self._key_path}")
            if self._store.log.frozen:
                raise ReadOnlyError(f"the ledger is read-only: {self._store.log.frozen}")
            try:
                accepted = self.prove()
            except UnavailableError as error:
                self._store.log.freeze(str(error))
                raise
            self._tell_of_keys(keys)
            self._store.sequencer.catch_up()
            made = self._store.sequencer.sign(
                lambda size, root: _note(keys, size, root), again=self._keys_changed(keys)
            )
            if made is not None:
                self._anchor(made, although_smaller=accepted)
            return made

    def covering(self) -> Signed:
        """A checkpoint of everything that was kept before this call."""
        made = self.sign() or self._store.log.newest()
        if made is None:
            raise UnavailableError("the log holds nothing that could be signed")
        return made

    def prove(self) -> bool:
        """Raise :class:`UnavailableError` where the newest checkpoint of an anchor does not begin this log.

        True where one does not, and its loss was accepted.
        """
        accepted = False
        for anchor in self.anchors:
            note = anchor.newest()
            if note is None:
                continue
            found = checkpoint_of(note, anchor.name)
            if self._begins_with(found):
                continue
            if not self._is_accepted(note):
                raise ReadOnlyError(
                    f"{anchor.name} knows a log of {found.size} leaves, and this database does not begin with it: "
                    "it was restored or changed; see `joulegate log recover --accept-loss`"
                )
            accepted = True
        return accepted

    def recover(self, principal: str) -> int:
        """Accept that published entries are lost: an entry for each anchor that cannot be followed; how many.

        The next checkpoint is signed and anchored at once.
        """
        lost = 0
        for anchor in self.anchors:
            note = anchor.newest()
            if note is None or self._begins_with(checkpoint_of(note, anchor.name)) or self._is_accepted(note):
                continue
            head = self._store.log.head()
            body = {
                "principal": principal,
                "lost_checkpoint": note,
                "lost_checkpoint_hash": _hash_of(note),
                "size": str(head.size),
                "root": head.root.hex(),
            }
            self._store.log.note(EntryType.RECOVERY, _hash_of(note), body, although_frozen=True)
            lost += 1
        self._store.log.freeze(None)
        if lost and self.keys():
            self.covering()
        return lost

    @property
    def read_only(self) -> bool:
        """Whether nothing may be written, because the log does not begin with what was published."""
        return self._store.log.frozen is not None

    def state(self) -> LogState:
        """What the metrics say."""
        backlog, now = self._store.log.backlog()
        newest = self._store.log.newest()
        return LogState(
            lag_s=0.0 if backlog.oldest is None else max(0.0, (now - backlog.oldest) / timedelta(seconds=1)),
            checkpoint_age_s=None if newest is None else max(0.0, (now - newest.signed_at) / timedelta(seconds=1)),
            held=backlog.held,
        )

    def _anchor(self, made: Signed, *, although_smaller: bool = False) -> None:
        faults = keep_in(self.anchors, made.note, made.size, made.signed_at, although_smaller=although_smaller)
        for fault in faults:
            log.error("a checkpoint was not anchored", cause=fault)

    def _begins_with(self, published: Checkpoint) -> bool:
        head = self._store.log.head()
        return published.size <= head.size and self._store.log.root_at(published.size) == published.root

    def _is_accepted(self, note: str) -> bool:
        return self._store.log.has(EntryType.RECOVERY, _hash_of(note))

    def _keys_changed(self, keys: Sequence[SigningKey]) -> bool:
        last = self._store.log.newest()
        if last is None:
            return False
        note = read_note(last.note)
        return not all(signing.is_note_of(note, key.verifier) for key in keys)

    def _tell_of_keys(self, keys: Sequence[SigningKey]) -> None:
        """An entry for each key that begins to sign: signed by itself, and by the key before it where there is one."""
        if self._known_keys is None:
            self._known_keys = [str(body["key"]) for body in self._store.log.bodies(EntryType.KEY_EVENT)]
        known = self._known_keys
        for key in reversed(keys):
            vkey = str(key.verifier)
            if vkey in known:
                continue
            statement = signing.key_statement(vkey, known[-1] if known else None)
            witnesses = [key, *(each for each in keys if known and str(each.verifier) == known[-1])]
            lines = Note(statement, tuple(each.sign(statement) for each in witnesses))
            body: dict[str, Any] = {"key": vkey, "after": known[-1] if known else None, "statement": str(lines)}
            self._store.log.note(EntryType.KEY_EVENT, vkey, body)
            known.append(vkey)


def _note(keys: Sequence[SigningKey], size: int, root: bytes) -> str:
    return str(signing.signed(Checkpoint(keys[0].name, size, root), keys))


def _hash_of(note: str) -> str:
    return sha256(note.encode()).hexdigest()

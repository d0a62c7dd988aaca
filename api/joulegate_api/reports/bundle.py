"""A report as a bundle: the log as it was when the report was made, signed, and the report recomputed from it.

The bundle of a report is the same each time: it goes as far as the first
checkpoint after the report's own entry.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import IO, Any, Final

from joulegate import bundles, signing
from joulegate.core.audit import AuditReport
from joulegate.core.checkpoints import read_checkpoint, read_key, read_note
from joulegate.core.encoding import encode
from joulegate.core.errors import ConflictError
from joulegate.core.log import EntryType, canonical, read_entry
from joulegate.core.periods import format_instant, parse_instant
from joulegate.core.recount import Recount, Reported
from joulegate.verification import manifest_of, recount_of
from joulegate_api.log_keeper import LogKeeper
from joulegate_api.reports.making import id_of
from joulegate_api.store import Signed, Store

NAME: Final = "bundle"
MEDIA_TYPE: Final = "application/zip"
_IN_MEMORY: Final = 32 << 20
_CHUNK: Final = 1 << 20


def tell(store: Store, report: AuditReport, principal: str) -> None:
    """Write the entry of a report; nothing while the ledger is read-only."""
    if store.log.frozen is None:
        body = {
            "digest": report.digest,
            "query": encode(report.query),
            "as_of": format_instant(report.as_of),
            "software": report.software,
            "principal": principal,
        }
        store.log.note(EntryType.REPORT, id_of(report), body)


def make(store: Store, keeper: LogKeeper, report: AuditReport) -> IO[bytes]:
    """The bundle of a report, as a file at its begin.

    Raises :class:`ConflictError` where the log does not tell of the report, or says something else than
    the tables, :class:`UnavailableError` where the log cannot be signed.
    """
    store.sequencer.catch_up()
    found = store.log.find(EntryType.REPORT, id_of(report))
    if found is None:
        raise ConflictError("the log does not tell of this report; make it anew")
    index, _, at = found
    signed = store.log.first_checkpoint(index) or keeper.covering()
    reported = Reported(report.query, report.as_of, parse_instant(at, "at"), report.software)
    writing = _Writing(store, signed, id_of(report), reported, report.digest)
    file = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 -- whoever sends it closes it
    try:
        bundles.write_zip(file, writing.members())
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return file


def pieces_of(file: IO[bytes]) -> Iterator[bytes]:
    """What is sent of a bundle; closes it at its end."""
    with file:
        while piece := file.read(_CHUNK):
            yield piece


@dataclass(slots=True)
class _Writing:
    """Members in the order of the zip; each is known when its turn comes."""

    store: Store
    signed: Signed
    report_id: str
    reported: Reported
    digest: str
    hashes: dict[str, tuple[str, int]] = field(default_factory=dict)

    def members(self) -> Iterator[tuple[str, Iterable[bytes]]]:
        note = read_note(self.signed.note)
        known = [read_key(str(body["key"])) for body in self.store.log.bodies(EntryType.KEY_EVENT)]
        keys = list(dict.fromkeys(str(key) for key in known if signing.is_note_of(note, key)))
        recount = recount_of(self.reported)
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as batches:
            yield bundles.CHECKPOINT, self._hashed(bundles.CHECKPOINT, [self.signed.note.encode()])
            yield bundles.ENTRIES, self._hashed(bundles.ENTRIES, self._entries(recount, batches))
            yield bundles.KEYS, self._hashed(bundles.KEYS, ["".join(f"{key}\n" for key in keys).encode()])
            report = recount.report()
            if report.digest != self.digest:
                raise ConflictError("the entries of the log make another report than the tables do")
            written = canonical(encode(report)) + b"\n"
            list(self._hashed(bundles.REPORT, [written]))
            batches.seek(0)
            list(self._hashed(bundles.WINDOWS, iter(lambda: batches.read(_CHUNK), b"")))
            batches.seek(0)
            head = read_checkpoint(note)
            yield bundles.MANIFEST, [manifest_of(head, self.report_id, self.reported, self.hashes)]
            yield bundles.REPORT, [written]
            yield bundles.WINDOWS, iter(lambda: batches.read(_CHUNK), b"")

    def _hashed(self, name: str, pieces: Iterable[bytes]) -> Iterator[bytes]:
        digest, size = sha256(), 0
        for piece in pieces:
            digest.update(piece)
            size += len(piece)
            yield piece
        self.hashes[name] = (digest.hexdigest(), size)

    def _entries(self, recount: Recount, batches: IO[bytes]) -> Iterator[bytes]:
        for leaf in self.store.log.leaves(0, self.signed.size):
            if leaf.data is None:
                yield bundles.pruned_line(leaf.leaf_hash)
                continue
            entry = read_entry(leaf.data)
            recount.add(entry.type, entry.at, entry.body)
            if entry.type == EntryType.WINDOWS:
                bodies: list[Any] = self.store.log.batch(entry.body["incarnation"], entry.body["seqs"])
                recount.add_windows(entry.at, entry.body, bodies)
                batches.write(canonical(bodies) + b"\n")
            yield leaf.data + b"\n"

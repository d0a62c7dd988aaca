"""The write-ahead log of windows: on the disk before anything is sent, and a day after it was acknowledged.

Windows get their numbers here, contiguous for each incarnation of the log over
all devices. The log never forgets an unacknowledged window: where its space is
used up, windows that were never sent are folded (:mod:`.folding`); where bytes
are damaged they are set aside, and the energy between the windows around them
becomes a window of nobody's (:mod:`.repair`).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from joulegate.core.periods import format_instant, parse_instant
from joulegate.home import make_private, write_private
from joulegate.windows import WindowBody
from joulegate.wire import to_json
from joulegate_operators.node.folding import fold
from joulegate_operators.node.frames import Appender, Reach, framed, frames, passing, sync_folder
from joulegate_operators.node.repair import fillers, holes
from joulegate_operators.node.segments import (
    Record,
    WindowJson,
    content_of,
    head_of,
    record_at,
    segment_path,
    segments,
    windows_in,
)

BUDGET: Final = 256 << 20
"""Most bytes of windows on a node's disk; 72 hours of 8 boards with 56 slices are about 15 MiB."""

KEPT: Final = timedelta(hours=24)
"""How long acknowledged windows stay: the recovery point of the API's database."""

SEGMENT: Final = 1 << 20
_MARKS: Final = 1 << 16


class WindowLog:
    """The windows of one node; safe to use from the thread that writes and the thread that sends."""

    def __init__(self, folder: Path, node_uid: str, *, reach: Reach = passing, budget: int = BUDGET) -> None:
        """Read what is there; raises ``OSError`` where the folder cannot be read."""
        self.folder = make_private(folder)
        self._reach = reach
        self._budget = budget
        self._lock = threading.RLock()
        self._missing = range(0)
        self._active: Appender | None = None
        self._marks: Appender | None = None
        self.through: dict[str, Any] = {}
        """What each device's chain had come to with the last record."""
        self.quarantined = 0
        """Damaged stretches that were set aside."""
        self.folded = 0
        """Windows that were folded into others."""
        self.sent = self.accepted = -1  # windows are numbered from 0
        self._acknowledged: list[tuple[int, datetime]] = []
        self._records: list[Record] = []
        self._load(node_uid)

    def _load(self, node_uid: str) -> None:
        found = segments(self.folder)
        damaged = [(segment, frame) for segment in found for frame in segment.damaged]
        for segment, frame in damaged:
            self._set_aside(f"{segment.path.name}-{frame.begin}.damaged", frame.content or b"")
        for segment in found:
            self.through.update(segment.through)
        named = [segment.incarnation for segment in found if segment.incarnation]
        self.incarnation = named[-1] if named else f"{node_uid}:{uuid4()}"
        unique = {record.first: record for segment in found for record in segment.records}
        self._records = [unique[first] for first in sorted(unique)]
        self._generations = {segment.path: segment.generation for segment in found}
        self._load_marks()
        self.next_seq = max(self._records[-1].last if self._records else -1, self.sent, self.accepted) + 1
        self._fill_holes()

    def _load_marks(self) -> None:
        path = self.folder / "marks.log"
        data = path.read_bytes() if path.exists() else b""
        for frame in frames(data):
            if frame.content is None:
                self._set_aside(f"marks.log-{frame.begin}.damaged", data[frame.begin : frame.end])
                self.sent = max(self.sent, self._records[-1].last if self._records else -1)  # nobody knows: take all
                continue
            mark = json.loads(frame.content)
            self.sent = max(self.sent, mark["sent"])
            if "accepted" in mark:
                self._take_acknowledgement(mark["accepted"], parse_instant(mark["at"], "at"))

    def _set_aside(self, name: str, content: bytes) -> None:
        """Keep damaged bytes for people; once for each place."""
        folder = make_private(self.folder / "quarantine")
        if not (folder / name).exists():
            self.quarantined += 1
            with suppress(OSError):
                (folder / name).write_bytes(content)

    def _fill_holes(self) -> None:
        """Numbers that no record has any more and the API may not have: their energy becomes nobody's."""
        self._missing = range(0)
        for first, last in holes(self._records, self.accepted, self.next_seq - 1):
            after = [record for record in self._records if record.first > last]
            if after:
                self._write_fillers(first, last, self._read(after))
            else:
                self._missing = range(first, last + 1)

    def fill_tail(self, following: list[WindowJson]) -> None:
        """Close a hole behind the last record, given where each device's next window will begin.

        Of ``following`` the device, start, energy at the start, method and
        coverage are used. Without this the next windows that are appended do it.
        """
        with self._lock:
            if self._missing and following:
                self._write_fillers(self._missing.start, self._missing.stop - 1, [following])
                self._missing = range(0)

    def _write_fillers(self, first: int, last: int, after: Iterable[list[WindowJson]]) -> None:
        before = [record for record in self._records if record.last < first]
        windows = fillers(first, last, self._read(reversed(before)), after)
        generation = 0
        while (path := segment_path(self.folder, first, generation)).exists():
            generation += 1
        self._write_segment(path, windows, {}, 0)

    def _read(self, records: Iterable[Record]) -> Iterable[list[WindowJson]]:
        for record in records:
            yield windows_in(record) or []

    # -- writing -----------------------------------------------------------------------------

    def append(self, windows: Sequence[WindowBody], through: dict[str, Any]) -> None:
        """Number windows and put them on the disk; raises ``OSError``, and nothing is numbered then."""
        with self._lock:
            rows: list[WindowJson] = [
                to_json(replace(window, window_seq=self.next_seq + index)) for index, window in enumerate(windows)
            ]
            self.fill_tail(rows)
            file = self._writable()
            begin = file.append(content_of(rows, through), durable=True)
            self._records.append(record_at(file.path, begin, file.size, rows))
            self.next_seq += len(rows)
            self.through.update(through)
            self._reach("wal.appended")

    def _writable(self) -> Appender:
        active = self._active
        if active is not None and not active.broken and active.size < SEGMENT:
            return active
        if active is not None:
            active.close()
            self._active = None
        first = self.next_seq
        generation = 0
        while (path := segment_path(self.folder, first, generation)).exists():
            generation += 1  # a file of which nothing could be believed
        self._reach("wal.segment")
        self._active = Appender(path, self._reach)
        self._active.append(head_of(self.incarnation), durable=True)
        sync_folder(self.folder)
        self._reach("wal.segment_durable")
        return self._active

    def _write_segment(self, path: Path, windows: list[WindowJson], through: dict[str, Any], until: int) -> None:
        """Write a whole file of windows at once, in records of the usual size, and take it into the index."""
        content = framed(head_of(self.incarnation, until))
        records = []
        for start in range(0, len(windows), _FOLD_RECORD):
            rows = windows[start : start + _FOLD_RECORD]
            frame = framed(content_of(rows, through if start == 0 else {}))
            records.append(record_at(path, len(content), len(content) + len(frame), rows))
            content += frame
        write_private(path, content)
        self._records = sorted([*self._records, *records], key=lambda record: record.first)

    # -- sending -----------------------------------------------------------------------------

    def batch(self, most: int, most_bytes: int) -> list[WindowJson]:
        """The windows after the acknowledged ones, in order, whole records at a time; empty where all are."""
        with self._lock:
            found: list[WindowJson] = []
            size = 0
            for record in self._waiting():
                size += record.end - record.begin
                if found and size > most_bytes:
                    break
                windows = windows_in(record)
                if windows is None:  # damaged since it was written
                    self.quarantined += 1
                    self._records = [other for other in self._records if other is not record]
                    self._fill_holes()
                    break
                found += [window for window in windows if window["window_seq"] > self.accepted]
                if len(found) >= most:
                    break
            return found[:most]

    def _waiting(self) -> list[Record]:
        return [record for record in self._records if record.last > self.accepted]

    @property
    def waiting_since(self) -> datetime | None:
        """When the oldest unacknowledged window ended; None where none waits."""
        with self._lock:
            return min((record.since for record in self._waiting()), default=None)

    def mark_sent(self, seq: int) -> None:
        """Remember, durably, that numbers up to ``seq`` go on the wire: from now on they are never folded."""
        with self._lock:
            if seq > self.sent:
                self._mark({"sent": seq})
                self.sent = seq
                self._reach("wal.marked_sent")

    def acknowledge(self, accepted_seq: int, at: datetime) -> None:
        """Take the API's high-water mark. One that went back (a restored database) makes what follows it wait again."""
        with self._lock:
            if accepted_seq == self.accepted:
                return
            self._take_acknowledgement(accepted_seq, at)
            self._reach("wal.acknowledging")
            with suppress(OSError):  # forgotten at the worst: it is sent again, and a repeat changes nothing
                self._mark({"sent": self.sent, "accepted": accepted_seq, "at": format_instant(at)})
            self._reach("wal.acknowledged")

    def _take_acknowledgement(self, accepted_seq: int, at: datetime) -> None:
        self.accepted = accepted_seq
        self._acknowledged = [mark for mark in self._acknowledged if mark[0] < accepted_seq]
        self._acknowledged.append((accepted_seq, at))

    def _mark(self, mark: dict[str, Any]) -> None:
        marks = self._marks
        if marks is None or marks.broken or marks.size > _MARKS:
            if marks is not None:
                marks.close()
                self._marks = None
            self._rewrite_marks()
            marks = self._marks = Appender(self.folder / "marks.log", self._reach)
        marks.append(json.dumps(mark, separators=(",", ":")).encode(), durable=True)

    def _rewrite_marks(self) -> None:
        kept = [{"sent": self.sent}]
        kept += [
            {"sent": self.sent, "accepted": seq, "at": format_instant(at)}  # type: ignore[dict-item]
            for seq, at in self._acknowledged
        ]
        content = b"".join(framed(json.dumps(mark, separators=(",", ":")).encode()) for mark in kept)
        write_private(self.folder / "marks.log", content)

    # -- keeping -----------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """Bytes of windows on the disk."""
        return sum(record.end - record.begin for record in self._records)

    def tidy(self, now: datetime) -> None:
        """Remove files acknowledged long ago; fold where the log is larger than its budget."""
        with self._lock:
            done = [seq for seq, at in self._acknowledged if at <= now - KEPT]
            self._remove_through(max(done, default=-1))
            self._acknowledged = [
                mark for mark in self._acknowledged if mark[1] > now - 2 * KEPT or mark[0] == self.accepted
            ]
            if self.size > self._budget:
                self._fold()

    def _remove_through(self, seq: int) -> None:
        active = self._active.path if self._active else None
        last: dict[Path, int] = {}
        for record in self._records:
            last[record.path] = max(last.get(record.path, -1), record.last)
        gone = {path for path, number in last.items() if number <= min(seq, self.accepted) and path != active}
        for path in gone:
            self._reach("wal.removing")
            path.unlink(missing_ok=True)
        self._records = [record for record in self._records if record.path not in gone]

    def _fold(self) -> None:
        """Make the windows that were never sent, of every file but the newest, into fewer and longer ones."""
        active = self._active.path if self._active else None
        mixed = {record.path for record in self._records if record.first <= max(self.sent, self.accepted)}
        chosen = [record for record in self._records if record.path not in mixed and record.path != active]
        if not chosen:
            return
        windows = [window for rows in self._read(chosen) for window in rows]
        folded = fold(windows)
        first, until = chosen[0].first, chosen[-1].last
        old = {record.path for record in chosen}
        generation = 1 + max(self._generations.get(path, 0) for path in old)
        kept = [record for record in self._records if record.path not in old]
        self._reach("wal.folding")
        before = self._records
        self._records = kept
        try:
            path = segment_path(self.folder, first, generation)
            self._write_segment(path, folded, dict(self.through), until)
        except Exception:
            self._records = before
            raise
        self._generations[path] = generation
        self._reach("wal.folded")
        for replaced in old:
            replaced.unlink(missing_ok=True)
        self.folded += len(windows) - len(folded)

    def close(self) -> None:
        """Let go of the files."""
        for file in (self._active, self._marks):
            if file is not None:
                file.close()


_FOLD_RECORD: Final = 500

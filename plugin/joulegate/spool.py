"""Keeps records on disk until the API has acknowledged them.

One file a record, named by the record's id. A record is written before it is
sent, so neither a crash nor an API that is away can lose it; the API knows a
record by its id, so sending it twice changes nothing.
"""

from __future__ import annotations

import fcntl
import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from joulegate.client import ApiError, Client
from joulegate.core.errors import InvalidInputError, UnavailableError
from joulegate.home import make_private, write_private

CAPACITY: Final = 10_000
"""Most records that wait; about 50 MB. A spool that fills up has an API that nobody looks after."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class Flushed:
    """What one round of sending did: ids delivered and set aside, how many wait, and why it stopped early."""

    delivered: tuple[str, ...] = ()
    quarantined: tuple[str, ...] = ()
    waiting: int = 0
    error: str | None = None


class Spool:
    """Records that wait in ``folder``; what the API refuses for good goes to ``folder/quarantine`` with the reason."""

    def __init__(self, folder: Path) -> None:
        """Name the folder; it is made when the first record comes."""
        self.folder = folder
        self.quarantine = folder / "quarantine"

    def put(self, body: Mapping[str, Any]) -> str:
        """Write one record's body and return its id; raises :class:`UnavailableError` where it cannot be kept."""
        record_id = str(body.get("record_id"))
        if not _NAME.fullmatch(record_id):
            raise InvalidInputError(f"{record_id[:60]!r} cannot name a record", "record_id")
        make_private(self.folder)
        if len(self.waiting()) >= CAPACITY:
            raise UnavailableError(
                f"{CAPACITY} records wait in {self.folder}: no more are kept until the API takes them"
            )
        content = json.dumps(body, allow_nan=False, separators=(",", ":"))
        write_private(self.folder / f"{record_id}.json", content.encode())
        return record_id

    def waiting(self) -> tuple[str, ...]:
        """The ids of the records that wait, oldest first."""
        try:
            files = [(path.stat().st_mtime_ns, path.stem) for path in self.folder.glob("[!.]*.json")]
        except FileNotFoundError:  # sent by somebody else just now
            return self.waiting()
        return tuple(record_id for _, record_id in sorted(files))

    def flush(self, client: Client, *, within_s: float, first: str | None = None) -> Flushed:
        """Send what waits, ``first`` before the others, for at most about ``within_s`` seconds.

        Stops where the API cannot be reached or does not let the sender in; a record
        that the API refuses for good is quarantined and the next one is sent. Raises
        :class:`UnavailableError` only where the spool itself cannot be written.
        """
        until = time.monotonic() + within_s
        delivered: list[str] = []
        quarantined: list[str] = []
        error: str | None = None
        for record_id in sorted(self.waiting(), key=lambda name: name != first):
            left_s = until - time.monotonic()
            if left_s <= 0:
                break
            patient = replace(client, timeout_s=min(client.timeout_s, left_s), retry_s=min(client.retry_s, left_s))
            with self._claimed(record_id) as content:
                if content is None:
                    continue
                try:
                    patient.post("/v1/records", json.loads(content), repeatable=True)
                except ApiError as refusal:
                    error = str(refusal)
                    if not refusal.refuses_content:
                        break
                    self._set_aside(record_id, error)
                    quarantined.append(record_id)
                except UnavailableError as away:
                    error = str(away)
                    break
                except ValueError as unreadable:  # not our writing: somebody edited the file
                    error = f"{record_id}.json is not JSON: {unreadable}"
                    self._set_aside(record_id, error)
                    quarantined.append(record_id)
                else:
                    (self.folder / f"{record_id}.json").unlink(missing_ok=True)
                    delivered.append(record_id)
        return Flushed(tuple(delivered), tuple(quarantined), len(self.waiting()), error)

    def _set_aside(self, record_id: str, reason: str) -> None:
        make_private(self.quarantine)
        write_private(self.quarantine / f"{record_id}.reason.txt", f"{reason}\n".encode())
        (self.folder / f"{record_id}.json").replace(self.quarantine / f"{record_id}.json")

    @contextmanager
    def _claimed(self, record_id: str) -> Iterator[bytes | None]:
        """The record's bytes, while no other process sends it; None where another one does or did."""
        try:
            file = (self.folder / f"{record_id}.json").open("rb")
        except OSError:
            yield None
            return
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                yield None
                return
            # Whoever held it before may have delivered it and unlinked the name.
            yield file.read() if (self.folder / f"{record_id}.json").exists() else None

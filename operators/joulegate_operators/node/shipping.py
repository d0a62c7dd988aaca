"""Sends windows to the API, in order, until each is acknowledged; sends the inventory of devices before them.

There is no last try: the API may be away for days. What it refuses as a whole
(another version, a token without the role) waits and is shown, nothing is dropped.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from joulegate.client import Client
from joulegate.clock import Clock
from joulegate.core.errors import JoulegateError
from joulegate.windows import WINDOWS_MOST, EnrolmentBody
from joulegate.wire import to_json
from joulegate_operators.node.frames import Reach, passing
from joulegate_operators.node.wal import WindowLog

MOST_BYTES: Final = 4 << 20
"""Bytes of one request; the API takes 8 MiB."""

_PAUSES_S: Final = (1.0, 2.0, 5.0, 10.0, 30.0)


class Shipper:
    """One thread that empties the log into the API."""

    def __init__(self, client: Callable[[], Client], log: WindowLog, clock: Clock, *, reach: Reach = passing) -> None:
        """``client`` is asked before every round: the token in its file is renewed while the process runs."""
        self._client = client
        self._log = log
        self._clock = clock
        self._reach = reach
        self._stop = threading.Event()
        self._due = threading.Event()
        self._lock = threading.Lock()
        self._enrolments: list[EnrolmentBody] = []
        self._failures = 0
        self.error: str | None = None
        """Why the last round failed, None after one that did not."""
        self.quarantined = 0
        """Windows that the API set aside."""
        self._thread = threading.Thread(target=self._run, name="joulegate shipper", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """There is something new."""
        self._due.set()

    def enrol(self, body: EnrolmentBody) -> None:
        """Send this about a device before the next windows."""
        with self._lock:
            self._enrolments.append(body)
        self.wake()

    def stop(self, within_s: float) -> None:
        """End the thread, and send what still waits for at most ``within_s`` seconds."""
        self._stop.set()
        self._due.set()
        self._thread.join(within_s)

    def _run(self) -> None:
        while True:
            self._due.clear()
            done = self.ship()
            if self._stop.is_set():
                return
            if done:
                self._due.wait()
            else:
                self._stop.wait(_PAUSES_S[min(self._failures, len(_PAUSES_S)) - 1])

    def ship(self) -> bool:
        """Send everything that waits; False where the API did not take it or the disk did not let us."""
        try:
            client = self._client()
            self._send_enrolments(client)
            while self._send_windows(client):
                pass
        except (JoulegateError, OSError) as error:
            self.error = str(error)
            self._failures += 1
            return False
        self.error = None
        self._failures = 0
        return True

    def _send_enrolments(self, client: Client) -> None:
        while self._enrolments:
            client.post("/v1/devices", to_json(self._enrolments[0]), repeatable=True)
            with self._lock:
                self._enrolments.pop(0)

    def _send_windows(self, client: Client) -> bool:
        """Send one batch; False where none waits."""
        before = self._log.accepted
        windows = self._log.batch(WINDOWS_MOST, MOST_BYTES)
        if not windows:
            return False
        self._log.mark_sent(max(max([w["window_seq"], *w["replaces"]]) for w in windows))
        self._reach("ship.before")
        body = {"incarnation": self._log.incarnation, "seq": windows[0]["window_seq"], "windows": windows}
        answer = replace(client, retry_s=0.0).post("/v1/windows", body, repeatable=True)
        self._reach("ship.answered")
        accepted = _accepted(answer)
        self.quarantined += len(answer.get("quarantined", ()))
        self._log.acknowledge(min(accepted, self._log.next_seq - 1), self._clock.now().utc)
        if accepted == before:
            raise JoulegateError(f"the API took windows and stays at {accepted}")
        return True


def _accepted(answer: Mapping[str, Any]) -> int:
    try:
        return max(-1, int(answer["accepted_seq"]))
    except (KeyError, TypeError, ValueError):
        raise JoulegateError(f"no high-water mark in the answer: {str(answer)[:200]}") from None


def oldest_unacknowledged_s(log: WindowLog, now: datetime) -> float:
    """For how long the oldest window has waited, in seconds; 0 where none waits."""
    since = log.waiting_since
    return max(0.0, (now - since).total_seconds()) if since else 0.0

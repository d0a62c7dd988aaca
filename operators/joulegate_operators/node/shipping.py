"""Sends windows to the API, in order, until each is acknowledged; sends the inventory of devices before them.

There is no last try: the API may be away for days, or refuse the token, and everything waits.
A window that it refuses for what is in it does not hold up the others: it is
found by halving, kept in :class:`~.refusals.Refusals`, and sent again after the
next start or :meth:`Shipper.retry`. Nothing is dropped.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from joulegate.client import ApiError, Client
from joulegate.clock import Clock
from joulegate.core.errors import JoulegateError
from joulegate.windows import WINDOWS_MOST, EnrolmentBody
from joulegate.wire import to_json
from joulegate_operators.node.frames import Reach, passing
from joulegate_operators.node.notices import say
from joulegate_operators.node.refusals import Refusals
from joulegate_operators.node.segments import WindowJson
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
        self.refusals = Refusals(log.folder / "refused")
        self._retry = True
        self._clock = clock
        self._reach = reach
        self._stop = threading.Event()
        self._due = threading.Event()
        self._lock = threading.Lock()
        self._enrolments: list[EnrolmentBody] = []
        self._failures = 0
        self._said: str | None = None
        self.error: str | None = None
        """Why the last round failed, None after one that did not."""
        self.quarantined = 0
        """Windows that the API set aside."""
        self.refused_devices = 0
        """Devices that the API would not enrol."""
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

    def retry(self) -> None:
        """Send refused windows again with the next round."""
        self._retry = True
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
            self._send_refused(client)
            while self._send_windows(client):
                pass
        except (JoulegateError, OSError) as error:
            self.error = str(error)
            self._failures += 1
            self._tell()
            return False
        self.error = None
        self._failures = 0
        self._tell()
        return True

    def _tell(self) -> None:
        """Say once why windows wait, from the second failure on, and once that they do no longer."""
        if self.error is not None and self._failures > 1 and self.error != self._said:
            say("windows wait", reason=self.error)
            self._said = self.error
        elif self.error is None and self._said is not None:
            say("windows are sent again")
            self._said = None

    def _send_enrolments(self, client: Client) -> None:
        while self._enrolments:
            body = self._enrolments[0]
            try:
                client.post("/v1/devices", to_json(body), repeatable=True)
            except ApiError as error:
                if not error.refuses_content:
                    raise
                self.refused_devices += 1  # told again after the next start: the inventory keeps it
                say("device refused", uuid=body.uuid, reason=str(error))
            with self._lock:
                self._enrolments.pop(0)

    def _send_refused(self, client: Client) -> None:
        """Send what was refused before, each by itself."""
        if not self._retry:
            return
        for incarnation, window in self.refusals.waiting():
            body = {"incarnation": incarnation, "seq": window["window_seq"], "windows": [window]}
            try:
                self._count(client.post("/v1/windows", body, repeatable=True))
            except ApiError as error:
                if not error.refuses_content:
                    raise
                say("window refused again", window_seq=window["window_seq"], reason=str(error))
            else:
                self.refusals.taken(incarnation, window)
        self._retry = False

    def _send_windows(self, client: Client) -> bool:
        """Send one batch; False where none waits."""
        before = self._log.accepted
        windows = self._log.batch(WINDOWS_MOST, MOST_BYTES)
        if not windows:
            return False
        self._log.mark_sent(max(max([w["window_seq"], *w["replaces"]]) for w in windows))
        self._reach("ship.before")
        once = replace(client, retry_s=0.0)
        try:
            accepted = self._post(once, windows)
        except ApiError as error:
            if not error.refuses_content:
                raise
            self._post(once, [])  # where this is refused too it is not for the sake of these windows
            accepted = self._post_halves(once, windows, error)
        if accepted == before:
            raise JoulegateError(f"the API took windows and stays at {accepted}")
        return True

    def _post_halves(self, client: Client, windows: list[WindowJson], error: ApiError) -> int:
        """Bring over every window but those that the API refuses by themselves; its mark after that."""
        if len(windows) == 1:
            return self._set_aside(client, windows[0], error)
        accepted = self._log.accepted
        middle = len(windows) // 2
        for half in (windows[:middle], windows[middle:]):
            try:
                accepted = self._post(client, half)
            except ApiError as again:
                if not again.refuses_content:
                    raise
                accepted = self._post_halves(client, half, again)
        return accepted

    def _set_aside(self, client: Client, window: WindowJson, error: ApiError) -> int:
        """Keep a window that is refused by itself, then tell the API that its numbers are kept back."""
        self.refusals.keep(self._log.incarnation, window, str(error))
        self._reach("ship.set_aside")
        say("window refused", window_seq=window["window_seq"], device=window["device_uuid"], reason=str(error))
        return self._post(client, [], (window["window_seq"], *window["replaces"]))

    def _post(self, client: Client, windows: list[WindowJson], withheld: tuple[int, ...] = ()) -> int:
        """Send one request and take its mark; raises :class:`ApiError`."""
        seq = windows[0]["window_seq"] if windows else self._log.accepted + 1
        body: dict[str, Any] = {"incarnation": self._log.incarnation, "seq": seq, "windows": windows}
        if withheld:
            body |= {"withheld": sorted(withheld)}
        answer = client.post("/v1/windows", body, repeatable=True)
        self._reach("ship.answered")
        accepted = _accepted(answer)
        self._count(answer)
        self._log.acknowledge(min(accepted, self._log.next_seq - 1), self._clock.now().utc)
        return accepted

    def _count(self, answer: Mapping[str, Any]) -> None:
        apart = answer.get("quarantined", ())
        self.quarantined += len(apart)
        if apart:
            first = apart[0]
            say("windows quarantined", count=len(apart), window_seq=first["window_seq"], reason=first["reason"])


def _accepted(answer: Mapping[str, Any]) -> int:
    try:
        return max(-1, int(answer["accepted_seq"]))
    except (KeyError, TypeError, ValueError):
        raise JoulegateError(f"no high-water mark in the answer: {str(answer)[:200]}") from None


def oldest_unacknowledged_s(log: WindowLog, now: datetime) -> float:
    """For how long the oldest window has waited, in seconds; 0 where none waits."""
    since = log.waiting_since
    return max(0.0, (now - since).total_seconds()) if since else 0.0

"""Which minutes of a root no meter answered for, kept deliberately naive: sets of minutes, counted again each time.

It shares no code with the store. A log answers for a device from its first to its last window,
as far as no number is missing before; between two logs nobody measured.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

MINUTE = timedelta(minutes=1)


def minutes_between(since: datetime, until: datetime) -> set[datetime]:
    return {since + number * MINUTE for number in range(max(0, (until - since) // MINUTE))}


@dataclass
class PlainWindow:
    log: str
    number: int
    node: str
    gpu: str
    minute: datetime


@dataclass
class PlainMeters:
    """Windows of a minute each, pods by root with node and end, and GPUs with node, enrolment and retirement."""

    windows: list[PlainWindow] = field(default_factory=list)
    pods: dict[str, list[tuple[str, datetime | None]]] = field(default_factory=dict)
    gpus: dict[str, tuple[str, datetime, datetime | None]] = field(default_factory=dict)

    def uncovered(self, root: str, begin: datetime, end: datetime) -> set[datetime]:
        found: set[datetime] = set()
        for node in {node for node, _ in self.pods.get(root, [])}:
            until = max(min(ended or end, end) for there, ended in self.pods[root] if there == node)
            found |= self._of_node(node, begin, until)
        return found

    def _of_node(self, node: str, begin: datetime, end: datetime) -> set[datetime]:
        answered = self._answered(node, begin - timedelta(days=1))
        enrolled = {gpu: told for gpu, told in self.gpus.items() if told[0] == node}
        if not answered and not enrolled:
            return minutes_between(begin, end)
        found: set[datetime] = set()
        for gpu in {*answered, *enrolled}:
            _, since, until = enrolled.get(gpu, (node, begin, None))
            minutes = answered.get(gpu, set())
            first = max(begin, min(minutes) if minutes else since)
            found |= minutes_between(first, min(end, until or end)) - minutes
        return found

    def _answered(self, node: str, since: datetime) -> dict[str, set[datetime]]:
        found: dict[str, set[datetime]] = {}
        for log in {window.log for window in self.windows if window.node == node}:
            own = [window for window in self.windows if window.log == log]
            numbers = {window.number for window in own}
            taken = [w for w in own if set(range(w.number)) <= numbers and w.minute + MINUTE > since]
            for gpu in {window.gpu for window in taken}:
                minutes = [window.minute for window in taken if window.gpu == gpu]
                found.setdefault(gpu, set()).update(minutes_between(min(minutes), max(minutes) + MINUTE))
        return found

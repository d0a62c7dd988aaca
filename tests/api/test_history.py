"""History: read once for a burst, and again once something came in."""

import time
from typing import Any

import pytest

from joulegate_api.history import FRESH_S, History
from tests.api.running import Service, record


class Counted:
    """A store whose histories are counted."""

    def __init__(self) -> None:
        self.records = self
        self.reads = 0

    def history(self) -> tuple[Any, ...]:
        self.reads += 1
        return (self.reads,)


def test_a_burst_reads_once_and_what_is_old_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    store = Counted()
    kept = History(store)  # type: ignore[arg-type] # as much of a store as this needs
    kept.runs()
    kept.runs()
    assert store.reads == 1
    now[0] = FRESH_S
    kept.runs()
    assert store.reads == 2
    kept.forget()
    kept.runs()
    assert store.reads == 3


def test_a_record_that_came_in_counts_at_once(sqlite_service: Service) -> None:
    assert sqlite_service.context.history.runs() == ()
    sqlite_service.post("/v1/records", record())
    assert len(sqlite_service.context.history.runs()) == 1

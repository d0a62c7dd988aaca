"""Finished runs for predictions, kept for a moment: a burst of reviews reads them once."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Final

from joulegate.core.prediction import PastRun
from joulegate_api.store import Store

FRESH_S: Final = 10.0
"""How old what is kept may be; another replica's newest records come in that late."""


class History:
    """The newest measured runs of every namespace."""

    def __init__(self, store: Store) -> None:
        """Know nothing yet."""
        self._store = store
        self._lock = threading.Lock()
        self._runs: Sequence[PastRun] = ()
        self._until = 0.0

    def runs(self) -> Sequence[PastRun]:
        """The runs; whoever comes while they are read waits for that one reading."""
        with self._lock:
            if time.monotonic() >= self._until:
                self._runs = self._store.records.history()
                self._until = time.monotonic() + FRESH_S
            return self._runs

    def forget(self) -> None:
        """Read again next time: a record came in."""
        with self._lock:
            self._until = 0.0

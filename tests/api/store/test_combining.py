"""Callers that arrive together are served together, and nobody by what was begun before they asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from joulegate_api.store.combining import Combiner


def test_who_asks_while_others_are_served_is_answered_by_what_is_read_afterwards() -> None:
    kept, begun, go = ["before"], threading.Event(), threading.Event()

    def serve(asked: Sequence[None]) -> Sequence[str]:
        seen = kept[0]
        begun.set()
        go.wait(10)
        return [seen] * len(asked)

    combiner: Combiner[None, str] = Combiner(serve, 8)
    with ThreadPoolExecutor(4) as callers:
        first = callers.submit(combiner.ask, None)
        begun.wait(10)
        kept[0] = "after"
        late = [callers.submit(combiner.ask, None) for _ in range(3)]
        time.sleep(0.05)  # they wait for their turn by now
        go.set()
        assert first.result(10) == "before"
        assert [each.result(10) for each in late] == ["after"] * 3

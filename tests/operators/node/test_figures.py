"""The meter is alive as long as samples arrive, and only so long."""

from __future__ import annotations

import time
from typing import Any, cast

from joulegate.clock import Instant
from joulegate_operators.node.figures import SILENCE_NS, Figures
from joulegate_operators.node.sampling import Sampler
from tests.operators.node.day import START as DAY
from tests.operators.node.day import Now
from tests.operators.node.fleet import Board, FleetReader


def waiting(reader: FleetReader, clock: Now) -> tuple[Sampler, Figures]:
    sampler = Sampler(reader, 10_000_000, clock)
    nobody = cast("Any", None)  # health asks the sampler only
    return sampler, Figures(nobody, sampler, nobody, nobody, nobody, clock)


def test_a_meter_is_alive_while_one_gpu_answers_and_not_when_all_are_silent_for_a_minute() -> None:
    clock, reader = Now(), FleetReader([Board("GPU-1"), Board("GPU-2")])
    sampler, figures = waiting(reader, clock)
    assert figures.alive() == "no device is known"
    sampler.watch(reader.devices())
    assert figures.alive() is None
    reader.board("GPU-1").answers = False
    clock.instant = Instant(SILENCE_NS + 1, DAY)
    reader.now_ns = SILENCE_NS + 1
    deadline = time.monotonic() + 10
    while sampler.heard_ns["GPU-2"] == 0:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert figures.alive() is None, "the other one answers"
    reader.board("GPU-2").answers = False
    time.sleep(0.05)
    clock.instant = Instant(3 * SILENCE_NS, DAY)
    assert figures.alive() == "no device has answered for 119 s"
    assert sampler.failures > 0
    sampler.stop()

"""A day of one node in fast time: 100 pods on three boards, the true energy of each, and the meter's windows."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from joulegate.client import Client
from joulegate.clock import Instant
from joulegate.core.metering import NVML
from joulegate.windows import EnrolmentBody
from joulegate_operators.node.holds import DeviceHolds, Hold, Sharing, Subject
from joulegate_operators.node.meter import NodeMeter, Sample
from joulegate_operators.node.shipping import Shipper
from joulegate_operators.node.tape import Tape
from joulegate_operators.node.wal import WindowLog
from tests.operators.node.fleet import Board

START = datetime(2026, 11, 23, 0, 0, tzinfo=UTC)
STEP_S = 10
STEPS = 24 * 3_600 // STEP_S
IDLE_MW = 60_000
NAMES = 12
"""Pods take turns under so few names."""


@dataclass(frozen=True)
class Pod:
    """One pod: the board and units that it holds from a step to a step, and what its work draws."""

    uid: str
    name: str
    board: str
    units: int
    first: int
    last: int
    power_mw: int

    @property
    def hold(self) -> Hold:
        return Hold(Subject(self.uid, "vision", self.name, "main"), self.units)


KINDS = {"GPU-1": (Sharing.EXCLUSIVE, 1), "GPU-2": (Sharing.REPLICAS, 4), "GPU-3": (Sharing.MIG, 7)}


def pods_of_a_day(seed: int = 6) -> list[Pod]:
    """100 pods; each board hands out its units one after the other, and is idle for the first quarter of an hour."""
    chance = random.Random(seed)  # noqa: S311 -- a scenario
    places = [("GPU-1", 1), *([("GPU-2", 1)] * 4), ("GPU-3", 3), ("GPU-3", 2), ("GPU-3", 1), ("GPU-3", 1)]
    free = [90] * len(places)
    pods = []
    for number in range(100):
        place = min(range(len(places)), key=free.__getitem__)
        board, units = places[place]
        first = free[place] + chance.randrange(1, 60)
        last = min(first + chance.randrange(60, 900), STEPS - 10)
        free[place] = last + chance.randrange(0, 30)
        power = chance.randrange(20_000, 60_000)
        pods.append(Pod(f"uid-{number:03}", f"job-{number % NAMES}", board, units, first, last, power))
    return pods


@dataclass
class Truth:
    """What each pod truly drew, in mJ: its own work, and its part of idling."""

    by_pod: Counter[str] = field(default_factory=Counter)
    by_board: Counter[str] = field(default_factory=Counter)


def live(folder: Path, address: str, token: str) -> Truth:
    """Run the day; the windows go to the API at every quarter-hour."""
    log = WindowLog(folder / "windows", "node-uid-1")
    meter = NodeMeter(log, Tape(folder / "tape"), NVML, "boot")
    boards = {uuid: Board(uuid) for uuid in KINDS}
    clock = Now()
    shipper = Shipper(lambda: Client(address, token), log, clock)
    for board in boards.values():
        shipper.enrol(EnrolmentBody("local", "node-1", board.uuid, board.model, board.limit_mw, START))
    pods, truth = pods_of_a_day(), Truth()
    for step in range(1, STEPS + 1):
        clock.instant = Instant(step * STEP_S * 10**9, START + timedelta(seconds=step * STEP_S))
        now_ns = clock.instant.boottime_ns
        if step == 1:
            meter.resume(clock.instant)
        running = {uuid: [p for p in pods if p.board == uuid and p.first <= step < p.last] for uuid in boards}
        use = {}
        for uuid, board in boards.items():
            before = board.energy_mj
            board.advance(now_ns)
            truth.by_board[uuid] += board.energy_mj - before
            board.power_mw = IDLE_MW + sum(pod.power_mw for pod in running[uuid])
            for pod in running[uuid]:
                truth.by_pod[pod.uid] += (pod.power_mw + IDLE_MW * pod.units // KINDS[uuid][1]) * STEP_S
            ending = [p for p in pods if p.board == uuid and p.first < step <= p.last]
            use[uuid] = ({pod.hold.subject.key: pod.power_mw for pod in ending}, 0)
        holds = {uuid: DeviceHolds(*KINDS[uuid], tuple(sorted(pod.hold for pod in running[uuid]))) for uuid in boards}
        readings = {uuid: [board.reading(now_ns)] for uuid, board in boards.items()}
        meter.tick(Sample(clock.instant, readings, holds, use), [board.device() for board in boards.values()])
        if step % 90 == 5:
            assert shipper.ship(), shipper.error
    meter.finish(clock.instant)
    assert shipper.ship(), shipper.error
    assert shipper.quarantined == 0
    return truth


@dataclass
class Now:
    """The day's clock."""

    instant: Instant = field(default_factory=lambda: Instant(0, START))

    def boottime_ns(self) -> int:
        return self.instant.boottime_ns

    def now(self) -> Instant:
        return self.instant

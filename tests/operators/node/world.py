"""Three hours of one node in fast time, as a program that can be killed anywhere and goes on where time stood.

    python -m tests.operators.node.world FOLDER ADDRESS [POINT:COUNT]

Two boards, pods that come and go, an API that is away for an hour. With a point the
process kills itself with SIGKILL when it reaches that point for the COUNT-th time.
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from joulegate.client import Client
from joulegate.clock import Instant
from joulegate.core.metering import NVML
from joulegate_operators.node import wal
from joulegate_operators.node.frames import Reach
from joulegate_operators.node.holds import DeviceHolds, Hold, Sharing, Subject
from joulegate_operators.node.meter import NodeMeter, Sample
from joulegate_operators.node.shipping import Shipper
from joulegate_operators.node.tape import Tape
from tests.operators.node.fleet import Board

START = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
STEP_S = 20
STEPS = 3 * 3_600 // STEP_S
AWAY = range(STEPS // 3, 2 * STEPS // 3)


def power_mw(board: int, step: int) -> int:
    """What a board draws in a step: idle power where nobody holds it."""
    held = holds_at(step)[f"GPU-{board + 1}"].holds
    return 60_000 + (1_000 * ((step * (7 + board)) % 240) if held else 0)


def holds_at(step: int) -> dict[str, DeviceHolds]:
    """The first board changes hands every four minutes, the second is shared by a growing number of pods."""
    turn = step // 12
    alone = DeviceHolds(holds=(Hold(Subject(f"a{turn}", "vision", "train-0", "main"), 1),) if turn % 3 else ())
    sharing = [Hold(Subject(f"b{n}", "vision", f"serve-{n}", "main"), 1) for n in range(step // 60 % 4)]
    return {"GPU-1": alone, "GPU-2": DeviceHolds(Sharing.REPLICAS, 4, tuple(sharing))}


def killing(point: str) -> Reach:
    name, _, count = point.partition(":")
    left = [int(count)]

    def reach(reached: str) -> None:
        if reached == name:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return reach


def recording(path: Path) -> Reach:
    seen: set[str] = set()

    def reach(reached: str) -> None:
        if reached not in seen:
            seen.add(reached)
            path.write_text("\n".join(sorted(seen)))

    return reach


@dataclass
class Clock:
    """The world's clock; it stands at the step."""

    instant: Instant = field(default_factory=lambda: Instant(0, START))

    def boottime_ns(self) -> int:
        return self.instant.boottime_ns

    def now(self) -> Instant:
        return self.instant


def live(folder: Path, address: str, reach: Reach) -> None:
    """Go on from the step at which time stood."""
    place, clock = folder / "step", Clock()
    begin = int(place.read_text()) if place.exists() else 1
    wal.SEGMENT = 3_000  # type: ignore[misc]  # a small disk, so that files turn and fold
    log = wal.WindowLog(folder / "windows", "node-uid", reach=reach, budget=24_000)
    meter = NodeMeter(log, Tape(folder / "tape", reach=reach), NVML, "boot", reach=reach)
    shipper = Shipper(lambda: Client(address, "token", retry_s=0.0), log, clock, reach=reach)
    boards = [Board("GPU-1"), Board("GPU-2")]
    for step in range(1, STEPS + 1):
        now_ns = step * STEP_S * 1_000_000_000
        for number, board in enumerate(boards):
            board.draw(now_ns, power_mw(number, step))
        if step < begin:
            continue
        place.write_text(str(step))
        now = clock.instant = Instant(now_ns, START + timedelta(seconds=step * STEP_S))
        if step == begin:
            meter.resume(now)
        readings = {board.uuid: [board.reading(now_ns)] for board in boards}
        meter.tick(Sample(now, readings, holds_at(step)), [board.device() for board in boards])
        if step % 15 == 0 and step not in AWAY:
            shipper.ship()
        if step % 45 == 0:
            log.tidy(now.utc + (wal.KEPT if step == STEPS - STEPS % 45 else timedelta(0)))
    meter.finish(now)
    shipper.ship()


if __name__ == "__main__":
    here, api, *points = sys.argv[1:]
    live(Path(here), api, killing(points[0]) if points else recording(Path(here) / "points"))

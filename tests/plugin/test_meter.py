"""The meter: a grid of readings that nothing holds up, and any window of them."""

from __future__ import annotations

import threading
import time
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from joulegate.clock import Instant, SystemClock, boottime_ns
from joulegate.core.curve import Reading
from joulegate.core.metering import NVML, Method
from joulegate.core.sensors import SENSORS
from joulegate.gpu import Device
from joulegate.gpu.replay import ReplayReader
from joulegate.meter import Meter

MS = 1_000_000


class Boards(AbstractContextManager["Boards"]):
    """Boards of 200 W each, with a counter; what a test wants to happen at a reading is a context around it."""

    source = "nvml"
    methods = NVML

    def __init__(self, count: int = 1, trouble: dict[int, AbstractContextManager[object]] | None = None) -> None:
        self.read_at: list[int] = []
        self._trouble = trouble or {}
        self._devices = tuple(Device(f"GPU-{at}", "board", at, 400_000, SENSORS["turing"]) for at in range(count))

    def devices(self) -> tuple[Device, ...]:
        return self._devices

    def read(self, device: Device) -> Reading:
        now = boottime_ns()
        self.read_at.append(now)
        with self._trouble.get(len(self.read_at), nullcontext()):
            return Reading(now, counter_mj=device.index + now // (100 * MS) * 100 * 200, instant_mw=200_000)

    def close(self) -> None:
        return

    def __exit__(self, *_: object) -> None:
        return


class Raising(AbstractContextManager[None]):
    """A driver that raises what nobody expects."""

    def __enter__(self) -> None:
        raise OSError("the driver says no")

    def __exit__(self, *_: object) -> None:
        return


class Slow(AbstractContextManager[None]):
    """A driver that takes its time."""

    def __enter__(self) -> None:
        time.sleep(0.07)

    def __exit__(self, *_: object) -> None:
        return


def test_a_run_is_measured_from_start_to_stop() -> None:
    meter = Meter(Boards(2), interval_ns=20 * MS)
    with meter:
        time.sleep(0.5)
    assert meter.started is not None
    assert meter.stopped is not None
    for device in meter.devices:
        found = meter.measurement(device, meter.started.boottime_ns, meter.stopped.boottime_ns)
        assert found.method is Method.NVML_COUNTER
        assert found.coverage == 1.0
        assert found.energy_mj == pytest.approx(found.duration_ns * 200_000 / 1e9, rel=0.2)
        assert found.flags == ()


def test_windows_of_a_run_telescope() -> None:
    meter = Meter(Boards(), interval_ns=20 * MS)
    with meter:
        time.sleep(0.4)
    started, stopped = meter.started, meter.stopped
    assert started is not None
    assert stopped is not None
    cuts = [started.boottime_ns, started.boottime_ns + 55 * MS, started.boottime_ns + 200 * MS, stopped.boottime_ns]
    energies = [meter.measurement(meter.devices[0], a, b).energy_mj or 0 for a, b in pairwise(cuts)]
    assert sum(energies) == meter.measurement(meter.devices[0], cuts[0], cuts[-1]).energy_mj


def test_readings_keep_to_the_grid_although_some_are_slow() -> None:
    slow = {at: Slow() for at in (3, 4, 9)}
    boards = Boards(trouble=dict(slow))
    with Meter(boards, interval_ns=50 * MS):
        time.sleep(1.0)
    first = boards.read_at[0]
    off = [((at - first + 25 * MS) % (50 * MS) - 25 * MS) / MS for at in boards.read_at]
    late = sorted(off)[len(off) // 2]
    assert abs(late) < 10
    assert len(boards.read_at) >= 14


def test_a_driver_that_raises_anything_is_asked_again() -> None:
    trouble: dict[int, AbstractContextManager[object]] = {at: Raising() for at in range(5, 9)}
    meter = Meter(Boards(trouble=trouble), interval_ns=20 * MS)
    with meter:
        time.sleep(0.5)
    assert meter.started is not None
    assert meter.stopped is not None
    found = meter.measurement(meter.devices[0], meter.started.boottime_ns, meter.stopped.boottime_ns)
    assert found.coverage == 1.0
    assert found.flags == ("readings_failed",)
    assert meter.failures() == {"GPU-0": "the driver says no"}
    assert meter.cost().failures == 4
    assert meter.cost().readings > 10


def test_measuring_says_what_it_cost() -> None:
    meter = Meter(Boards(4), interval_ns=20 * MS)
    with meter:
        time.sleep(0.3)
    cost = meter.cost()
    assert cost.readings >= 4 * 5
    assert 0 < cost.cpu_ns < 300 * MS
    assert 0 < cost.longest_ns < 300 * MS


def test_stopping_twice_is_stopping_once() -> None:
    meter = Meter(Boards())
    meter.start()
    assert meter.stop() == meter.stop()
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("joulegate")]


class NearAQuarter(SystemClock):
    """The machine's clock, dated so that the quarter-hour turns 150 ms after the start."""

    def __init__(self) -> None:
        self._shift = datetime(2026, 3, 29, 12, 14, 59, 850_000, tzinfo=UTC) - datetime.now(UTC)

    def now(self) -> Instant:
        real = super().now()
        return Instant(real.boottime_ns, real.utc + self._shift)


def test_intervals_are_cut_at_utc_quarter_hours() -> None:
    meter = Meter(Boards(), interval_ns=20 * MS, clock=NearAQuarter())
    with meter:
        time.sleep(0.4)
    started, stopped = meter.started, meter.stopped
    assert started is not None
    assert stopped is not None
    parts = list(meter.intervals(meter.devices[0], started, stopped))
    assert [part.start for part in parts] == [started.utc, datetime(2026, 3, 29, 12, 15, tzinfo=UTC)]
    assert parts[0].end == parts[1].start
    assert parts[1].end - stopped.utc < timedelta(milliseconds=5)
    whole = meter.measurement(meter.devices[0], started.boottime_ns, stopped.boottime_ns)
    assert sum(part.measurement.energy_mj or 0 for part in parts) == whole.energy_mj
    assert sum(part.measurement.duration_ns for part in parts) == whole.duration_ns


def test_a_replay_is_measured_like_a_board_and_says_replayed() -> None:
    with ReplayReader.named("a100_square", "some record") as reader, Meter(reader) as meter:
        time.sleep(0.6)
        device, started, stopped = meter.devices[0], meter.started, meter.stop()
    assert meter.source == "replayed"
    assert started is not None
    found = meter.measurement(device, started.boottime_ns, stopped.boottime_ns)
    assert found.method is Method.REPLAYED
    assert found.flags == ("replayed",)
    assert found.energy_mj is not None
    assert 20_000 < found.energy_mj < 180_000

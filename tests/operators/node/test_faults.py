"""Laws 3 and 7 over random lives of a node: kills, reboots, resets, swapped GPUs, clock steps, a disk that refuses.

Pods come, share, are preempted and come again under their names; windows that reach the API meet in time and energy,
sum to what each board counted, and no number ever has two contents, in whatever order and however often they come.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulegate.clock import Instant
from joulegate.core.metering import NVML
from joulegate.core.periods import parse_instant
from joulegate_operators.node.holds import DeviceHolds, Hold, Sharing, Subject
from joulegate_operators.node.meter import NodeMeter, Sample
from joulegate_operators.node.tape import Tape
from joulegate_operators.node.wal import WindowLog
from tests.operators.node.fleet import Board

START = datetime(2026, 11, 23, 8, 7, tzinfo=UTC)
STEP_S = 5
ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS)


def subject(uid: str) -> Subject:
    """Every pod has one of two names, whatever its uid."""
    return Subject(uid, "vision", f"job-{ord(uid[0]) % 2}", "main")


def whole(uid: str) -> DeviceHolds:
    return DeviceHolds(holds=(Hold(subject(uid), 1),))


def shared(uids: list[str]) -> DeviceHolds:
    return DeviceHolds(Sharing.REPLICAS, 4, tuple(sorted(Hold(subject(uid), 1) for uid in uids)))


def cut(slices: list[tuple[str, int]]) -> DeviceHolds:
    return DeviceHolds(Sharing.MIG, 7, tuple(sorted(Hold(subject(uid), size, f"MIG-{uid}") for uid, size in slices)))


@dataclass
class Node:
    """One board at a time, and a meter that goes on after anything."""

    folder: Path
    boards: list[Board] = field(default_factory=lambda: [Board("GPU-0", power_mw=200_000)])
    holds: DeviceHolds = field(default_factory=DeviceHolds)
    second: int = 0
    error_s: int = 0
    boot: int = 0
    boot_s: int = 0
    refuses: int | None = None
    sent: dict[str, dict[int, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.begin()

    @property
    def board(self) -> Board:
        return self.boards[-1]

    @property
    def now(self) -> Instant:
        """Time since this boot, and the wall clock with its error."""
        date = START + timedelta(seconds=self.second + self.error_s)
        return Instant((self.second - self.boot_s) * 10**9, date)

    def begin(self) -> None:
        self.log = WindowLog(self.folder / "windows", "node-uid")
        self.meter = NodeMeter(self.log, Tape(self.folder / "tape"), NVML, f"boot-{self.boot}")
        self.meter.resume(self.now)

    def run(self, steps: int, *, missed: bool = False) -> None:
        for _ in range(steps):
            self.second += STEP_S
            at_ns = self.now.boottime_ns
            reading = self.board.reading(at_ns)
            readings = {} if missed else {self.board.uuid: [reading]}
            use = {hold.subject.key: 1 + ord(hold.subject.pod_uid[0]) % 3 for hold in self.holds.holds}
            sample = Sample(self.now, readings, {self.board.uuid: self.holds}, {self.board.uuid: (use, 0)})
            with pytest.MonkeyPatch.context() as patch:
                if self.refuses is not None:
                    refusing(patch, self.refuses)
                self.meter.tick(sample, [self.board.device()])

    def do(self, kind: str, value: Any) -> None:
        if kind == "run":
            self.run(value)
        elif kind == "miss":
            self.run(value, missed=True)
        elif kind == "hold":
            self.holds = value
        elif kind == "power":
            self.board.draw(self.now.boottime_ns, value)
        elif kind == "clock":
            self.error_s += value
        elif kind == "disk":
            self.refuses = value
        elif kind == "send":
            self.send(random.Random(value))  # noqa: S311 -- a scenario
        else:
            self.fault(kind)

    def fault(self, kind: str) -> None:
        if kind == "kill":
            self.begin()
        elif kind == "reload":
            self.board.reload_driver()
        elif kind == "swap":
            self.boards.append(Board(f"GPU-{len(self.boards)}", power_mw=150_000, at_ns=self.now.boottime_ns))
        elif kind == "reboot":
            self.boot += 1
            self.second += 120
            self.boot_s = self.second
            self.board.at_ns = 0
            self.board.reload_driver()
            self.begin()

    def send(self, chance: random.Random) -> None:
        """Deliver what waits: shuffled, some of it several times; the API keeps what it is told, by number."""
        batch = self.log.batch(10**6, 1 << 40)
        delivered = batch * chance.choice((1, 2, 3))
        chance.shuffle(delivered)
        rows = self.sent.setdefault(self.log.incarnation, {})
        for row in delivered:
            assert rows.setdefault(row["window_seq"], row) == row, "one number has two contents"
        if batch and self.refuses is None and chance.random() < 0.7:  # else the answer is lost
            last = max(number for row in batch for number in (row["window_seq"], *row["replaces"]))
            self.log.mark_sent(last)
            self.log.acknowledge(last, self.now.utc)

    def end(self) -> list[Any]:
        self.refuses = None
        self.run(3)
        self.meter.finish(self.now)
        assert self.meter.unwritten == 0
        self.send(random.Random(0))  # noqa: S311 -- a scenario
        (rows,) = self.sent.values()
        return list(rows.values())


def refusing(patch: pytest.MonkeyPatch, error: int) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(error, os.strerror(error))

    for function in ("write", "fsync"):
        patch.setattr(os, function, refuse)


uids = st.sampled_from("abcd")
all_holds = st.one_of(
    st.just(DeviceHolds()),
    uids.map(whole),
    st.lists(uids, unique=True, min_size=1, max_size=4).map(shared),
    st.lists(st.tuples(uids, st.integers(1, 3)), min_size=1, max_size=3, unique_by=lambda row: row[0]).map(cut),
)
events = st.one_of(
    st.tuples(st.just("run"), st.integers(1, 60)),
    st.tuples(st.just("hold"), all_holds),
    st.tuples(st.just("power"), st.integers(0, 400_000)),
    st.tuples(st.just("miss"), st.integers(1, 12)),
    st.tuples(st.just("clock"), st.sampled_from((-600, -1, 1, 600))),
    st.tuples(st.just("disk"), st.sampled_from((*ERRORS, None, None))),
    st.tuples(st.just("send"), st.integers(0, 99)),
    st.tuples(st.sampled_from(("kill", "reload", "reboot", "swap")), st.none()),
)


def stretches(rows: list[Any]) -> Iterator[tuple[str, list[tuple[Any, list[Any]]]]]:
    """For each device its stretches in the order of time, each with its windows."""
    by_device: defaultdict[str, defaultdict[tuple[datetime, datetime], list[Any]]]
    by_device = defaultdict(lambda: defaultdict(list))
    for row in rows:
        span = parse_instant(row["start"], "start"), parse_instant(row["end"], "end")
        by_device[row["device_uuid"]][span].append(row)
    for uuid, found in by_device.items():
        yield uuid, sorted(found.items())


def check_laws(rows: list[Any]) -> None:
    """Law 3: what lies between two instants is whole; law 7: every number came once, and none is left out."""
    for _, found in stretches(rows):
        before: Any = None
        for span, windows in found:
            (first, last), *others = {(int(row["energy_start_mj"]), int(row["energy_end_mj"])) for row in windows}
            assert others == []
            assert before is None or before == (span[0], first)
            before = (span[1], last)
            drawn = [int(row[part] or 0) for row in windows for part in ("active_mj", "idle_mj")]
            assert min(drawn) >= 0
            assert sum(drawn) == last - first
            assert len({(row["pod_uid"], row["container"]) for row in windows}) == len(windows)
    numbers = sorted(number for row in rows for number in (row["window_seq"], *row["replaces"]))
    assert numbers == list(range(len(numbers)))


def lived(history: list[tuple[str, Any]]) -> tuple[list[Any], Node]:
    with TemporaryDirectory() as folder:
        node = Node(Path(folder))
        node.run(3)
        for kind, value in history:
            node.do(kind, value)
        return node.end(), node


@settings(max_examples=15, deadline=None)
@given(st.lists(events, max_size=20))
def test_f2_f5_f6_f8_laws_3_and_7_hold_over_any_life_of_a_node(history: list[tuple[str, Any]]) -> None:
    rows, _ = lived(history)
    check_laws(rows)


@pytest.mark.slow
@pytest.mark.timeout(280)
@settings(max_examples=400, deadline=None)
@given(st.lists(events, max_size=40))
def test_f2_f5_f6_f8_laws_3_and_7_hold_over_long_lives_of_a_node(history: list[tuple[str, Any]]) -> None:
    rows, _ = lived(history)
    check_laws(rows)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_f7_a_tape_that_is_cut_or_changed_at_any_place_breaks_no_law(tmp_path: Path) -> None:
    with TemporaryDirectory() as folder:
        node = Node(Path(folder))
        for holds in (whole("a"), DeviceHolds(), shared(["b", "c"]), whole("b")):
            node.run(40)
            node.holds = holds
            node.run(4)
        lived_s, power_pj, at_ns = node.second, node.board.energy_pj, node.board.at_ns
        (tape,) = (node.folder / "tape").iterdir()
        data = tape.read_bytes()
        for at in range(0, len(data), max(1, len(data) // 300)):
            for kind, damaged in (
                ("cut", data[:at]),
                ("changed", data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :]),
            ):
                copy = tmp_path / f"{kind}-{at}"
                shutil.copytree(node.folder, copy)
                (copy / "tape" / tape.name).write_bytes(damaged)
                board = Board("GPU-0", power_mw=200_000, energy_pj=power_pj, at_ns=at_ns)
                again = Node(copy, [board], node.holds, lived_s)
                again.run(3)
                check_laws(again.end())
                shutil.rmtree(copy)


counted = events.filter(lambda event: event[0] not in {"reload", "reboot", "swap"})


@settings(max_examples=15, deadline=None)
@given(st.lists(counted, max_size=20))
def test_f1_f6_f8_where_the_counter_survives_nothing_is_lost(history: list[tuple[str, Any]]) -> None:
    rows, node = lived(history)
    check_laws(rows)
    (found,) = (found for _, found in stretches(rows))
    drawn = int(found[-1][1][0]["energy_end_mj"]) - int(found[0][1][0]["energy_start_mj"])
    first_s = STEP_S  # the first reading
    assert drawn == pytest.approx(node.board.energy_mj - 200 * 1_000 * first_s, abs=400 * 1_000 * STEP_S)
    kills = sum(kind == "kill" for kind, _ in history)
    assert abs(drawn - (node.board.energy_mj - 200 * 1_000 * first_s)) <= 1 + kills

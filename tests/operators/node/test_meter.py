"""A meter that was away finds out, from what the cluster still knows, until when a pod held its GPU."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from joulegate.clock import Instant
from joulegate.core.metering import NVML
from joulegate_operators.node.holds import DeviceHolds, Hold, Sharing, Subject, while_away
from joulegate_operators.node.meter import METER_AWAY, NodeMeter, Sample
from joulegate_operators.node.pods import PodsByName, pod_of
from joulegate_operators.node.tape import Tape
from joulegate_operators.node.wal import WindowLog
from tests.operators.node.doubles import pod_object
from tests.operators.node.fleet import Board

START = datetime(2026, 11, 23, 8, 1, tzinfo=UTC)
POWER_MW = 300_000


def subject(uid: str) -> Subject:
    return Subject(uid, "vision", "train-0", "main")


def held(*uids: str) -> DeviceHolds:
    if len(uids) > 1:
        return DeviceHolds(Sharing.REPLICAS, 4, tuple(Hold(subject(uid), 1) for uid in uids))
    return DeviceHolds(holds=tuple(Hold(subject(uid), 1) for uid in uids))


@dataclass
class Node:
    """One board under constant load, and a meter that may be away."""

    folder: Path
    board: Board = field(default_factory=lambda: Board("GPU-1", power_mw=POWER_MW))
    second: int = 0

    def __post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        self.log = WindowLog(self.folder / "windows", "node-uid")
        self.meter = NodeMeter(self.log, Tape(self.folder / "tape"), NVML, "boot")
        self.meter.resume(self.now)

    @property
    def now(self) -> Instant:
        return Instant(self.second * 10**9, START + timedelta(seconds=self.second))

    def run(self, seconds: int, holds: DeviceHolds | None, **known: Any) -> None:
        """So many ticks; ``holds`` None: the kubelet names a pod that is not known yet."""
        told = {} if holds is None else {"GPU-1": holds}
        for _ in range(seconds):
            self.second += 1
            sample = Sample(self.now, {"GPU-1": [self.board.reading(self.now.boottime_ns)]}, told, **known)
            self.meter.tick(sample, [self.board.device()])

    def be_away(self, seconds: int) -> None:
        self.second += seconds
        self.begin()

    def drawn_s(self) -> dict[str | None, float]:
        """By pod, for how many seconds' worth of the board's power it is charged."""
        self.meter.finish(self.now)
        found: dict[str | None, float] = {}
        for row in self.log.batch(10_000, 1 << 30):
            energy = int(row["active_mj"] or 0) + int(row["idle_mj"] or 0)
            found[row["pod_uid"]] = found.get(row["pod_uid"], 0) + energy / POWER_MW
        return {
            uid: seconds for uid, seconds in found.items() if seconds > 1
        }  # the first holds come with the first tick


def at(second: int) -> datetime:
    return START + timedelta(seconds=second)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    running = Node(tmp_path)
    running.run(60, held("a"))
    yield running
    running.log.close()


def test_a_pod_that_ended_while_the_meter_was_away_gives_its_gpu_back_when_it_ended(node: Node) -> None:
    node.be_away(300)
    node.run(60, held(), finished={"a": at(160)})
    assert node.drawn_s() == pytest.approx({"a": 160, None: 260}, abs=2)


def test_between_the_end_of_one_pod_and_the_begin_of_the_next_nobody_is_charged(node: Node) -> None:
    node.be_away(300)
    node.run(60, held("b"), finished={"a": at(160)}, began={"b": at(220)})
    assert node.drawn_s() == pytest.approx({"a": 160, None: 60, "b": 200}, abs=2)


def test_without_a_word_of_its_end_a_pod_holds_until_the_next_began_and_it_is_marked(node: Node) -> None:
    node.be_away(300)
    node.run(60, held("b"), began={"b": at(220)})
    assert node.drawn_s() == pytest.approx({"a": 220, "b": 200}, abs=2)
    rows = node.log.batch(100, 1 << 30)
    assert all(METER_AWAY in row["flags"] for row in rows if row["pod_uid"] == "a")


def test_a_pod_that_is_still_there_holds_on(node: Node) -> None:
    node.be_away(300)
    node.run(60, held("a"), finished={"z": at(100)})
    assert node.drawn_s() == pytest.approx({"a": 420}, abs=2)


def test_while_the_meter_runs_the_kubelet_says_who_holds_what(node: Node) -> None:
    node.run(60, held(), finished={"a": at(10)})
    assert node.drawn_s() == pytest.approx({"a": 61, None: 59}, abs=2)


def test_a_pod_that_is_heard_of_late_is_charged_from_when_it_began(node: Node) -> None:
    node.run(10, held(), finished={"a": at(60)})
    node.run(40, None)
    node.run(10, held("b"), began={"b": at(75)})
    assert node.drawn_s() == pytest.approx({"a": 60, None: 15, "b": 45}, abs=2)


def test_a_pod_is_charged_for_no_time_in_which_somebody_else_was_known_to_hold_on(node: Node) -> None:
    node.run(40, held("a"))
    node.run(20, None)
    node.run(20, held("b"), began={"b": at(50)})  # the clocks differ, or the word is wrong
    assert node.drawn_s() == pytest.approx({"a": 100, "b": 40}, abs=2)


def test_a_pod_that_ran_before_the_first_answer_of_the_kubelet_is_charged_from_the_first_reading(
    tmp_path: Path,
) -> None:
    young = Node(tmp_path)
    young.run(30, None)
    young.run(30, held("a"), began={"a": START - timedelta(hours=1)})
    assert young.drawn_s() == pytest.approx({"a": 60}, abs=2)
    young.log.close()


NOW = at(1_000)


@pytest.mark.parametrize(
    ("finished", "began", "steps"),
    [
        ({}, {}, [(1_000, "d")]),
        ({"a": 100}, {}, [(100, "bc"), (1_000, "d")]),
        ({"a": 100, "b": 200, "c": 200}, {}, [(100, "bc"), (200, ""), (1_000, "d")]),
        ({"a": 100, "b": 900}, {"d": 500}, [(100, "bc"), (500, "c"), (500, "d")]),  # it cannot have held on
        ({"d": 100, "z": 100}, {"a": 50}, [(1_000, "d")]),  # of others, or of those who are there
    ],
)
def test_pods_leave_in_the_order_of_their_ends_and_before_the_next_comes(
    finished: dict[str, int], began: dict[str, int], steps: list[tuple[int, str]]
) -> None:
    found = while_away(
        held(*"abc"),
        held("d"),
        {uid: at(second) for uid, second in began.items()},
        {uid: at(second) for uid, second in finished.items()},
        NOW,
    )
    assert [(when, {hold.subject.pod_uid for hold in holds.holds}) for when, holds in found] == [
        (at(second), set(uids)) for second, uids in steps
    ]


def test_the_end_of_a_pod_is_that_of_its_last_container() -> None:
    item = pod_object("uid-a", "job-0", phase="Succeeded")
    item["status"]["containerStatuses"] = [
        {"name": name, "state": {"terminated": {"finishedAt": f"2026-11-23T08:0{minute}:00Z"}}}
        for name, minute in (("main", 3), ("side", 7))
    ]
    running = pod_object("uid-b", "job-1")
    running["status"]["containerStatuses"] = item["status"]["containerStatuses"][:1]  # another still runs
    pods = PodsByName({"uid-a": pod_of(item), "uid-b": pod_of(running)})
    assert pods.finished == {"uid-a": datetime(2026, 11, 23, 8, 7, tzinfo=UTC)}

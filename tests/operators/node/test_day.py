"""A day of one node in fast time, through the real process: 100 pods on three boards, each with the energy it drew.

Board 1 goes whole from pod to pod, board 2 is shared by replicas, board 3 is cut by MIG. The scripted library draws
what the pods' work draws; the kubelet and the cluster say who holds what; the windows go to the real API.
"""

from __future__ import annotations

import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import func, select

from joulegate.tokens import Role, format_row
from joulegate_api.store import Store
from joulegate_api.store.meter_tables import quarantine, windows
from tests.api.conftest import plain_log, postgres_server, postgres_url, sqlite_template, sqlite_url
from tests.api.running import Service, over_http, principal, token_of
from tests.nvml import fast, fleet
from tests.nvml.fast import FastTime
from tests.nvml.fleet import Fleet, Gpu, Process, Work
from tests.operators.node.doubles import Cluster, Kubelet, kubeconfig, pod_object

__all__ = ["plain_log", "postgres_server", "postgres_url", "sqlite_template", "sqlite_url"]

START = datetime(2026, 11, 20, 0, 0, tzinfo=UTC)
FACTOR = 1_000
IDLE_MW = 60_000
QUIET_S = 900
"""Nobody holds anything at first, so that the idle power of each board is learned."""
WARM_S = 240
"""Between a pod's hold and its work, and between the end of its work and that of its hold."""
NAMES = 12
METER = "node:node-1"
GPUS = tuple(f"GPU-{n:08}-0000-0000-0000-000000000000" for n in range(3))
MIG = tuple(f"MIG-{2:08}-{part:04}-0000-0000-000000000000" for part in range(7))
PLACES = (
    (0, "nvidia.com/gpu", GPUS[0], 1),
    *((1, "nvidia.com/gpu.shared", f"{GPUS[1]}::{n}", 4) for n in range(4)),
    *((2, "nvidia.com/mig-1g.10gb", MIG[part], 7) for part in range(4)),
)
"""Board, resource, device id, and of how many equal units of its board it is one."""


@dataclass(frozen=True)
class Pod:
    """A pod that holds a place from second to second, and uses it by ``percent`` in between."""

    number: int
    place: int
    first_s: int
    last_s: int
    percent: int

    @property
    def uid(self) -> str:
        return f"{self.number:08}-0000-4000-8000-000000000000"

    @property
    def name(self) -> str:
        return f"job-{self.place}-{self.number % NAMES}"

    @property
    def board(self) -> int:
        return PLACES[self.place][0]

    @property
    def work_s(self) -> tuple[int, int]:
        return self.first_s + WARM_S, self.last_s - WARM_S

    @property
    def power_mw(self) -> int:
        """What its work draws: in proportion to its use, as far as a board can tell it."""
        return self.percent * 1_000

    @property
    def energy_mj(self) -> int:
        """What it truly drew: its work, and its part of idling while it held."""
        begin, end = self.work_s
        return self.power_mw * (end - begin) + IDLE_MW * (self.last_s - self.first_s) // PLACES[self.place][3]


def pods_of_a_day(count: int, hours: int, seed: int = 6) -> list[Pod]:
    """Pods that follow one another on every place."""
    chance = random.Random(seed)  # noqa: S311 -- a scenario
    end_s = hours * 3_600 - 600
    mean_s = (end_s - QUIET_S) * len(PLACES) // count
    free = [QUIET_S] * len(PLACES)
    pods: list[Pod] = []
    while len(pods) < count:
        place = min(range(len(PLACES)), key=free.__getitem__)
        first_s = free[place] + chance.randrange(60, 300)
        last_s = min(first_s + chance.randrange(mean_s * 6 // 10, mean_s * 9 // 10), end_s)
        free[place] = last_s + chance.randrange(60, 300)
        pods.append(Pod(len(pods), place, first_s, last_s, chance.randrange(20, 90)))
    assert all(pod.last_s - pod.first_s > 4 * WARM_S for pod in pods)
    return pods


def scripted(pods: list[Pod], begin_ns: int) -> Fleet:
    """The boards as the pods' work makes them; the day begins at that instant of CLOCK_BOOTTIME."""
    gpus = []
    for board, uuid in enumerate(GPUS):
        own = [pod for pod in pods if pod.board == board]
        changes: Counter[int] = Counter({0: IDLE_MW})
        for pod in own:
            changes[pod.work_s[0]] += pod.power_mw
            changes[pod.work_s[1]] -= pod.power_mw
        levels, power = [], 0
        for at in sorted(changes):
            power += changes[at]
            levels.append((_ms(at) if at else 0.0, float(power)))
        spans = [(pod, _ms(pod.work_s[0]), _ms(pod.work_s[1])) for pod in own]
        processes = [Process(1_000 + pod.number, 1 << 30, pod.percent, begin, end) for pod, begin, end in spans]
        works = [Work(pod.place - 5, pod.percent, begin, end) for pod, begin, end in spans]
        gpus.append(
            Gpu(
                uuid,
                name="NVIDIA H100 80GB HBM3",
                levels=levels,
                limit_mw=700_000,
                period_ms=1_000.0,
                window_ms=1_000.0,
                processes=processes if board == 1 else (),
                mig=board == 2,
                parts=7 if board == 2 else 0,
                gpm=True,
                works=works if board == 2 else (),
            )
        )
    return Fleet(gpus, start_ns=begin_ns - fast.LEAD_NS)


def _ms(second: float) -> float:
    """A second of the day in the script, which begins as much earlier as the process."""
    return second * 1_000.0 + fast.LEAD_NS / 1e6


@dataclass
class Day:
    """What stands around the process."""

    folder: Path
    pods: list[Pod]
    time: FastTime
    kubelet: Kubelet
    cluster: Cluster

    def turn(self, pod: Pod, *, begins: bool) -> None:
        _, resource, identity, _ = PLACES[pod.place]
        held = ("vision", pod.name, "main")
        if not begins:
            del self.kubelet.held[held]
            self.cluster.remove(pod.uid)
            return
        self.cluster.put(pod_object(pod.uid, pod.name))
        self.kubelet.held[held] = {resource: [identity]}

    def live(self, until_s: int) -> None:
        """Let every pod come and go in its time, once the process has begun."""
        for pod in self.pods:
            folder = self.folder / "proc" / str(1_000 + pod.number)
            folder.mkdir(parents=True)
            slice_ = f"kubepods-pod{pod.uid.replace('-', '_')}.slice"
            (folder / "cgroup").write_text(f"0::/kubepods.slice/{slice_}/cri-containerd-{'a' * 64}.scope\n")
        self.time.sleep_until(0)
        assert self.kubelet.asked > 1, "the process has not begun in time"
        turns = [(pod.first_s, True, pod) for pod in self.pods] + [(pod.last_s, False, pod) for pod in self.pods]
        for at, begins, pod in sorted(turns, key=lambda turn: turn[:2]):
            self.time.sleep_until(at)
            self.turn(pod, begins=begins)
        self.time.sleep_until(until_s)


@pytest.fixture(
    params=[
        pytest.param(("sqlite", 24), id="sqlite", marks=pytest.mark.nvml),
        pytest.param(("postgres", 6), id="postgres", marks=pytest.mark.postgres),
    ]
)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Service, int]]:
    """The real API on each database, with the token of the node's meter; and how many hours the day has."""
    database, hours = request.param
    if shutil.which(shlex.split(os.environ.get("CC", "cc"))[0]) is None:
        pytest.skip("there is no C compiler (cc, or what CC names)")  # the lane of PostgreSQL needs none otherwise
    store = Store.open(request.getfixturevalue(f"{database}_url"))
    service = Service(store, tmp_path)
    path = service.settings.tokens_path
    path.write_text(path.read_text() + format_row(principal(METER, Role.METER)) + "\n")
    with service.client:
        yield service, hours
    store.close()


@pytest.mark.timeout(300)
def test_of_a_day_through_the_real_process_each_of_100_pods_has_what_it_truly_drew(
    place: tuple[Service, int], tmp_path: Path
) -> None:
    service, hours = place
    pods = pods_of_a_day(100 * hours // 24, hours)
    libraries = fast.compile_library(tmp_path), fleet.compile_library(tmp_path)
    day = Day(tmp_path, pods, FastTime(FACTOR, START), Kubelet(), Cluster())
    boards = scripted(pods, day.time.from_ns)
    day.kubelet.allocatable = {"nvidia.com/gpu.shared": [f"{GPUS[1]}::{n}" for n in range(4)]}
    with (
        day.kubelet.serving(tmp_path / "kubelet.sock"),
        day.cluster.serving() as cluster,
        over_http(service.app) as address,
    ):
        environment = {
            **boards.environment(libraries[1], tmp_path),
            **day.time.environment(libraries[0]),
            "JOULEGATE_NODE": "node-1",
            "JOULEGATE_ADDRESS": address,
            "JOULEGATE_TOKEN": token_of(METER),
            "JOULEGATE_METER_FOLDER": str(tmp_path / "state"),
            "JOULEGATE_KUBELET_SOCKET": str(tmp_path / "kubelet.sock"),
            "JOULEGATE_KUBECONFIG": str(kubeconfig(tmp_path, cluster)),
            "JOULEGATE_METER_PORT": "0",
            "JOULEGATE_METER_INTERVAL_MS": "20",
            "JOULEGATE_METER_ALLOCATION_MS": "20",
            "JOULEGATE_METER_PROC": str(tmp_path / "proc"),
        }
        command = [sys.executable, "-m", "joulegate_operators.node.main"]
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        try:
            day.live(hours * 3_600)
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
            process.wait()
    assert process.returncode == 0, said
    check(service, pods, boards, hours)


def check(service: Service, pods: list[Pod], boards: Fleet, hours: int) -> None:
    """Every window adds up, every board has drawn what it truly drew, and so has every pod."""
    of = windows.c
    by_pod = select(of.pod_uid, func.sum(of.active_mj + of.idle_mj)).group_by(of.pod_uid)
    by_board = select(
        of.device_uuid, func.max(of.energy_end_mj) - func.min(of.energy_start_mj), func.max(of.end)
    ).group_by(of.device_uuid)
    with service.store._database.read() as connection:
        drawn = {uid: int(energy_mj) for uid, energy_mj in connection.execute(by_pod)}
        spans = {uuid: (int(energy_mj), end) for uuid, energy_mj, end in connection.execute(by_board)}
        assert connection.execute(select(func.count()).select_from(quarantine)).scalar_one() == 0
    assert sum(drawn.values()) == sum(energy_mj for energy_mj, _ in spans.values())
    assert {*drawn} - {None} == {pod.uid for pod in pods}
    for number, uuid in enumerate(GPUS):
        energy_mj, end = spans[uuid]
        end_s = (end - START).total_seconds()
        assert end_s >= (hours - 1) * 3_600  # what the fast clock brought after the end was asked for stays on the disk
        assert energy_mj == pytest.approx(boards.gpus[number].drawn_mj(_ms(end_s)), rel=0.03)
    # A tenth of a second that a busy machine takes from the process is 100 s of the day.
    errors = sorted(abs(drawn[pod.uid] / pod.energy_mj - 1) for pod in pods)
    assert errors[len(errors) // 2] <= 0.01
    assert errors[-1] <= 0.1
    assert sum(drawn[pod.uid] for pod in pods) == pytest.approx(sum(pod.energy_mj for pod in pods), rel=0.02)

"""The real process on scripted GPUs: kubelet, cluster and API in, windows that add up out."""

from __future__ import annotations

import errno
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from joulegate.clock import boottime_ns
from joulegate.core.periods import parse_instant
from tests.nvml.fleet import Fleet, Gpu, Process, compile_library
from tests.operators.node.doubles import Api, Cluster, Kubelet, kubeconfig, pod_object

pytestmark = [pytest.mark.nvml, pytest.mark.timeout(120)]

DISK = Path(__file__).parents[2] / "nvml" / "disk.c"
GPUS = ("GPU-00000000-0000-0000-0000-000000000001", "GPU-00000000-0000-0000-0000-000000000002")


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_library(tmp_path_factory.mktemp("nvml"))


def until(true: Callable[[], object], within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.05)


@dataclass
class Node:
    """Everything around one node meter, and the process itself."""

    folder: Path
    library: Path
    fleet: Fleet
    kubelet: Kubelet = field(default_factory=Kubelet)
    cluster: Cluster = field(default_factory=Cluster)
    api: Api = field(default_factory=Api)
    address: str = ""
    kubeconfig: Path = Path()
    process: subprocess.Popen[str] | None = None

    def environment(self, **more: str) -> dict[str, str]:
        return {
            **self.fleet.environment(self.library, self.folder),
            "JOULEGATE_NODE": "node-1",
            "JOULEGATE_ADDRESS": self.address,
            "JOULEGATE_TOKEN": "meter-token",
            "JOULEGATE_METER_FOLDER": str(self.folder / "state"),
            "JOULEGATE_KUBELET_SOCKET": str(self.folder / "kubelet.sock"),
            "JOULEGATE_KUBECONFIG": str(self.kubeconfig),
            "JOULEGATE_METER_PORT": "0",
            "JOULEGATE_METER_INTERVAL_MS": "200",
            "JOULEGATE_METER_ALLOCATION_MS": "100",
            **more,
        }

    def start(self, module: str = "joulegate_operators.node.main", **more: str) -> None:
        command = [sys.executable, "-W", "error", "-m", module]
        self.process = subprocess.Popen(command, env=self.environment(**more), stderr=subprocess.PIPE, text=True)

    def stop(self, *said: str) -> None:
        """End it in order; it has said nothing but these things."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        _, error = self.process.communicate(timeout=30)
        assert self.process.returncode == 0
        assert {json.loads(line)["event"] for line in error.splitlines()} <= {*said}

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.communicate()

    def await_asked(self, times: int = 5) -> None:
        """Wait until this process has asked the kubelet so often."""
        enough = self.kubelet.asked + times
        until(lambda: self.kubelet.asked > enough)

    def hold(self, uid: str, name: str, resource: str = "nvidia.com/gpu", *ids: str) -> None:
        self.cluster.put(pod_object(uid, name))
        self.kubelet.held["vision", name, "main"] = {resource: list(ids)}

    def release(self, uid: str, name: str) -> None:
        del self.kubelet.held["vision", name, "main"]
        self.cluster.remove(uid)

    def of_pod(self, uid: str | None) -> list[Any]:
        return [row for row in self.api.rows() if row["pod_uid"] == uid]


@pytest.fixture
def node(tmp_path: Path, library: Path) -> Iterator[Node]:
    fleet = Fleet([Gpu(GPUS[0], levels=((0, 250_000),)), Gpu(GPUS[1], levels=((0, 100_000),))])
    node = Node(tmp_path, library, fleet)
    with ExitStack() as stack:
        stack.enter_context(node.kubelet.serving(tmp_path / "kubelet.sock"))
        node.kubeconfig = kubeconfig(tmp_path, stack.enter_context(node.cluster.serving()))
        node.address = stack.enter_context(node.api.serving())
        yield node
        if node.process is not None and node.process.poll() is None:
            node.kill()


def energy(rows: list[Any]) -> int:
    return sum(int(row[name] or 0) for row in rows for name in ("active_mj", "idle_mj"))


def check_windows_meet(api: Api) -> None:
    """For each device: stretches meet in time and energy, and the windows of each sum to it."""
    assert api.conflicts == []
    by_device: dict[str, dict[tuple[str, str], list[Any]]] = {}
    for row in api.rows():
        by_device.setdefault(row["device_uuid"], {}).setdefault((row["start"], row["end"]), []).append(row)
    for stretches in by_device.values():
        before: tuple[str, str] | None = None
        for (start, end), rows in sorted(stretches.items(), key=lambda item: parse_instant(item[0][0], "start")):
            first, last = rows[0]["energy_start_mj"], rows[0]["energy_end_mj"]
            assert before is None or before == (start, first)
            before = (end, last)
            assert energy(rows) == int(last) - int(first)


def test_a_pod_on_a_gpu_gets_the_energy_that_the_gpu_drew_while_it_held_it(node: Node) -> None:
    node.start()
    until(lambda: len(node.api.devices) == 2 and node.kubelet.asked > 3)
    node.hold("uid-a", "train-0", "nvidia.com/gpu", GPUS[0])
    held_ns = boottime_ns()
    time.sleep(3)
    node.release("uid-a", "train-0")
    released_ns = boottime_ns()
    until(lambda: node.of_pod("uid-a"))
    node.stop()
    check_windows_meet(node.api)
    truth = node.fleet.true_mj(0, held_ns, released_ns)
    assert energy(node.of_pod("uid-a")) == pytest.approx(truth, rel=0.25)
    (row,) = node.of_pod("uid-a")
    assert (row["namespace"], row["pod"], row["container"], row["device_uuid"]) == (
        "vision",
        "train-0",
        "main",
        GPUS[0],
    )
    assert row["method"] == "nvml_counter"
    assert node.api.tokens == {"Bearer meter-token"}
    assert {(d["node"], d["uuid"], d["enforced_limit_mw"]) for d in node.api.devices} == {
        ("node-1", uuid, "350000") for uuid in GPUS
    }
    assert set(node.cluster.selectors) == {"spec.nodeName=node-1"}
    assert next(iter(node.api.windows)).startswith("node-uid-1:")


def in_cgroup(proc: Path, pid: int, pod_uid: str) -> None:
    folder = proc / str(pid)
    folder.mkdir(parents=True)
    name = pod_uid.replace("-", "_")
    (folder / "cgroup").write_text(f"0::/kubepods.slice/kubepods-pod{name}.slice/cri-containerd-{'a' * 64}.scope\n")


def test_two_pods_that_share_a_gpu_get_shares_by_use_that_sum_to_it(node: Node) -> None:
    uids = [f"{n}0000000-0000-4000-8000-000000000000" for n in (1, 2)]
    for pid, uid in zip((101, 102), uids, strict=True):
        in_cgroup(node.folder / "proc", pid, uid)
    shared = replace(node.fleet.gpus[0], processes=(Process(101, 1 << 30, 60), Process(102, 1 << 30, 20)))
    node.fleet = Fleet([shared, *node.fleet.gpus[1:]])
    node.kubelet.allocatable = {"nvidia.com/gpu.shared": [f"{GPUS[0]}::{n}" for n in range(4)]}
    node.hold(uids[0], "a", "nvidia.com/gpu.shared", f"{GPUS[0]}::0")
    node.hold(uids[1], "b", "nvidia.com/gpu.shared", f"{GPUS[0]}::2")
    node.start(JOULEGATE_METER_PROC=str(node.folder / "proc"))
    node.await_asked(20)
    node.stop()
    check_windows_meet(node.api)
    a, b = (node.of_pod(uid)[-1] for uid in uids)
    assert int(a["active_mj"]) == pytest.approx(3 * int(b["active_mj"]), rel=0.01)
    assert a["start"] == b["start"]
    assert abs(int(a["allocated_gpu_ns"]) - int(b["allocated_gpu_ns"])) <= 1  # the largest remainder
    assert "equal_split" not in a["flags"]


def cut_in_two(node: Node, *, gpm: bool) -> tuple[Any, Any]:
    """Two pods on MIG devices of one slice, of which one works three times as much; their last windows."""
    node.fleet = Fleet([replace(node.fleet.gpus[0], mig=True, parts=3, busy=(90.0, 30.0, 0.0), gpm=gpm)])
    for part, uid in enumerate(("uid-a", "uid-b")):
        node.hold(uid, f"pod-{part}", "nvidia.com/mig-1g.10gb", f"MIG-{0:08}-{part:04}-0000-0000-000000000000")
    node.start(JOULEGATE_METER_INTERVAL_MS="100")
    node.await_asked(30)
    node.stop()
    check_windows_meet(node.api)
    a, b = (max(node.of_pod(uid), key=energy_of_row) for uid in ("uid-a", "uid-b"))
    assert a["start"] == b["start"]
    return a, b


def test_a_pod_has_its_claimed_gpu_as_soon_as_the_cluster_says_which_one_it_is(node: Node, free_port: int) -> None:
    node.cluster.slices_away = True
    node.cluster.resource_version = "v1beta1"
    attributes = {"uuid": {"string": GPUS[1]}, "type": {"string": "gpu"}}
    node.cluster.slices.append(
        {
            "metadata": {"uid": "slice-1", "resourceVersion": "1"},
            "spec": {
                "driver": "gpu.nvidia.com",
                "pool": {"name": "node-1", "generation": 1},
                "devices": [{"name": "gpu-1", "basic": {"attributes": attributes}}],
            },
        }
    )
    node.cluster.put(pod_object("uid-a", "claims-0"))
    node.kubelet.claimed["vision", "claims-0", "main"] = [("claim", "gpu.nvidia.com", "node-1", "gpu-1")]
    node.start(JOULEGATE_METER_PORT=str(free_port))
    until(lambda: "ResourceSlice" in get_or_nothing(free_port, "/readyz"))
    node.cluster.slices_away = False
    until(lambda: get_or_nothing(free_port, "/readyz") == "ok\n")
    node.await_asked(10)
    node.stop()
    check_windows_meet(node.api)
    assert {row["device_uuid"] for row in node.of_pod("uid-a")} == {GPUS[1]}
    assert energy(node.of_pod("uid-a")) > 0


def get_or_nothing(port: int, path: str) -> str:
    try:
        return get(port, path)[1]
    except OSError:
        return ""  # it does not listen yet


def energy_of_row(row: Any) -> int:
    return energy([row])


def test_two_pods_on_mig_devices_get_active_energy_by_the_use_of_each_where_the_board_tells_it(node: Node) -> None:
    a, b = cut_in_two(node, gpm=True)
    assert int(a["active_mj"]) == pytest.approx(3 * int(b["active_mj"]), rel=0.05)
    assert abs(int(a["allocated_gpu_ns"]) - int(b["allocated_gpu_ns"])) <= 1
    assert "equal_split" not in a["flags"]


def test_two_pods_on_mig_devices_of_a_board_that_does_not_tell_get_equal_parts_and_a_flag(node: Node) -> None:
    a, b = cut_in_two(node, gpm=False)
    assert abs(int(a["active_mj"]) - int(b["active_mj"])) <= 1
    assert "equal_split" in a["flags"]
    assert "equal_split" in b["flags"]


def test_f1_a_meter_that_is_killed_and_started_again_loses_no_energy(node: Node) -> None:
    node.hold("uid-a", "train-0", "nvidia.com/gpu", GPUS[0])
    node.start()
    until(lambda: len(node.api.devices) == 2)
    for _ in range(3):
        time.sleep(1.2)
        node.kill()
        node.start()
    node.await_asked()
    node.stop()
    check_windows_meet(node.api)
    rows = sorted(node.api.rows(), key=lambda row: parse_instant(row["start"], "start"))
    gpu = [row for row in rows if row["device_uuid"] == GPUS[0]]
    span_s = (parse_instant(gpu[-1]["end"], "end") - parse_instant(gpu[0]["start"], "start")).total_seconds()
    assert energy(gpu) == pytest.approx(250_000 * span_s, rel=0.03)
    assert len(node.api.windows) == 1


def test_f3_while_the_api_is_away_windows_wait_and_are_delivered_once(node: Node) -> None:
    node.api.status = 503
    node.start()
    node.await_asked()
    for n in range(4):
        node.hold(f"uid-{n}", f"pod-{n}", "nvidia.com/gpu", GPUS[0])
        time.sleep(1.5)  # several readings, on a busy machine too
        node.release(f"uid-{n}", f"pod-{n}")
        time.sleep(0.5)
    node.stop("windows wait")
    assert node.api.rows() == []
    node.api.status = 200
    node.api.lose_answers = 2
    node.start()
    until(lambda: node.of_pod("uid-3"))
    node.stop("windows wait", "windows are sent again")
    check_windows_meet(node.api)
    assert all(node.of_pod(f"uid-{n}") for n in range(4))


@pytest.fixture(scope="session")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that makes a disk refuse."""
    made = tmp_path_factory.mktemp("disk") / "libdisk.so"
    options = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o", str(made), str(DISK), "-ldl"]
    subprocess.run([*shlex.split(os.environ.get("CC", "cc")), *options], check=True)
    return made


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EROFS], ids=errno.errorcode.get)
def test_f8_a_process_whose_disk_refuses_measures_on_says_so_and_loses_nothing(
    node: Node, disk: Path, free_port: int, error: int
) -> None:
    says = node.folder / "says"
    preloaded = {"LD_PRELOAD": str(disk), "DISK_FOLDER": str(node.folder / "state"), "DISK_SAYS": str(says)}
    node.start(JOULEGATE_METER_PORT=str(free_port), **preloaded)
    until(lambda: get_or_nothing(free_port, "/readyz") == "ok\n")
    node.hold("uid-0", "pod-0", "nvidia.com/gpu", GPUS[0])
    node.await_asked(10)
    says.write_text(str(int(error)))
    for n in (1, 2):
        node.release(f"uid-{n - 1}", f"pod-{n - 1}")
        node.await_asked(10)
        node.hold(f"uid-{n}", f"pod-{n}", "nvidia.com/gpu", GPUS[0])
        node.await_asked(10)
    until(lambda: "wait for the disk" in get_or_nothing(free_port, "/readyz"))
    (line,) = [
        line for line in get(free_port, "/metrics")[1].splitlines() if line.startswith("joulegate_meter_disk_errors")
    ]
    assert float(line.split()[1]) > 0
    assert get(free_port, "/healthz")[0] == 200
    says.write_text("")
    until(lambda: get_or_nothing(free_port, "/readyz") == "ok\n")
    until(lambda: node.of_pod("uid-1"))
    node.stop("windows wait", "windows are sent again")
    check_windows_meet(node.api)
    assert all(node.of_pod(f"uid-{n}") for n in range(3))
    assert len(node.api.windows) == 1


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_metrics_and_health_are_told_on_a_port_of_its_own(node: Node, free_port: int) -> None:
    node.start(JOULEGATE_METER_PORT=str(free_port))
    until(lambda: len(node.api.devices) == 2 and node.kubelet.asked > 3)
    until(lambda: get(free_port, "/readyz")[0] == 200)
    time.sleep(1)
    status, text = get(free_port, "/metrics")
    assert status == 200
    for name in (
        "joulegate_gpu_energy_joules_total",
        "joulegate_gpu_power_watts",
        "joulegate_meter_unattributed_joules_total",
    ):
        assert f'{name}{{gpu="{GPUS[0]}"' in text
    assert "joulegate_meter_oldest_unacknowledged_seconds " in text
    assert get(free_port, "/healthz") == (200, "ok\n")
    assert get(free_port, "/other")[0] == 404
    node.stop()


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

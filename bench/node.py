"""What the node meter itself costs: ``python -m bench.node``.

The real process, once a second, on 8 scripted GPUs: each whole in the hands of one pod, and each cut into 7 MIG
devices in the hands of 56 pods, whose use the boards tell. A kubelet, a cluster and an API on loopback stand around it.
Processor time and memory are what the kernel counted for the process, after its start. Writes bench/results/node.json.
Needs a C compiler.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from joulegate.clock import boottime_ns
from tests.nvml.fleet import Fleet, Gpu, compile_library
from tests.operators.node.doubles import Api, Cluster, Kubelet, kubeconfig, pod_object

ROOT: Final = Path(__file__).parent.parent
RESULTS: Final = ROOT / "bench" / "results"
GPUS: Final = 8
SLICES: Final = 7
AIM_PERCENT: Final = 1.0
"""Of one core, at 1 Hz with 8 GPUs."""

_STARTED_S: Final = 8.0
"""By then every part of the process has been loaded and every device described."""

_TICKS: Final = os.sysconf("SC_CLK_TCK")


def fleet(*, cut: bool) -> Fleet:
    """Eight boards of unlike load."""
    return Fleet(
        [
            Gpu(
                f"GPU-{at:08d}-0000-0000-0000-000000000000",
                name="NVIDIA H100 80GB HBM3",
                levels=((0, 100_000 + 40_000 * at),),
                limit_mw=700_000,
                mig=cut,
                parts=SLICES if cut else 0,
                busy=tuple(10.0 * (part + 1) for part in range(SLICES)) if cut else (),
                gpm=cut,
            )
            for at in range(GPUS)
        ]
    )


def handed_out(scripted: Fleet, kubelet: Kubelet, cluster: Cluster, *, cut: bool) -> int:
    """Give each GPU, or each slice, to a pod of its own; how many pods that makes."""
    ids = [gpu.uuid for gpu in scripted.gpus]
    if cut:
        ids = [f"MIG-{gpu:08d}-{part:04d}-0000-0000-000000000000" for gpu in range(GPUS) for part in range(SLICES)]
    resource = "nvidia.com/mig-1g.10gb" if cut else "nvidia.com/gpu"
    kubelet.allocatable = {resource: ids}
    for number, identity in enumerate(ids):
        cluster.put(pod_object(f"uid-{number:02}", f"job-{number:02}"))
        kubelet.held["vision", f"job-{number:02}", "main"] = {resource: [identity]}
    return len(ids)


def measured(library: Path, folder: Path, seconds: float, *, cut: bool) -> dict[str, Any]:
    """Run the process and read what the kernel counted."""
    scripted, kubelet, cluster, api = fleet(cut=cut), Kubelet(), Cluster(), Api()
    folder.mkdir()
    pods = handed_out(scripted, kubelet, cluster, cut=cut)
    with ExitStack() as stack:
        stack.enter_context(kubelet.serving(folder / "kubelet.sock"))
        config = kubeconfig(folder, stack.enter_context(cluster.serving()))
        environment = {
            **scripted.environment(library, folder),
            "JOULEGATE_NODE": "node-1",
            "JOULEGATE_ADDRESS": stack.enter_context(api.serving()),
            "JOULEGATE_TOKEN": "meter-token",
            "JOULEGATE_METER_FOLDER": str(folder / "state"),
            "JOULEGATE_KUBELET_SOCKET": str(folder / "kubelet.sock"),
            "JOULEGATE_KUBECONFIG": str(config),
            "JOULEGATE_METER_PORT": "0",
        }
        process = subprocess.Popen([sys.executable, "-m", "joulegate_operators.node.main"], env=environment)
        try:
            time.sleep(_STARTED_S)
            first_s, first_ns = cpu_s(process.pid), boottime_ns()
            time.sleep(seconds)
            used_s, span_ns = cpu_s(process.pid) - first_s, boottime_ns() - first_ns
            memory_kib, peak_kib = memory(process.pid)
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)
        finally:
            process.kill()
            process.wait()
    rows = api.rows()
    drawn_mj = sum(int(row[name] or 0) for row in rows for name in ("active_mj", "idle_mj"))
    spans: dict[str, list[int]] = {row["device_uuid"]: [] for row in rows}
    for row in rows:
        spans[row["device_uuid"]] += [int(row["energy_start_mj"]), int(row["energy_end_mj"])]
    return {
        "gpus": GPUS,
        "pods": pods,
        "mig_devices": GPUS * SLICES if cut else 0,
        "interval_ms": 1_000,
        "seconds": round(span_ns / 1e9, 1),
        "core_percent": round(100 * used_s / (span_ns / 1e9), 3),
        "memory_kib": memory_kib,
        "peak_kib": peak_kib,
        "windows": len(rows),
        "pods_with_energy": len({row["pod_uid"] for row in rows if row["pod_uid"]}),
        "unexplained_mj": sum(max(span) - min(span) for span in spans.values()) - drawn_mj,
        "aim_percent": AIM_PERCENT,
    }


def cpu_s(pid: int) -> float:
    """Processor time of a process in both modes, in seconds (proc(5), fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory(pid: int) -> tuple[int, int]:
    """Resident memory now and at its most, in KiB."""
    rows = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(rows["VmRSS"].split()[0]), int(rows["VmHWM"].split()[0])


def shown(row: dict[str, Any]) -> str:
    """One line for people."""
    what = f"{row['gpus']} GPUs, {row['pods']} pods" + (
        f", {row['mig_devices']} MIG devices" if row["mig_devices"] else ""
    )
    cost = f"{row['core_percent']:.2f} % of one core (aim {row['aim_percent']:g} %)  {row['memory_kib'] / 1024:.0f} MiB"
    return f"{what:32} {cost}  unexplained {row['unexplained_mj']} mJ"


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=40.0)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as made:
        library = compile_library(Path(made))
        for cut in (False, True):
            rows.append(measured(library, Path(made) / ("cut" if cut else "whole"), options.seconds, cut=cut))
            sys.stdout.write(shown(rows[-1]) + "\n")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "node.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()

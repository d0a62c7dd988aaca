"""What our webhook adds to a creation on a real API server, beside Gatekeeper: ``python -m bench.latency``.

Pods that ask for a GPU are created one after the other: with no webhook, with Gatekeeper and one policy, and with
Joulegate, whose every answer is a decision that is held and durable on PostgreSQL. The three take turns, so that all
meet the same machine. Needs a control plane and Go; the first run builds Gatekeeper (minutes).
Writes bench/results/latency.json.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench import gatekeeper
from bench.postgres import DATABASE, durable
from tests.cluster.admitting import Admitting, admitting
from tests.cluster.api import Api, Object, RefusedError, eventually
from tests.cluster.conftest import claim_slot
from tests.cluster.controlplane import ControlPlane
from tests.cluster.programs import clients, programs, why_not

ROOT: Final = Path(__file__).parent.parent
RESULTS: Final = ROOT / "bench" / "results"
NAMESPACE: Final = "bench"
ROUNDS: Final = 8
EACH: Final = 50
"""Creations of a round, of each of the three."""

_WARM: Final = 10
_numbers = iter(range(10**9))


def pod(**labels: str) -> Object:
    """A pod that is governed; no node takes it."""
    container = {"name": "main", "image": "example.org/train:1", "resources": {"limits": {"nvidia.com/gpu": 1}}}
    metadata = {"name": f"pod-{next(_numbers)}", "namespace": NAMESPACE, "labels": labels}
    metadata["annotations"] = {"joulegate.io/expected-duration": "1h"}
    spec = {"schedulerName": "nobody", "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def created_ms(api: Api, count: int) -> list[float]:
    """How long each of some creations took."""
    found = []
    for _ in range(count):
        source = pod(team="vision")
        begun = time.perf_counter()
        api.create(source)
        found.append((time.perf_counter() - begun) * 1e3)
    return found


def refused(api: Api, **labels: str) -> bool:
    """Whether a pod with these labels is kept out."""
    try:
        api.create(pod(**labels), dryRun="All")
    except RefusedError:
        return True
    return False


@dataclass(frozen=True, slots=True)
class Contender:
    """A webhook: how it is put in force, how it is taken away, and how one sees that it is asked."""

    name: str
    put: Callable[[], object]
    take: Callable[[], object]
    in_force: Callable[[], bool]


def contenders(api: Api, ours: Admitting, other: Object) -> Iterator[Contender]:
    """The three that take turns."""
    hooks = [each for each in ours.webhooks if each["kind"].endswith("WebhookConfiguration")]
    yield Contender("none", lambda: None, lambda: None, lambda: True)
    yield Contender("gatekeeper", lambda: api.apply(other), lambda: api.delete(other), lambda: refused(api))
    yield Contender(
        "joulegate",
        lambda: each(api.apply, hooks),
        lambda: each(api.delete, hooks),
        lambda: asked(api, ours),
    )


def each(act: Callable[[Object], object], sources: Iterable[Object]) -> None:
    """Do it with every object."""
    for source in sources:
        act(source)


def asked(api: Api, ours: Admitting) -> bool:
    """Whether our webhook decides: a creation takes room in the budget."""
    before = ours.pending(NAMESPACE)
    api.create(pod(team="vision"))
    return ours.pending(NAMESPACE) > before


def quantile(values: list[float], share: float) -> float:
    """The value below which this share lies; of the nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def memory_mib(pid: int) -> float:
    """What a process holds in memory now."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return round(int(line.split()[1]) / 1024, 1)


@contextmanager
def standing() -> Iterator[tuple[Api, Admitting, Object, int]]:
    """A control plane with the API on PostgreSQL and Gatekeeper beside it."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        slot, lock = claim_slot()
        stack.enter_context(lock)
        plane = ControlPlane(slot)
        plane.start(programs())
        stack.callback(plane.remove)
        api = Api.open(plane.kubeconfig)
        stack.callback(api.close)
        api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        (folder / "home").mkdir()
        server = stack.enter_context(durable())
        ours = stack.enter_context(admitting(plane, api, clients(), folder / "home", server.url(DATABASE)))
        other, pid = stack.enter_context(gatekeeper.serving(plane, api, folder / "gatekeeper", NAMESPACE))
        ours.bind(NAMESPACE, NAMESPACE, "1000000")
        yield api, ours, other, pid


def measured(api: Api, ours: Admitting, other: Object) -> dict[str, list[float]]:
    """Milliseconds of every creation, by contender; the three in turn, round after round."""
    found: dict[str, list[float]] = {}
    turns = list(contenders(api, ours, other))
    turns[2].take()
    for _ in range(ROUNDS):
        for turn in turns:
            turn.put()
            eventually(turn.in_force, saying=f"{turn.name} is asked")
            created_ms(api, _WARM)
            found.setdefault(turn.name, []).extend(created_ms(api, EACH))
            turn.take()
            if turn.name != "none":
                time.sleep(1.5)  # the API server hears of it by its own watch
    turns[2].put()
    return found


def summary(found: dict[str, list[float]]) -> dict[str, Any]:
    """Medians and 99th percentiles, what each adds, and ours over theirs."""
    figures: dict[str, Any] = {
        name: {
            "n": len(values),
            "p50_ms": round(statistics.median(values), 2),
            "p99_ms": round(quantile(values, 0.99), 2),
        }
        for name, values in found.items()
    }
    for quantity in ("p50_ms", "p99_ms"):
        base = figures["none"][quantity]
        for name in ("gatekeeper", "joulegate"):
            figures[name][f"added_{quantity}"] = round(figures[name][quantity] - base, 2)
    ours, theirs = figures["joulegate"], figures["gatekeeper"]
    figures["ratio_added_p50"] = round(ours["added_p50_ms"] / theirs["added_p50_ms"], 2)
    figures["ratio_added_p99"] = round(ours["added_p99_ms"] / theirs["added_p99_ms"], 2)
    return figures


def main() -> None:
    """Measure, print, write."""
    reason = why_not() or (None if shutil.which("go") else "there is no Go to build Gatekeeper with")
    if reason:
        print(f"not run, because {reason}")
        return
    try:
        gatekeeper.program()
    except subprocess.CalledProcessError as error:
        print(f"not run, because Gatekeeper cannot be built: {' '.join(str(error.stderr).split())[-300:]}")
        return
    with standing() as (api, ours, other, pid):
        figures = summary(measured(api, ours, other))
        own = ours.process.pid if ours.process else 0
        figures["memory_mib"] = {"joulegate": memory_mib(own), "gatekeeper": memory_mib(pid)}
    (RESULTS / "latency.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=2))
    print(f"added p99, ours over Gatekeeper's: {figures['ratio_added_p99']} (aim: below 1)")


if __name__ == "__main__":
    main()
    sys.exit()

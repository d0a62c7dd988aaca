"""How long the operator takes for many budgets and workloads, and what memory each process needs for them.

``python -m bench.reconcile [BUDGETS] [WORKLOADS]``, 1,000 and 10,000 where nothing is said. On a real control plane
with the API on PostgreSQL, at the operator's own pace: namespaces with a budget each and pods that ask for a GPU are
made while no operator runs and no webhook is asked; then the operator starts, and everything is adopted. A node meter
looks at 8 scripted boards beside it. Memory before anything was there is the baseline. Writes
bench/results/reconcile.json.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import psycopg
import yaml

from bench.latency import RESULTS
from bench.postgres import DATABASE, durable
from joulegate.core.objects import API_VERSION
from tests.cluster.admitting import REGISTRATION, admitting
from tests.cluster.api import Api, Object, eventually
from tests.cluster.boards import Boards
from tests.cluster.conftest import CRDS, claim_slot, is_established
from tests.cluster.controlplane import ControlPlane
from tests.cluster.metering import metered
from tests.cluster.node import joined
from tests.cluster.operating import Operating, operates
from tests.cluster.programs import clients, programs, why_not

BUDGETS: Final = 1_000
WORKLOADS: Final = 10_000
BOARDS: Final = 8

_AT_ONCE: Final = 8
_CHANGES: Final = 5
_QUIET_S: Final = 60
_LONGEST_S: Final = 1_800
_BASELINE_S: Final = 20
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_LIVE: Final = "SELECT count(DISTINCT root_uid) FROM holds WHERE state IN ('confirmed', 'unconfirmed')"


@dataclass(slots=True)
class World:
    """A control plane with everything of Joulegate, each in a process of its own."""

    api: Api
    made: Operating
    database: psycopg.Connection
    meter: int

    def pids(self) -> Mapping[str, int]:
        """The processes of Joulegate by name; the listener of admission is a thread of the API."""
        own = self.made.gate.process
        operator = self.made.operators.get("operator")
        found = {"api": own and own.pid, "operator": operator and operator.pid, "node_meter": self.meter}
        return {name: pid for name, pid in found.items() if pid}

    def held(self) -> int:
        """How many roots have a hold."""
        row = self.database.execute(_LIVE).fetchone()
        return 0 if row is None else int(row[0])

    def reported(self) -> Any:  # noqa: ANN401 -- an instant or None
        """When the last list of pods was taken."""
        row = self.database.execute("SELECT max(received_at) FROM inventories WHERE kind = 'pods'").fetchone()
        return None if row is None else row[0]


def memory(pids: Mapping[str, int]) -> dict[str, Any]:
    """What each process holds in memory now and held at most, MiB."""
    return {name: {"rss_mib": _mib(pid, "VmRSS"), "peak_mib": _mib(pid, "VmHWM")} for name, pid in pids.items()}


def _mib(pid: int, field_name: str) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith(f"{field_name}:"))
    return round(int(line.split()[1]) / 1024, 1)


def processor_s(pid: int) -> float:
    """Seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def budget(number: int, kwh: str = "1000") -> Object:
    """The budget of one namespace."""
    spec = {
        "scope": {"namespaces": [f"space-{number}"]},
        "period": {"unit": "Year"},
        "limits": {"energyKwh": kwh},
    }
    return {"apiVersion": API_VERSION, "kind": "Budget", "metadata": {"name": f"budget-{number}"}, "spec": spec}


def workload(number: int, spaces: int) -> Object:
    """A pod that asks for a GPU and that no node takes."""
    container = {"name": "main", "image": "example.org/train:1", "resources": {"limits": {"nvidia.com/gpu": 1}}}
    metadata = {"name": f"pod-{number}", "namespace": f"space-{number % spaces}"}
    annotations = {"joulegate.io/expected-duration": "1h"}
    spec = {"schedulerName": "nobody", "automountServiceAccountToken": False, "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {**metadata, "annotations": annotations}, "spec": spec}


def fill(api: Api, budgets: int, workloads: int) -> None:
    """Make everything, some at a time."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        spaces = [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"space-{each}"}} for each in range(budgets)
        ]
        list(pool.map(api.create, spaces))
        accounts = [
            {
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": {"name": "default", "namespace": f"space-{each}"},
            }
            for each in range(budgets)
        ]
        list(pool.map(lambda each: eventually(partial(api.exists, each)), accounts))
        list(pool.map(api.create, map(budget, range(budgets))))
        list(pool.map(api.create, (workload(each, budgets) for each in range(workloads))))


def accepted(api: Api) -> int:
    """How many budgets say of their present form that they are in force."""
    found = api.all(API_VERSION, "Budget")
    return sum(map(_is_ready, found))


def _is_ready(source: Object) -> bool:
    status = source.get("status") or {}
    told = {each["type"]: each["status"] for each in status.get("conditions") or ()}
    return told.get("Ready") == "True" and status.get("observedGeneration") == source["metadata"]["generation"]


def marked(api: Api) -> int:
    """How many pods say which hold they have."""
    count, options = 0, {"limit": "1000"}
    while True:
        page = api.request("GET", "/api/v1/pods", **options)
        count += sum("joulegate.io/hold" in (each["metadata"].get("annotations") or {}) for each in page["items"])
        follow = page["metadata"].get("continue")
        if not follow:
            return count
        options = {"limit": "1000", "continue": follow}


def seconds(question: Callable[[], object], begun: float, pause_s: float = 0.5) -> float:
    """Seconds from ``begun`` until it is so, as ``time.monotonic`` counts."""
    while not question():
        if time.monotonic() - begun > _LONGEST_S:
            message = f"not so within {_LONGEST_S} s: {question}"
            raise TimeoutError(message)
        time.sleep(pause_s)
    return round(time.monotonic() - begun, 1)


def adopted(world: World, budgets: int, workloads: int) -> dict[str, float]:
    """Start the operator beside all that stands; seconds until every budget is in force and everything is held for."""
    begun = time.monotonic()
    world.made.start()
    found = {"budgets_in_force_s": seconds(lambda: accepted(world.api) >= budgets, begun)}
    _say("budgets", found)
    found["workloads_held_s"] = seconds(lambda: world.held() >= workloads, begun)
    _say("workloads", found)
    return found


def annotated(world: World, workloads: int) -> dict[str, float]:
    """Seconds from then on until each workload says which hold it has."""
    begun = time.monotonic()
    return {"annotated_s": seconds(lambda: marked(world.api) >= workloads, begun, 5.0)}


def again(world: World) -> dict[str, float]:
    """End the operator and start it where nothing has changed; seconds until it has told everything again."""
    world.made.kill()
    before, begun = world.reported(), time.monotonic()
    world.made.start()
    return {"restarted_s": seconds(lambda: world.reported() != before, begun, 0.1)}


def quiet(world: World) -> dict[str, Any]:
    """Processor time while nothing changes, as a share of one core."""
    before = {name: processor_s(pid) for name, pid in world.pids().items()}
    time.sleep(_QUIET_S)
    return {name: round((processor_s(pid) - before[name]) / _QUIET_S, 3) for name, pid in world.pids().items()}


def changes(world: World, budgets: int) -> dict[str, float]:
    """Medians of the seconds from one change until it is done: of a budget, and a pod that is new."""
    limits, pods = [], []
    for number in range(_CHANGES):
        changed = budget(number, "2000")
        begun = time.monotonic()
        world.api.patch(changed, {"spec": {"limits": {"energyKwh": "2000"}}})
        limits.append(seconds(lambda one=changed: _is_ready(world.api.read(one)), begun, 0.05))  # type: ignore[misc]
        before, begun = world.held(), time.monotonic()
        world.api.create(workload(1_000_000 + number, budgets))
        pods.append(seconds(lambda than=before: world.held() > than, begun, 0.05))  # type: ignore[misc]
    return {"budget_changed_s": statistics.median(limits), "workload_added_s": statistics.median(pods)}


@contextmanager
def standing() -> Iterator[World]:
    """The control plane, PostgreSQL, API, operator and one node with its meter; webhooks are not asked."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        slot, lock = claim_slot()
        stack.enter_context(lock)
        plane = ControlPlane(slot)
        plane.start(programs())
        stack.callback(plane.remove)
        api = Api.open(plane.kubeconfig)
        stack.callback(api.close)
        _define(api)
        (folder / "home").mkdir()
        server = stack.enter_context(durable())
        boards = Boards.bursting(BOARDS)
        node = stack.enter_context(joined(plane, api, "bench-0", BOARDS, {}, boards))
        gate = stack.enter_context(admitting(plane, api, clients(), folder / "home", server.url(DATABASE)))
        for hook in [each for each in gate.webhooks if each["apiVersion"] == REGISTRATION]:
            api.delete(hook)
            stack.callback(api.apply, hook)  # it is taken away again at the end
        made = stack.enter_context(operates(api, clients(), gate, pace={}))
        meter = stack.enter_context(metered(gate, api, clients(), node, boards, folder / "node"))
        database = stack.enter_context(psycopg.connect(server.url(DATABASE), autocommit=True))
        yield World(api, made, database, meter.pid)


def _define(api: Api) -> None:
    """Joulegate's own kinds, applied and served."""
    for path in sorted(CRDS.glob("*.yaml")):
        definition = yaml.safe_load(path.read_text(encoding="utf-8"))
        api.apply(definition)
        eventually(partial(is_established, api, definition))


def measured(budgets: int, workloads: int, keep: Callable[[Mapping[str, Any]], None]) -> dict[str, Any]:
    """Every figure; they are kept on the way, so that a run that is ended early has not been in vain."""
    figures: dict[str, Any] = {"budgets": budgets, "workloads": workloads, "boards": BOARDS}
    with standing() as world:
        time.sleep(_BASELINE_S)
        figures["baseline"] = memory(world.pids())
        _say("baseline", figures)
        world.made.kill()
        begun = time.monotonic()
        fill(world.api, budgets, workloads)
        _say("filled", {"seconds": round(time.monotonic() - begun, 1)})
        figures |= adopted(world, budgets, workloads)
        figures["full"] = memory(world.pids())
        keep(figures)
        figures |= annotated(world, workloads) | changes(world, budgets)
        figures["quiet_cores"] = quiet(world)
        figures["full"] = memory(world.pids())
        figures |= again(world)
        keep(figures)
    return figures


def _keep(figures: Mapping[str, Any]) -> None:
    (RESULTS / "reconcile.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def _say(what: str, found: Mapping[str, Any]) -> None:
    sys.stderr.write(f"{what}: {json.dumps(found)}\n")


def main() -> None:
    """Measure, print, write."""
    if reason := why_not():
        print(f"not run, because {reason}")
        return
    sizes = [int(word) for word in sys.argv[1:]] or [BUDGETS, WORKLOADS]
    budgets, workloads = sizes
    keep = _keep if sizes == [BUDGETS, WORKLOADS] else lambda _found: None
    figures = measured(budgets, workloads, keep)
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
    sys.exit()

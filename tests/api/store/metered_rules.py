"""Rules of the state machine for what a cluster tells: lists of objects and pods, devices, windows of node meters."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import datetime, timedelta

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from joulegate_api.store import Device, Inventory, ObjectSeen, PodSeen, WindowBatch
from tests.api.store.agreement import NAMES, NODES, Agreement, window_of
from tests.api.store.examples import MODEL
from tests.api.store.plain_meters import PlainWindow
from tests.api.store.plain_parts import DEAD, LIVE, QUARTER, quarter_of

HOUR = timedelta(hours=1)
ROOTS = st.sampled_from(sorted(NAMES))
ENERGY = st.integers(0, 4_000_000)
AGO = st.sampled_from([timedelta(0), QUARTER, 3 * HOUR, 26 * HOUR])
PLACES = st.sampled_from(["node-1", "node-2", "node-without-a-meter"])


class Metered(Agreement):
    """A cluster of two metered nodes and one without a meter."""

    minutes: dict[tuple[str, datetime], int]
    seqs: dict[str, int]
    kept_back: list[Callable[[], None]]

    @rule(minutes=st.sampled_from([1, 14, 200, 800, 1500, 73 * 60]))
    def wait(self, minutes: int) -> None:
        self.clock.now += timedelta(minutes=minutes)
        self.model.now = self.clock.now

    @rule(listed=st.sets(ROOTS), over=st.sets(ROOTS), complete=st.booleans())
    def list_objects(self, listed: set[str], over: set[str], complete: bool) -> None:
        """A list confirms what it has; of what it lacks, where it is complete, the unseen expires and the rest ends."""
        self.wait(1)
        there = set(listed)
        for root, parts in self.model.parts.items():
            states = {part.state for part in parts}
            if ("confirmed" in states and root not in over) or {"released", "closed"} & states:
                there.add(root)
        self._list(*(ObjectSeen(root, None, "vision", NAMES[root]) for root in sorted(there)), complete=complete)
        for root, parts in list(self.model.parts.items()):
            if root in there:
                self.model.move(root, "unconfirmed", "confirmed")
            elif complete:
                self.model.move(root, "unconfirmed", "expired")
                if any(part.state in LIVE for part in parts):
                    self.model.end(root)

    @rule(root=ROOTS, node=PLACES)
    def start_pod(self, root: str, node: str) -> None:
        if root not in self.model.ended and any(part.state in LIVE for part in self.model.parts[root]):
            self._tell_pods(root, [*self.model.meters.pods.get(root, []), (node, None)])

    @rule(root=ROOTS)
    def end_pod(self, root: str) -> None:
        pods = self.model.meters.pods.get(root, [])
        running = [number for number, (_, ended) in enumerate(pods) if ended is None]
        if running and root not in self.model.ended:
            now = self.clock.now
            self._tell_pods(root, [(n, now if number == running[0] else e) for number, (n, e) in enumerate(pods)])

    @rule()
    def sweep(self) -> None:
        """What the clock does: estimates are taken back as far as they were measured, and what may end ends."""
        self.model.let_run_out()
        self.store.releases.sweep()
        for root in list(self.model.parts):
            self.model.reconcile(root)
        for root in list(self.model.parts):
            self.model.settle(root)

    @rule(root=ROOTS)
    def enroll(self, root: str) -> None:
        gpu, node = f"GPU-of-{root}", NODES[root]
        if gpu not in self.model.meters.gpus:
            self.store.devices.enroll(Device("local", node, gpu, MODEL, None, self.clock.now))
            self.model.meters.gpus[gpu] = node, self.clock.now, None

    @rule(root=ROOTS)
    def retire(self, root: str) -> None:
        gpu = f"GPU-of-{root}"
        if gpu in self.model.meters.gpus:
            node, since, until = self.model.meters.gpus[gpu]
            assert self.store.devices.retire(("local", node), gpu, self.clock.now) == (until is None)
            self.model.meters.gpus[gpu] = node, since, until or self.clock.now

    @rule(
        root=ROOTS,
        ago=AGO,
        energies=st.lists(ENERGY, min_size=1, max_size=3),
        log=st.sampled_from(["log", "log", "another"]),
        crashes=st.booleans(),
        late=st.sampled_from([False, False, True]),
        in_life=st.booleans(),
    )
    def measure(
        self, root: str, ago: timedelta, energies: list[int], log: str, crashes: bool, late: bool, in_life: bool
    ) -> None:
        """Windows of a minute each; ``late`` ones come after those that were measured later, or never."""
        quarter = quarter_of(self.clock.now - ago)
        if in_life and root in self.model.ended:
            quarter = quarter_of(max(self.model.ended[root] - ago, min(p.decided for p in self.model.parts[root])))
        minute = self.minutes.get((root, quarter), 0)
        if minute + len(energies) > 15:
            return
        self.minutes[(root, quarter)] = minute + len(energies)
        incarnation = f"{NODES[root]}/{log}"
        seq = self.seqs.get(incarnation, 0)
        self.seqs[incarnation] = seq + len(energies)
        starts = [quarter + timedelta(minutes=minute + number) for number in range(len(energies))]
        windows = tuple(
            window_of(seq + number, root, start, energy)
            for number, (start, energy) in enumerate(zip(starts, energies, strict=True))
        )
        sent = WindowBatch("local", NODES[root], incarnation, seq, windows)

        def arrive() -> None:
            self.model.let_run_out()
            self._send(lambda: self.store.windows.ingest(sent), crashes=crashes)
            before = copy.deepcopy(self.model.charges())
            for number, (start, energy) in enumerate(zip(starts, energies, strict=True)):
                told = PlainWindow(incarnation, seq + number, NODES[root], f"GPU-of-{root}", start)
                self.model.meters.windows.append(told)
                self.model.add(f"w-{root}", root, quarter, energy)
            self.model.metered = True
            self.model.post(before)
            if any(part.state not in DEAD for part in self.model.parts[root]):
                self.model.reconcile(root)

        if late:
            self.kept_back.append(arrive)
        else:
            arrive()

    @precondition(lambda self: self.kept_back)
    @rule()
    def arrive_late(self) -> None:
        self.kept_back.pop(0)()

    def _tell_pods(self, root: str, pods: list[tuple[str, datetime | None]]) -> None:
        """An incomplete list of one object: it is confirmed, and its pods are known."""
        self.wait(1)
        seen = tuple(PodSeen(f"{root}-{number}", node, ended) for number, (node, ended) in enumerate(pods))
        self._list(ObjectSeen(root, None, "vision", NAMES[root], seen), complete=False)
        self.model.meters.pods[root] = pods
        self.model.move(root, "unconfirmed", "confirmed")

    def _list(self, *seen: ObjectSeen, complete: bool) -> None:
        self.model.let_run_out()
        self.store.inventories.put(Inventory("local", "jobs", self.clock.now, complete, seen))

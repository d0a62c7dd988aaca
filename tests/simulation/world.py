"""One seed's world: authors, an API server, an operator, senders of records and a node meter around one service.

Everybody speaks through the real client, over a network with faults, to the real application. What
truly happens is kept as facts; :func:`told_plainly` tells the same facts to another service over a perfect
network, and both must come to the same balances, charges and holds.

Two bounds of the cluster are kept, without which no ledger could do this: a review is not worked on
later than three seconds after its API server gave it up, and its author tries again, with a new uid
under the same name, after that.
"""

from __future__ import annotations

import json
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, Final

from joulegate.core.errors import JoulegateError
from joulegate.core.metering import Boundary, Method
from joulegate.core.periods import cut_at_quarters, format_instant, ns_between
from joulegate.spool import Spool
from joulegate.windows import EnrolmentBody, WindowBody
from joulegate.wire import to_json
from joulegate_operators.node.shipping import Shipper
from joulegate_operators.node.wal import WindowLog
from tests.api.running import FACTORS, PRICES, SITES, budget, job, record, review, token_of
from tests.simulation.audit import Limits
from tests.simulation.network import Call, Faults, Network, Time
from tests.simulation.server import NODE, House, KilledError, Server

KIND: Final = "jobs.batch"
LARGEST_KWH: Final = 1_000_000
MJ_PER_KWH: Final = 3_600_000_000
GPUS: Final = ("GPU-1", "GPU-2")
STEPS: Final = 5
PATIENCE: Final = 100


@dataclass
class Job:
    uid: str
    name: str
    namespace: str
    gpu: str
    begun: datetime
    ended: datetime | None = None
    lives: bool = True

    def listed(self) -> dict[str, Any]:
        pod = {"uid": f"{self.uid}-pod", "node": "node-1"}
        pod |= {"ended_at": format_instant(self.ended)} if self.ended else {}
        return {"uid": self.uid, "namespace": self.namespace, "name": self.name, "pods": [pod]}


@dataclass
class Fact:
    """What is true whatever the network does: a call, by whom, and from when on it could be made."""

    at: datetime
    by: str
    method: str
    path: str
    body: Any

    def call(self) -> Call:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token_of(self.by)}"}
        return Call(self.method, self.path, headers, json.dumps(self.body).encode())


@dataclass
class Budgets:
    """Two teams and the laboratory above them; ``kwh`` are the limits in tenths."""

    tenths: dict[str, int]
    unit: str
    priced: bool

    @classmethod
    def drawn(cls, chance: Random) -> Budgets:
        tenths = {"lab": chance.randint(8, 30), "vision": chance.randint(4, 20), "speech": chance.randint(2, 15)}
        return cls(tenths, chance.choice(["Month", "Day"]), priced=chance.random() < 0.5)

    def install(self, server: Server, *, open_handed: bool = False) -> None:
        for name, tenths in self.tenths.items():
            kwh = str(LARGEST_KWH) if open_handed else f"{tenths / 10}"
            spec: dict[str, Any] = {"limits": {"energyKwh": kwh}, "enforcement": "Deny"}
            spec["period"] = {"unit": self.unit, "timezone": "Europe/Berlin"}
            spec |= {"scope": {"namespaces": [name]}, "parent": "lab"} if name != "lab" else {"scope": None}
            body = budget(name, **{key: value for key, value in spec.items() if value is not None})
            if name == "lab":
                del body["spec"]["scope"]
            must(server, Fact(server.time.instant, "admin", "PUT", f"/v1/budgets/{name}", body))
        for kind, body in (("factors", FACTORS), ("prices", PRICES), ("sites", SITES)) if self.priced else ():
            must(server, Fact(server.time.instant, "admin", "PUT", f"/v1/{kind}", body))

    @property
    def limits(self) -> Limits:
        return {name: {"mj": tenths * MJ_PER_KWH // 10} for name, tenths in self.tenths.items()}


class World:
    """Everything that a seed rules."""

    def __init__(self, seed: int, house: House, folder: Path) -> None:
        self.chance = chance = Random(seed)  # noqa: S311 -- a simulation
        begin = datetime(2026, 11, chance.choice([20, 30]), 20, tzinfo=UTC)
        self.time = Time(begin + timedelta(seconds=chance.uniform(0, 10_000)))
        self.began = self.time.instant
        self.metered = chance.random() < 0.5
        self.budgets = Budgets.drawn(chance)
        self.server = Server(house, self.time)
        self.budgets.install(self.server)
        self.network = Network(chance, self.time, self.server)
        self.network.faults = Faults.drawn(chance)
        self.jobs: list[Job] = []
        self.names = 0
        self.facts: list[Fact] = []
        self.allowed: list[str] = []
        self.delivered: list[str] = []
        self.drawn: Counter[str] = Counter()
        self.spools = [Spool(folder / f"spool-{number}") for number in range(2)]
        self.log = WindowLog(folder / "windows", f"node-{seed}")
        self.meter = Shipper(lambda: self.network.client(token_of(NODE)), self.log, self.time)
        self.read_to = dict.fromkeys(GPUS, self.time.instant)
        self.energy = dict.fromkeys(GPUS, 0)
        for gpu in GPUS if self.metered else ():
            self._enrol(gpu)

    # -- what goes on ------------------------------------------------------------------------

    def run(self) -> None:
        for _ in range(STEPS):
            self.server.dies_after = self.chance.randint(0, 60) if self._happens(0.2) else None
            self.network.wait(self.chance.uniform(60, 1_800))
            if self._happens(0.01):
                self.network.wait(self.chance.uniform(1, 4) * 86_400)
            self.read_meter()
            for act, often in (
                (self.submit, 0.8),
                (self.finish, 0.35),
                (self.operate, 0.6),
                (self.flush, 0.5),
                (self.ship, 0.5),
                (self.timer, 0.2),
            ):
                if self._happens(often):
                    act()
        self.settle()

    def settle(self) -> None:
        """The network heals, everybody sends what they have, late messages come, and the operator looks once more."""
        self.server.dies_after = None
        self.network.faults = Faults()
        self.read_meter()
        self.flush()
        self.ship()
        self.network.arrive_all()
        self.network.repeat_some(3)
        self.network.wait(3_600)
        self.list_jobs(complete=True)
        self.network.wait(60)
        self.read_meter()  # a hold ends when its node's meter has answered for the time until the list
        self.ship()
        self.server.timer()
        waiting = [name for spool in self.spools for name in (*spool.waiting(), *_files(spool.quarantine))]
        assert not waiting, f"records stay in their spool: {waiting}"
        assert self.log.accepted == self.log.next_seq - 1, self.meter.error
        assert not self.meter.quarantined

    def timer(self) -> None:
        try:
            self.server.timer()
        except KilledError:
            self.server.restart()

    def _happens(self, often: float) -> bool:
        return self.chance.random() < often

    # -- authors -----------------------------------------------------------------------------

    def submit(self) -> None:
        """An author applies a job; where the API server had no answer, again, or never."""
        free = [gpu for gpu in GPUS if all(job.gpu != gpu for job in self.jobs if job.lives)]
        if not free:
            return
        self.names += 1
        name, namespace = f"job-{self.names}", self.chance.choice(["vision", "speech"])
        duration = self.chance.choice(["15m", "40m", "2h"])
        for attempt in range(self.chance.randint(1, 3)):
            uid = f"{name}-{attempt}"
            asked = review(job(duration=duration, uid=uid, name=name, namespace=namespace), namespace=namespace)
            try:
                answered = self.network.client(token_of("admin")).post("/v1/admission/validate", asked)
            except JoulegateError:
                self.network.wait(5)
                continue
            verdict = json.loads(answered["response"]["auditAnnotations"]["verdict"])
            if verdict["allowed"]:
                self.allowed.append(verdict["hold"])
                self.jobs.append(Job(uid, name, namespace, free[0], self.time.instant))
                if self._happens(0.2):
                    self.extend(self.jobs[-1])
            return

    def finish(self) -> None:
        """A job ends; its run leaves one or two records."""
        living = [job for job in self.jobs if job.lives]
        if not living:
            return
        job = self.chance.choice(living)
        job.lives, job.ended = False, self.time.instant
        if self.metered and self.log.accepted < 0:
            return  # until a meter has reported, a record would charge
        for number in range(self.chance.randint(1, 2)):
            body = self._record(job, f"{job.uid}-r{number}")
            spool = self.chance.choice(self.spools)
            spool.put(body)
            self._tell("member", "POST", "/v1/records", body)

    def _record(self, job: Job, record_id: str) -> dict[str, Any]:
        ended = job.ended or self.time.instant
        begun = max(job.begun, ended - timedelta(minutes=40))
        intervals = []
        for start, end in cut_at_quarters(begun, ended):
            energy_mj = self.chance.randint(0, 400_000) * ns_between(start, end) // 10**9
            span = {"start": format_instant(start), "end": format_instant(end), "energy_mj": str(energy_mj)}
            intervals.append(span | {"method": "nvml_counter", "boundary": "accelerator", "coverage": 1.0})
            if not self.metered:
                self.drawn[job.namespace] += energy_mj
        device = {"uuid": job.gpu, "model": "NVIDIA A100-SXM4-80GB", "intervals": intervals}
        run = {"uid": job.uid, "namespace": job.namespace}
        times = {"started_at": format_instant(begun), "ended_at": format_instant(ended)}
        # A run that was cancelled teaches the predictor nothing, so no quote depends on what came first.
        return record(record_id, run=run, devices=[device], outcome="cancelled", **times)

    def flush(self) -> None:
        for spool in self.spools:
            flushed = spool.flush(self.network.client(token_of("member")), within_s=60)
            self.delivered += flushed.delivered

    # -- the operator ------------------------------------------------------------------------

    def operate(self) -> None:
        if self.jobs and self._happens(0.3):
            self.step(self.chance.choice(self.jobs))
        else:
            self.list_jobs(complete=self._happens(0.7))

    def step(self, job: Job) -> None:
        """Say of one object that it is there, or that it has ended."""
        if job.ended is None:
            self._send("POST", f"/v1/holds/{job.uid}/confirm", {})
        else:
            self._send("POST", f"/v1/holds/{job.uid}/release", {"ended_at": format_instant(job.ended)})

    def extend(self, job: Job) -> None:
        """Ask for more than a job was admitted with, until there is an answer."""
        groups = [{"accelerators": "1", "gpu_model": "NVIDIA A100-SXM4-80GB"}]
        demand = {"kind": "training", "groups": groups, "declared_ns": str(20 * 60 * 10**9)}
        body = {"resource": KIND, "namespace": job.namespace, "name": job.name, "demand": demand}
        body |= {"origin": "extended", "extension": f"{job.uid}-more"}
        for _ in range(PATIENCE):
            client = self.network.client(token_of("operator"))
            try:
                verdict = client.post(f"/v1/holds/{job.uid}/request", body, repeatable=True)
            except JoulegateError:
                self.network.wait(5)
                continue
            self.allowed += [verdict["hold"]] if verdict["allowed"] else []
            return
        raise AssertionError(f"nobody answered for {job.uid}")

    def list_jobs(self, *, complete: bool) -> None:
        body = {"begun_at": format_instant(self.time()), "complete": complete}
        listed = [job for job in self.jobs if job.lives and (complete or self._happens(0.5))]
        gone = [job.listed() for job in self.jobs if not job.lives and not complete]
        body["objects"] = [*(job.listed() for job in listed), *gone[-1:]]
        self._send("PUT", f"/v1/inventories/local/{KIND}", body)

    def _send(self, method: str, path: str, body: Any) -> None:
        self._tell("operator", method, path, body)
        client = self.network.client(token_of("operator"))
        with suppress(JoulegateError):  # the next list says it again
            _ = client.put(path, body) if method == "PUT" else client.post(path, body, repeatable=True)

    # -- the node meter ----------------------------------------------------------------------

    def _enrol(self, gpu: str) -> None:
        body = EnrolmentBody("local", "node-1", gpu, "NVIDIA A100-SXM4-80GB", 400_000, self.time.instant)
        self.meter.enrol(body)
        self._tell(NODE, "POST", "/v1/devices", to_json(body))

    def read_meter(self) -> None:
        """Every board's energy since the last look, cut at quarter-hours and where its job began or ended."""
        if not self.metered:
            return
        now = self.time.instant
        made = [window for gpu in GPUS for window in self._windows(gpu, now)]
        if not made:
            return
        first = self.log.next_seq
        self.log.append(made, {})
        rows = [to_json(replace(window, window_seq=first + number)) for number, window in enumerate(made)]
        self._tell(NODE, "POST", "/v1/windows", {"incarnation": self.log.incarnation, "seq": first, "windows": rows})

    def _windows(self, gpu: str, now: datetime) -> list[WindowBody]:
        since, self.read_to[gpu] = self.read_to[gpu], now
        on_it = [job for job in self.jobs if job.gpu == gpu]
        cuts = sorted({since, now, *(at for job in on_it for at in (job.begun, job.ended) if at and since < at < now)})
        made = []
        for begin, stop in pairwise(cuts):
            runs = next((job for job in on_it if job.begun <= begin and (job.ended is None or stop <= job.ended)), None)
            for start, end in cut_at_quarters(begin, stop):
                made.append(self._window(gpu, runs, start, end))
        return made

    def _window(self, gpu: str, runs: Job | None, start: datetime, end: datetime) -> WindowBody:
        drawn = self.chance.randint(50_000, 350_000) * ns_between(start, end) // 10**9
        begin, self.energy[gpu] = self.energy[gpu], self.energy[gpu] + drawn
        idle = self.chance.randint(0, drawn)
        if runs is not None:
            self.drawn[runs.namespace] += drawn
        return WindowBody(
            window_seq=0,
            device_uuid=gpu,
            start=start,
            end=end,
            energy_start_mj=begin,
            energy_end_mj=begin + drawn,
            active_mj=drawn - idle,
            idle_mj=idle,
            allocated_gpu_ns=ns_between(start, end) if runs else 0,
            method=Method.NVML_COUNTER,
            boundary=Boundary.ACCELERATOR,
            coverage=1.0,
            pod_uid=f"{runs.uid}-pod" if runs else None,
            namespace=runs.namespace if runs else None,
            pod=f"{runs.name}-0" if runs else None,
            container="main" if runs else None,
        )

    def ship(self) -> None:
        if self.metered:
            self.meter.ship()

    # -- facts -------------------------------------------------------------------------------

    def _tell(self, by: str, method: str, path: str, body: Any) -> None:
        self.facts.append(Fact(self.time.instant, by, method, path, json.loads(json.dumps(body))))

    def decisions(self) -> list[Fact]:
        """What the service decided for objects that came to be, when it first did."""
        real = {job.uid for job in self.jobs}
        found: dict[str, Fact] = {}
        for done in self.server.done:
            path, body = done.call.path, json.loads(done.call.body or b"null")
            if path == "/v1/admission/validate":
                uid = body["request"]["object"]["metadata"]["uid"]
                if uid in real:
                    found.setdefault(uid, Fact(done.at, "admin", "POST", path, body))
            elif path.endswith("/request") and done.answer["allowed"]:
                found.setdefault(body["extension"], Fact(done.at, "operator", "POST", path, body))
        return list(found.values())

    def close(self) -> None:
        self.server.close()
        self.log.close()


def told_plainly(world: World, house: House) -> Server:
    """The same facts, each once, in order, at once, to a service that refuses nothing."""
    time = Time(world.began)
    server = Server(house, time)
    world.budgets.install(server, open_handed=True)
    for fact in sorted([*world.decisions(), *world.facts], key=lambda fact: fact.at):
        time.pass_until(fact.at)
        must(server, fact)
    server.timer()
    return server


def must(server: Server, fact: Fact) -> None:
    reply = server(fact.call())
    assert reply.status < 300, (fact.method, fact.path, reply.body)


def _files(folder: Path) -> list[str]:
    return [path.name for path in folder.glob("*")] if folder.exists() else []

"""The node's meter without its threads: what is fed to it becomes windows in the log.

Once a second :meth:`NodeMeter.tick` takes readings, holds and use. Everything
goes to the tape first; windows that come of it go to the write-ahead log; when a
quarter-hour is on the disk the tape begins anew. Started again, the meter plays
the tape and skips what the log already has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from joulegate.clock import Instant
from joulegate.core.attribution import IdleFloor
from joulegate.core.curve import Reading
from joulegate.core.errors import UnavailableError
from joulegate.core.metering import Boundary, Method, Methods
from joulegate.core.periods import cut_at_quarters, format_instant, parse_instant
from joulegate.core.units import NS_PER_SECOND
from joulegate.gpu import Device
from joulegate.windows import WindowBody
from joulegate_operators.node.devices import device_from, device_row
from joulegate_operators.node.frames import Reach, passing
from joulegate_operators.node.holds import DeviceHolds, while_away
from joulegate_operators.node.tape import Event, Tape
from joulegate_operators.node.timeline import Timeline
from joulegate_operators.node.wal import WindowLog
from joulegate_operators.node.windows import Chain, Closed

PATIENCE_NS: Final = 3_600 * NS_PER_SECOND
"""How long a device that does not answer is waited for before its energy is a gap."""

AWAY_NS: Final = 10 * NS_PER_SECOND
"""A meter that was away for longer did not see who held what meanwhile; its windows say so."""

METER_AWAY: Final = "meter_away"
NOT_METERED: Final = "not_metered"


@dataclass(frozen=True, slots=True)
class Sample:
    """What one second brought. ``holds`` None: the kubelet was not asked, or did not answer."""

    now: Instant
    readings: Mapping[str, Sequence[Reading]] = field(default_factory=dict)
    holds: Mapping[str, DeviceHolds] | None = None
    use: Mapping[str, tuple[dict[str, int], int] | None] = field(default_factory=dict)
    began: Mapping[str, datetime] = field(default_factory=dict)
    """When the containers of a pod began, by its uid, where that is known."""
    finished: Mapping[str, datetime] = field(default_factory=dict)
    """When a pod that has ended did so, by its uid, where that is known."""


class NodeMeter:
    """The chains of a node's devices between tape and log."""

    def __init__(self, log: WindowLog, tape: Tape, methods: Methods, boot_id: str, *, reach: Reach = passing) -> None:
        """Prepare; :meth:`resume` comes first."""
        self._log = log
        self._tape = tape
        self._methods = methods
        self._boot_id = boot_id
        self._reach = reach
        self.chains: dict[str, Chain] = {}
        self.timeline: Timeline | None = None
        self.disk_errors = 0
        """How often the disk refused; the alarm is that it rises."""
        self.unattributed_mj: dict[str, int] = {}
        """What nobody's windows held, by device, since this process began."""
        self._unwritten: list[tuple[list[WindowBody], dict[str, Any]]] = []
        self._bases: dict[str, list[Any]] = {}
        self._turn_due = False
        self._told: dict[str, Instant] = {}
        """When it was known last who holds a device, in this boot; what changed since, changed between then and now."""
        self._fed_boot_id = boot_id
        """The boot in which what is fed happened; another one only while an old tape is played."""

    # -- the beginning -----------------------------------------------------------------------

    def resume(self, now: Instant) -> None:
        """Go on where the last process stopped: from its tape, or else from the ends that the log knows."""
        found = self._tape.read()
        if found is not None:
            state, events = found
            self._play(state, events)
            same_boot = state["boot_id"] == self._boot_id
        else:
            same_boot = False
        if self.timeline is not None and same_boot:
            self._told = dict.fromkeys(self.chains, self.timeline.last)
            if now.boottime_ns - self.timeline.last.boottime_ns > AWAY_NS:
                for chain in self.chains.values():
                    chain.mark(METER_AWAY)
        else:
            self._bridge(now)
        self._fed_boot_id = self._boot_id
        self._log.fill_tail([_head_of(chain) for chain in self.chains.values() if chain.stretches])
        self._write()
        self._turn()

    def _play(self, state: dict[str, Any], events: Iterable[Event]) -> None:
        self._fed_boot_id = state["boot_id"]
        self.timeline = Timeline(_instant(state["at"]))
        self._bases = dict(state["bases"])
        for row in state["chains"]:
            device = device_from(row["device"])
            self.chains[device.uuid] = Chain.from_json(device, self._methods, row["chain"])
        for event in events:
            before, self.timeline.last = self.timeline.last, _instant(event["at"])
            said = {cut[1] for cut in event["cuts"] if cut[2] is None}
            cuts = [_cut_of(quarter) for quarter in self.timeline.quarters(before)]
            event["cuts"] += [cut for cut in cuts if cut[1] not in said]  # of events that the disk did not take
            event["cuts"].sort(key=lambda cut: cut[0])
            self._feed(event)
        for uuid, chain in self.chains.items():
            known = self._log.through.get(uuid)
            if known and known[0] == state["boot_id"] and chain.stretches and chain.stretches[0].start_ns < known[1]:
                chain.anchor(known[1], parse_instant(known[3], "end"), int(known[2]))
        self._collect(state["boot_id"])

    def _bridge(self, now: Instant) -> None:
        """After a reboot, or without a tape: chains begin anew where they ended, each with the next reading."""
        last = self.timeline.last if self.timeline else None
        ends: dict[str, tuple[datetime, int]] = {
            uuid: (parse_instant(row[3], "end"), int(row[2])) for uuid, row in self._log.through.items()
        }
        if last is not None:
            for chain in self.chains.values():
                if chain.stretches:
                    chain.cut(last.boottime_ns, last.utc)
            self._collect(self._fed_boot_id, last.boottime_ns + 1)
        for uuid, chain in self.chains.items():
            known = ends.get(uuid)
            if last is not None and chain.stretches and (known is None or known[0] < last.utc):
                ends[uuid] = (last.utc, chain.energy_mj())
        old, self.chains = self.chains, {}
        for uuid, (end, mj) in ends.items():
            floor_mw = old[uuid].floor.power_mw if uuid in old else None
            self._bases[uuid] = [mj, floor_mw, format_instant(end)]
        latest = max([now.utc, *([last.utc] if last else []), *(end for end, _ in ends.values())])
        self.timeline = Timeline(replace(now, utc=latest))

    # -- every second ------------------------------------------------------------------------

    def tick(self, sample: Sample, devices: Sequence[Device]) -> None:
        """Take one second; never raises for the disk's sake."""
        if self.timeline is None:
            message = "resume() comes first"
            raise RuntimeError(message)
        before = self.timeline.last
        date = self.timeline.observe(sample.now)
        event = self._event(sample, devices, before, date)
        self._reach("meter.sampled")
        self._note(event)
        self._reach("meter.noted")
        self._feed(event)
        self._collect(self._boot_id, give_up_before_ns=sample.now.boottime_ns - PATIENCE_NS)
        self._turn_due = self._turn_due or any(cut[2] is None for cut in event["cuts"])
        self._reach("meter.collected")
        self._write()
        self._reach("meter.written")
        if self._turn_due and self._quarter_is_over():
            self._turn()

    def _event(self, sample: Sample, devices: Sequence[Device], before: Instant, date: datetime) -> Event:
        quarters = [] if self.timeline is None else list(self.timeline.quarters(before))
        event: Event = {
            "at": [sample.now.boottime_ns, format_instant(date)],
            "cuts": [_cut_of(quarter) for quarter in quarters],
            "read": {
                uuid: [[r.at_ns, r.counter_mj, r.instant_mw, r.average_mw] for r in readings]
                for uuid, readings in sample.readings.items()
            },
            "use": {uuid: None if use is None else [use[0], use[1]] for uuid, use in sample.use.items()},
            "new": [
                device_row(device)
                for device in devices
                if device.uuid not in self.chains and sample.readings.get(device.uuid)
            ],
        }
        event["cuts"] += self._changes(sample, date)
        event["cuts"].sort(key=lambda cut: cut[0])
        return event

    def _changes(self, sample: Sample, date: datetime) -> list[list[Any]]:
        """Cuts where the holds of a device changed: when its pods began and ended, not when somebody told of it."""
        changed: dict[int, dict[str, Any]] = {}
        dates: dict[int, datetime] = {}
        after = Instant(sample.now.boottime_ns, date)
        for uuid, holds in (sample.holds or {}).items():
            chain = self.chains.get(uuid)
            known = chain.stretches[-1] if chain is not None and chain.stretches else None
            since = self._told.get(uuid)
            self._told[uuid] = after
            if known is None or known.holds == holds:
                if known is None:
                    changed.setdefault(after.boottime_ns, {})[uuid] = holds.to_json()
                    dates[after.boottime_ns] = after.utc
                continue
            began = Instant(known.start_ns, known.start)
            if since is None or since.boottime_ns < began.boottime_ns:
                since = began
            for at, held in while_away(known.holds, holds, sample.began, sample.finished, date):
                placed = _placed(at, since, after)
                changed.setdefault(placed.boottime_ns, {})[uuid] = held.to_json()
                dates[placed.boottime_ns] = placed.utc
        return [[at_ns, format_instant(dates[at_ns]), by_uuid] for at_ns, by_uuid in changed.items()]

    def _feed(self, event: Event) -> None:
        """Give an event to the chains; the same when it happens and when the tape is played."""
        for row in event["new"]:
            device = device_from(row)
            base_mj, floor_mw, _ = self._bases.get(device.uuid, _NO_BASE)
            self.chains[device.uuid] = Chain(device, self._methods, base_mj, IdleFloor(floor_mw))
        for uuid, rows in event["read"].items():
            if uuid in self.chains:
                for row in rows:
                    self.chains[uuid].read(Reading(*row))
        self._begin_chains(_instant(event["at"]))
        for uuid, use in event["use"].items():
            if uuid in self.chains:
                self.chains[uuid].used(*(use or (None,)))
        for cut_ns, text, by_uuid in event["cuts"]:
            for uuid, chain in self.chains.items():
                if by_uuid is None:
                    chain.cut(cut_ns, parse_instant(text, "cut"))
                elif uuid in by_uuid:
                    chain.cut(cut_ns, parse_instant(text, "cut"), DeviceHolds.from_json(by_uuid[uuid]))

    def _begin_chains(self, now: Instant) -> None:
        """Let chains begin where their device's energy is known from."""
        for uuid, chain in self.chains.items():
            if not chain.stretches and chain.known_from_ns is not None:
                ago = timedelta(microseconds=(now.boottime_ns - chain.known_from_ns) // 1_000)
                not_before = parse_instant(self._bases.get(uuid, _NO_BASE)[2], "base")
                begin = max(now.utc - ago, not_before)
                chain.cut(chain.known_from_ns, begin, DeviceHolds())
                if uuid in self._bases:
                    self._tell_gap(uuid, chain.known_from_ns, not_before, begin)

    def _tell_gap(self, uuid: str, begin_ns: int, end: datetime, begin: datetime) -> None:
        """Say once that a device was not metered from the end of its last window until its chain began anew."""
        known = self._log.through.get(uuid)
        gaps = list(_gap(uuid, end, begin, self._bases[uuid][0]))
        if gaps and not (known and parse_instant(known[3], "end") >= begin):
            through = [self._fed_boot_id, begin_ns, self._bases[uuid][0], format_instant(begin)]
            self._unwritten.append((gaps, {uuid: through}))

    # -- to the disk -------------------------------------------------------------------------

    def _collect(self, boot_id: str, give_up_before_ns: int = 0) -> None:
        """Take the closed stretches of every chain that the log does not have yet."""
        windows: list[WindowBody] = []
        through: dict[str, Any] = {}
        for uuid, chain in self.chains.items():
            for closed in chain.closed(give_up_before_ns):
                known = self._log.through.get(uuid)
                if known and self._has(known, boot_id, closed):
                    continue
                windows += closed.windows
                nobodys = [window for window in closed.windows if window.pod_uid is None]
                drawn_mj = sum((window.active_mj or 0) + (window.idle_mj or 0) for window in nobodys)
                self.unattributed_mj[uuid] = self.unattributed_mj.get(uuid, 0) + drawn_mj
                if closed.windows:
                    end = max(window.end for window in closed.windows)
                    through[uuid] = [boot_id, closed.end_ns, closed.energy_mj, format_instant(end)]
        if windows:
            self._unwritten.append((windows, through))

    @staticmethod
    def _has(known: Sequence[Any], boot_id: str, closed: Closed) -> bool:
        """Whether the log has a stretch, by what it came to with its last record; by dates for another boot's."""
        if known[0] == boot_id:
            return closed.end_ns <= int(known[1])
        ends = [window.end for window in closed.windows]
        return bool(ends) and max(ends) <= parse_instant(known[3], "end")

    def _write(self) -> None:
        while self._unwritten:
            windows, through = self._unwritten[0]
            try:
                if windows:
                    self._log.append(windows, through)
            except OSError:
                self.disk_errors += 1
                return
            self._unwritten.pop(0)

    def _quarter_is_over(self) -> bool:
        """Whether every chain has closed what ended before the last quarter-hour, on the disk."""
        return not self._unwritten and all(len(chain.stretches) <= 1 for chain in self.chains.values())

    def _note(self, event: Event) -> None:
        try:
            self._tape.note(event)
        except OSError:
            self.disk_errors += 1
            self._turn_due = True  # a whole new tape, as soon as there is room

    def _turn(self) -> None:
        if self._unwritten or self.timeline is None:
            return
        last = self.timeline.last
        state = {
            "boot_id": self._boot_id,
            "bases": self._bases,
            "at": [last.boottime_ns, format_instant(last.utc)],
            "chains": [
                {"device": device_row(chain.device), "chain": chain.to_json()} for chain in self.chains.values()
            ],
        }
        try:
            self._tape.begin(state)
        except (OSError, UnavailableError):
            self.disk_errors += 1
            self._turn_due = True
        else:
            self._turn_due = False

    def finish(self, now: Instant) -> None:
        """Close what goes on, so that it can be sent before the process ends."""
        if self.timeline is None:
            return
        self.timeline.observe(now)
        for chain in self.chains.values():
            until_ns = chain.known_until_ns
            if until_ns is not None and chain.stretches and until_ns > chain.stretches[-1].start_ns:
                stretch = chain.stretches[-1]
                late = timedelta(microseconds=(now.boottime_ns - until_ns) // 1_000)
                chain.cut(until_ns, max(self.timeline.last.utc - late, stretch.start))
        self._collect(self._boot_id)
        self._write()
        self._turn()

    @property
    def unwritten(self) -> int:
        """Windows that the disk has not taken yet."""
        return sum(len(windows) for windows, _ in self._unwritten)


_NO_BASE: Final = (0, None, "1970-01-01T00:00:00Z")
"""Energy, idle floor and end of a device that was never seen before."""


def _placed(at: datetime, before: Instant, after: Instant) -> Instant:
    """A date between two observations on both clocks; one outside of them is that of the nearer."""
    if at >= after.utc or after.utc <= before.utc:
        return after
    into = max(at - before.utc, timedelta(0)) / (after.utc - before.utc)
    span_ns = after.boottime_ns - before.boottime_ns
    return Instant(before.boottime_ns + int(span_ns * into), max(at, before.utc))


def _cut_of(quarter: Instant) -> list[Any]:
    return [quarter.boottime_ns, format_instant(quarter.utc), None]


def _instant(row: Sequence[Any]) -> Instant:
    return Instant(row[0], parse_instant(row[1], "at"))


def _head_of(chain: Chain) -> dict[str, Any]:
    """Where the next window of a chain will begin, for the log to mend what lies before it."""
    state = chain.to_json()
    return {
        "device_uuid": chain.device.uuid,
        "start": state["stretches"][0]["start"],
        "energy_start_mj": str(state["anchor_mj"]),
        "method": Method.NVML_COUNTER.value,
        "coverage": 1.0,
    }


def _gap(uuid: str, start: datetime, end: datetime, energy_mj: int) -> Iterable[WindowBody]:
    """Nobody's windows over time in which no meter ran, one a quarter-hour."""
    for begin, until in cut_at_quarters(start, end):
        yield WindowBody(
            window_seq=0,
            device_uuid=uuid,
            start=begin,
            end=until,
            energy_start_mj=energy_mj,
            energy_end_mj=energy_mj,
            active_mj=None,
            idle_mj=None,
            allocated_gpu_ns=0,
            method=Method.NOT_MEASURED,
            boundary=Boundary.ACCELERATOR,
            coverage=0.0,
            flags=(NOT_METERED,),
        )

"""Windows of one device, end to end: from readings, holds and use to what each subject drew.

A :class:`Chain` is a queue of stretches that meet. A stretch ends at a quarter-hour
of UTC or where the holds change; it is closed once the device's curve has passed
its end, so that the energy there is that of a reading after it. Closing cuts it
again where the way of measuring changes. A chain reads no clock: fed the same
events it makes the same windows, which is how a meter that was killed goes on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Final

from joulegate.core.attribution import IdleFloor, Share, attribute, share_of
from joulegate.core.curve import EnergyCurve, Instrument, Reading
from joulegate.core.metering import Boundary, Measurement, Method, Methods, Uncertainty, measure
from joulegate.core.periods import format_instant, parse_instant
from joulegate.core.units import NS_PER_SECOND
from joulegate.gpu import Device
from joulegate.windows import WindowBody
from joulegate.wire import UncertaintyBody
from joulegate_operators.node.holds import DeviceHolds, Subject, Use

SHORTEST_NS: Final = 1_000_000
"""Cuts closer than this are one cut: instants of UTC have microseconds."""

MOST_SEGMENTS: Final = 16
"""A stretch that was measured in more ways than this, turn by turn, is one window of mixed method."""

_KNOTS: Final = 1 << 13
"""At one reading a second more than two hours: far more than the longest stretch in ordinary times."""

_CONTEXT_NS: Final = 10 * NS_PER_SECOND
"""Readings this long before a stretch are kept with it: they place its first instant and judge its uncertainty."""


@dataclass(slots=True)
class Stretch:
    """Time in which nobody's hold changes; ``end_ns`` None while it goes on."""

    start_ns: int
    start: datetime
    holds: DeviceHolds
    use: Use = field(default_factory=Use.none)
    flags: tuple[str, ...] = ()
    end_ns: int | None = None
    end: datetime | None = None

    def utc_at(self, at_ns: int) -> datetime:
        """The date of an instant inside; where the wall clock was corrected meanwhile the stretch is even."""
        if self.end_ns is None or self.end is None:
            message = "the stretch has no end yet"
            raise ValueError(message)
        if at_ns >= self.end_ns:
            return self.end
        span_us = (self.end - self.start) // timedelta(microseconds=1)
        return self.start + timedelta(
            microseconds=span_us * (at_ns - self.start_ns) // max(self.end_ns - self.start_ns, 1)
        )


@dataclass(frozen=True, slots=True)
class Closed:
    """A stretch that is over: its end, the device's energy there, and its windows."""

    end_ns: int
    energy_mj: int
    windows: tuple[WindowBody, ...]


class Chain:
    """The windows of one device. Energies are cumulative from the first reading that the log ever had."""

    def __init__(self, device: Device, methods: Methods, base_mj: int = 0, floor: IdleFloor | None = None) -> None:
        """Begin with a curve that stands at ``base_mj``."""
        self.device = device
        self.floor = floor or IdleFloor()
        self.stretches: deque[Stretch] = deque()
        self.recent: deque[Reading] = deque()
        self._methods = methods
        self._base_mj = base_mj
        self._curve = _curve_of(device)
        self._anchor: tuple[int, int] | None = None
        """An instant and the energy there, as long as no reading has reached it."""

    # -- events ------------------------------------------------------------------------------

    def read(self, reading: Reading) -> None:
        """Take a reading; one that is not after the last is passed over."""
        if self.recent and reading.at_ns <= self.recent[-1].at_ns:
            return
        self._curve.add(reading)
        self.recent.append(reading)
        self._settle()

    def used(self, seen: dict[str, int] | None, others: int = 0) -> None:
        """Take a sample of use for the stretch that goes on."""
        if self.stretches:
            self.stretches[-1].use.add(seen, others)

    def cut(self, at_ns: int, at: datetime, holds: DeviceHolds | None = None, flags: tuple[str, ...] = ()) -> None:
        """End the stretch that goes on and begin the next, with other holds where given.

        The first cut begins the chain. A cut that is not after the last changes
        the holds from there on and makes no stretch.
        """
        last = self.stretches[-1] if self.stretches else None
        kept = holds if holds is not None else last.holds if last else DeviceHolds()
        if last is None:
            self.stretches.append(Stretch(at_ns, at, kept, flags=flags))
        elif at_ns - last.start_ns < SHORTEST_NS or at <= last.start:
            last.holds, last.flags = kept, tuple(sorted({*last.flags, *flags}))
        else:
            last.end_ns, last.end = at_ns, at
            self.stretches.append(Stretch(at_ns, at, kept, flags=flags))

    def mark(self, flag: str) -> None:
        """Add a flag to the stretch that goes on."""
        if self.stretches:
            self.stretches[-1].flags = tuple(sorted({*self.stretches[-1].flags, flag}))

    def anchor(self, at_ns: int, at: datetime, energy_mj: int) -> None:
        """Go on from an instant that the log has come to, with its energy there; what lies before is written."""
        while len(self.stretches) > 1 and (self.stretches[0].end_ns or 0) <= at_ns:
            self.stretches.popleft()
        self.stretches[0].start_ns, self.stretches[0].start = at_ns, at
        self._anchor = (at_ns, energy_mj)
        self._settle()

    def _settle(self) -> None:
        """Shift the curve to go through the anchor, once readings have reached it."""
        if self._anchor is not None and (self._curve.known_until_ns or -1) >= self._anchor[0]:
            at_ns, energy_mj = self._anchor
            self._anchor = None
            self._base_mj = energy_mj - self._curve.energy_at(at_ns)

    # -- windows -----------------------------------------------------------------------------

    @property
    def known_from_ns(self) -> int | None:
        """The instant from which on energy is known."""
        return self._curve.known_from_ns

    @property
    def known_until_ns(self) -> int | None:
        """The instant up to which energy is known."""
        return self._curve.known_until_ns

    def energy_mj(self) -> int:
        """The device's energy so far."""
        return self._total_at(self._curve.known_until_ns or 0)

    def closed(self, give_up_before_ns: int = 0) -> Iterator[Closed]:
        """Every stretch that has ended and whose end is known, with its windows; the log numbers them.

        Stretches that ended before ``give_up_before_ns`` are closed in any case;
        what was not read by then is a gap.
        """
        while len(self.stretches) > 1:
            stretch = self.stretches[0]
            end_ns = stretch.end_ns or 0
            late = (self.known_until_ns or 0) < end_ns
            if late and end_ns >= give_up_before_ns:
                return
            yield Closed(end_ns, self._total_at(end_ns), tuple(self._windows(stretch)))
            self.stretches.popleft()
            if late:
                self._begin_anew()
            self._forget(end_ns)

    def _total_at(self, at_ns: int) -> int:
        if self._anchor is not None:
            return self._anchor[1]
        return self._base_mj + (0 if self._curve.known_until_ns is None else self._curve.energy_at(at_ns))

    def _windows(self, stretch: Stretch) -> Iterator[WindowBody]:
        if self._curve.known_until_ns is None or self._anchor is not None:
            yield from self._unread(stretch)
            return
        cuts = self._cuts(stretch)
        for begin_ns, until_ns in pairwise(cuts):
            yield from self._segment(stretch, begin_ns, until_ns)

    def _cuts(self, stretch: Stretch) -> list[int]:
        """The instants between which the stretch was measured in one way."""
        end_ns = stretch.end_ns or 0
        inner = [begin for begin, _, _ in self._curve.pieces_between(stretch.start_ns, end_ns)][1:]
        if len(inner) >= MOST_SEGMENTS:
            inner = []
        cuts = [stretch.start_ns]
        cuts += [at for at in inner if at - cuts[-1] >= SHORTEST_NS and end_ns - at >= SHORTEST_NS]
        distinct = [cuts[0]]
        distinct += [at for at in cuts[1:] if at - distinct[-1] >= SHORTEST_NS]
        return [*distinct, end_ns]

    def _segment(self, stretch: Stretch, begin_ns: int, until_ns: int) -> Iterator[WindowBody]:
        """One window a holder, and one for what is nobody's; together they are E(until) - E(begin)."""
        first_mj, last_mj = self._curve.energy_at(begin_ns), self._curve.energy_at(until_ns)
        found = measure(self._curve, begin_ns, until_ns, self._methods)
        energy_mj, duration_ns = last_mj - first_mj, until_ns - begin_ns
        self._learn(stretch, found, energy_mj, duration_ns)
        split = attribute(energy_mj, duration_ns, self.floor.over(duration_ns), stretch.holds.allocation(stretch.use))
        frame = WindowBody(
            window_seq=0,
            device_uuid=self.device.uuid,
            start=stretch.utc_at(begin_ns),
            end=stretch.utc_at(until_ns),
            energy_start_mj=self._base_mj + first_mj,
            energy_end_mj=self._base_mj + last_mj,
            active_mj=None,
            idle_mj=None,
            allocated_gpu_ns=0,
            method=found.method,
            boundary=Boundary.ACCELERATOR,
            coverage=found.coverage,
            flags=tuple(sorted({*found.flags, *split.flags, *stretch.flags, *stretch.holds.flags, *self.device.flags})),
        )
        for key, subject in sorted(stretch.holds.subjects.items()):
            yield _window_of(frame, split.shares[key], found, subject)
        if split.nobody.reserved_mj or not stretch.holds.holds:
            yield _window_of(frame, replace(split.nobody, allocated_ns=0), found, None)

    def _unread(self, stretch: Stretch) -> Iterator[WindowBody]:
        """Gaps, one a holder, of a stretch in which the device was given up already and did not answer once."""
        duration_ns = (stretch.end_ns or 0) - stretch.start_ns
        split = attribute(0, duration_ns, 0, stretch.holds.allocation(stretch.use))
        frame = WindowBody(
            window_seq=0,
            device_uuid=self.device.uuid,
            start=stretch.start,
            end=stretch.utc_at(stretch.end_ns or 0),
            energy_start_mj=self.energy_mj(),
            energy_end_mj=self.energy_mj(),
            active_mj=None,
            idle_mj=None,
            allocated_gpu_ns=0,
            method=Method.NOT_MEASURED,
            boundary=Boundary.ACCELERATOR,
            coverage=0.0,
            flags=tuple(sorted({*stretch.flags, *stretch.holds.flags, *self.device.flags})),
        )
        for key, subject in sorted(stretch.holds.subjects.items()):
            yield _window_of(frame, split.shares[key], None, subject)
        if not stretch.holds.holds:
            yield _window_of(frame, replace(split.nobody, allocated_ns=0), None, None)

    def _learn(self, stretch: Stretch, found: Measurement, energy_mj: int, duration_ns: int) -> None:
        """Learn the floor where nobody used the device: by use, or where that cannot be had, as nobody held it."""
        unused = stretch.use.idle if stretch.use.known else not stretch.holds.holds
        if unused and found.coverage == 1.0:
            self.floor.observe(energy_mj, duration_ns)

    def _begin_anew(self) -> None:
        """Give up the curve: what the device drew since its last reading is a gap, however it is found again."""
        self._base_mj = self.energy_mj()
        self._anchor = None
        self._curve = _curve_of(self.device)
        self.recent.clear()

    def _forget(self, before_ns: int) -> None:
        """Readings that no later stretch needs."""
        while len(self.recent) > 1 and self.recent[1].at_ns <= before_ns - _CONTEXT_NS:
            self.recent.popleft()

    # -- going on after a kill ---------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """What the chain needs to go on from its first open stretch, as plain JSON."""
        start_ns = self.stretches[0].start_ns if self.stretches else 0
        return {
            "anchor_mj": self._total_at(start_ns),
            "anchor_ns": start_ns,
            "floor_mw": self.floor.power_mw,
            "readings": [[r.at_ns, r.counter_mj, r.instant_mw, r.average_mw] for r in self.recent],
            "stretches": [_stretch_to_json(stretch) for stretch in self.stretches],
        }

    @classmethod
    def from_json(cls, device: Device, methods: Methods, value: dict[str, Any]) -> Chain:
        """Read back what :meth:`to_json` wrote."""
        chain = cls(device, methods, 0, IdleFloor(value["floor_mw"]))
        for row in value["readings"]:
            chain.read(Reading(*row))
        chain.stretches.extend(_stretch_from_json(row) for row in value["stretches"])
        chain._anchor = (value["anchor_ns"], value["anchor_mj"])
        chain._settle()
        return chain


def _curve_of(device: Device) -> EnergyCurve:
    return EnergyCurve(Instrument(device.sensor, device.enforced_limit_mw, device.calibration), _KNOTS)


def _window_of(frame: WindowBody, share: Share, found: Measurement | None, subject: Subject | None) -> WindowBody:
    measured = found is not None and found.energy_mj is not None
    whole_mj = frame.energy_end_mj - frame.energy_start_mj
    uncertainty = None
    if found is not None and found.uncertainty is not None:
        uncertainty = _body_of(share_of(found.uncertainty, share.reserved_mj, whole_mj))
    window = replace(
        frame,
        active_mj=share.active_mj if measured else None,
        idle_mj=share.idle_mj if measured else None,
        allocated_gpu_ns=share.allocated_ns,
        uncertainty=uncertainty,
        method=frame.method if measured else Method.NOT_MEASURED,
    )
    if subject is None:
        return window
    return replace(
        window,
        pod_uid=subject.pod_uid,
        namespace=subject.namespace,
        pod=subject.pod,
        container=subject.container,
    )


def _body_of(value: Uncertainty) -> UncertaintyBody:
    return UncertaintyBody(
        value.lower_mj,
        value.upper_mj,
        value.confidence,
        value.gain_mj,
        value.duty_mj,
        value.edge_mj,
        value.gap_mj,
    )


def _stretch_to_json(stretch: Stretch) -> dict[str, Any]:
    return {
        "start_ns": stretch.start_ns,
        "start": format_instant(stretch.start),
        "end_ns": stretch.end_ns,
        "end": None if stretch.end is None else format_instant(stretch.end),
        "holds": stretch.holds.to_json(),
        "use": stretch.use.to_json(),
        "flags": list(stretch.flags),
    }


def _stretch_from_json(value: dict[str, Any]) -> Stretch:
    return Stretch(
        value["start_ns"],
        parse_instant(value["start"], "start"),
        DeviceHolds.from_json(value["holds"]),
        Use.from_json(value["use"]),
        tuple(value["flags"]),
        value["end_ns"],
        None if value["end"] is None else parse_instant(value["end"], "end"),
    )

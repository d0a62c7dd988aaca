"""What the log tells of a period beside its records: whole devices, and what was set right or allowed as an exception.

Each value here is a function of entries and of the windows that they name, so it
comes out the same from the tables and from a bundle.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from joulegate.core.embodied import EmbodiedFigure
from joulegate.core.encoding import decode
from joulegate.core.errors import InvalidInputError
from joulegate.core.footprint import GridIntensity
from joulegate.core.instruments import Instrument
from joulegate.core.log import EntryType, canonical
from joulegate.core.metering import Method
from joulegate.core.periods import Period, ns_between, parse_instant
from joulegate.core.tallies import TIER_OF, Share, Tier

_ABOUT: Final[Mapping[str, str]] = {
    EntryType.CORRECTION: "record_id",
    EntryType.REPRICING: "record_id",
    EntryType.WINDOWS_REPRICED: "root_uid",
    EntryType.ESTIMATE: "root_uid",
    EntryType.ESTIMATE_REVERSED: "root_uid",
    EntryType.WINDOWS_QUARANTINED: "incarnation",
    EntryType.EXCEPTION_REQUESTED: "namespace",
    EntryType.EXCEPTION_APPROVED: "exception_id",
    EntryType.EXCEPTION_EXPIRED: "exception_id",
    EntryType.PERIOD_CLOSED: "budget",
}
EVENTS: Final = tuple(EntryType(kind) for kind in _ABOUT)
"""Entries that a report lists one by one."""


@dataclass(frozen=True, slots=True)
class Event:
    """One entry: a correction, an estimate, an exception, a period closed; ``about`` is what its kind concerns."""

    kind: str
    about: str
    reason: str
    at: datetime


def event_of(kind: str, at: datetime, body: Mapping[str, Any]) -> Event:
    """An entry of one of :data:`EVENTS`; free text is a commitment there, and stays one."""
    return Event(kind, str(body.get(_ABOUT[kind]) or ""), str(body.get("reason") or ""), at)


@dataclass(frozen=True, slots=True)
class Reading:
    """A window of a node meter, as far as the balance of its device needs it; counters in mJ."""

    device_uuid: str
    start: datetime
    end: datetime
    counter_start_mj: int
    counter_end_mj: int
    active_mj: int
    idle_mj: int
    held: bool
    tier: Tier
    accepted_at: datetime
    pod: tuple[str, str] | None = None
    """Namespace and uid of the pod that held the device."""


def reading_of(body: Mapping[str, Any], accepted_at: datetime) -> Reading:
    """A window as it is kept and hashed."""
    method = Method(body["method"])
    return Reading(
        device_uuid=body["device_uuid"],
        start=parse_instant(body["start"], "start"),
        end=parse_instant(body["end"], "end"),
        counter_start_mj=int(body["energy_start_mj"]),
        counter_end_mj=int(body["energy_end_mj"]),
        active_mj=int(body["active_mj"]),
        idle_mj=int(body["idle_mj"]),
        held=body["pod_uid"] is not None,
        tier=TIER_OF.get(method, Tier.MEASURED),
        accepted_at=accepted_at,
        pod=None if body["pod_uid"] is None else (body.get("namespace") or "", body["pod_uid"]),
    )


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_TIERS: Final = list(Tier)
_FIELDS: Final = 9


class Readings:
    """Windows of node meters by device, as columns of 64 bits each: a year of a fleet has millions.

    They are readings again when they are asked for, one device at a time.
    """

    def __init__(self, readings: Iterable[Reading] = ()) -> None:
        """Begin with some."""
        self.newest: datetime | None = None
        self._rows: dict[str, array[int]] = {}
        self._pods: dict[tuple[str, str] | None, int] = {None: 0}
        for reading in readings:
            self.add(reading)

    def add(self, reading: Reading) -> None:
        """Keep one; raises OverflowError where a counter does not fit into 64 bits."""
        self.newest = reading.accepted_at if self.newest is None else max(self.newest, reading.accepted_at)
        pod = self._pods.setdefault(reading.pod, len(self._pods))
        known = 2 * _TIERS.index(reading.tier) + reading.held
        instants = ((each - _EPOCH) // _MICROSECOND for each in (reading.start, reading.end, reading.accepted_at))
        counters = (reading.counter_start_mj, reading.counter_end_mj, reading.active_mj, reading.idle_mj)
        self._rows.setdefault(reading.device_uuid, array("q")).extend(array("q", (*instants, *counters, known, pod)))

    @property
    def devices(self) -> tuple[str, ...]:
        """Those that were read."""
        return tuple(sorted(self._rows))

    def of(self, device: str) -> Iterator[Reading]:
        """The readings of a device, in the order in which they came."""
        pods, rows = list(self._pods), self._rows.get(device, array("q"))
        for at in range(0, len(rows), _FIELDS):
            start, end, accepted, counter_start, counter_end, active, idle, known, pod = rows[at : at + _FIELDS]
            yield Reading(
                device_uuid=device,
                start=_EPOCH + timedelta(microseconds=start),
                end=_EPOCH + timedelta(microseconds=end),
                counter_start_mj=counter_start,
                counter_end_mj=counter_end,
                active_mj=active,
                idle_mj=idle,
                held=bool(known % 2),
                tier=_TIERS[known // 2],
                accepted_at=_EPOCH + timedelta(microseconds=accepted),
                pod=pods[pod],
            )

    def held_by(self, pods: Collection[tuple[str, str]]) -> Iterator[Reading]:
        """The readings of these pods, by namespace and uid."""
        if any(pod in self._pods for pod in pods):
            yield from (each for device in self.devices for each in self.of(device) if each.pod in pods)


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A device that is expected to be measured, from ``begin`` to ``end`` (None: still)."""

    uuid: str
    model: str
    begin: datetime
    end: datetime | None


def enrolments_of(bodies: Iterable[Mapping[str, Any]]) -> tuple[Enrolment, ...]:
    """From the entries of devices, the oldest first."""
    found: dict[str, list[Enrolment]] = {}
    for body in bodies:
        if "enrolled" in body:
            told = body["enrolled"]
            new = Enrolment(told["uuid"], told["model"], parse_instant(told["enrolled_at"], "enrolled_at"), None)
            own = found.setdefault(new.uuid, [])
            if own and own[-1].end is None:
                own[-1] = Enrolment(new.uuid, own[-1].model, own[-1].begin, max(own[-1].begin, new.begin))
            own.append(new)
        elif own := found.get(body["retired"], []):
            end = parse_instant(body["retired_at"], "retired_at")
            own[-1] = Enrolment(own[-1].uuid, own[-1].model, own[-1].begin, end)
    return tuple(each for uuid in sorted(found) for each in found[uuid])


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known beside records and decisions.

    ``devices`` are the entries of enrolled and retired devices with their instants, the oldest first;
    ``intensities`` are of the pack that is set beside, if one is; ``instruments`` are certificates and contracts with
    the instant of their entry, ``figures`` what publishers say of making accelerators.
    """

    events: tuple[Event, ...] = ()
    readings: Readings = field(default_factory=Readings)
    devices: tuple[tuple[datetime, Mapping[str, Any]], ...] = ()
    intensities: tuple[GridIntensity, ...] = ()
    instruments: tuple[tuple[datetime, Instrument], ...] = ()
    figures: tuple[EmbodiedFigure, ...] = ()


def instruments_of(at: datetime, body: Mapping[str, Any]) -> tuple[tuple[datetime, Instrument], ...]:
    """The certificates and contracts of an entry, each with the entry's instant; raises :class:`InvalidInputError`."""
    found = []
    for told in body["rows"]:
        written = {key: value for key, value in told.items() if key != "rate_id"}
        if sha256(canonical(["instrument", written])).hexdigest() != told["rate_id"]:
            raise InvalidInputError(f"the row {told['rate_id']} is not the one that its id names")
        found.append((at, decode(Instrument, written)))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class DeviceBalance:
    """The energy balance of one GPU: its counter's difference, and where it went, to the millijoule.

    ``counter_mj`` = ``active_mj`` + ``idle_mj`` (shares of pods) + ``unheld_mj`` (no pod held the device) +
    ``unattributed_mj``. Times are of the device; ``expected_ns`` is None where it was never enrolled.
    """

    uuid: str
    model: str | None
    windows: int
    counter_mj: int
    active_mj: int
    idle_mj: int
    unheld_mj: int
    unattributed_mj: int
    expected_ns: int | None
    measured_ns: int
    replayed_ns: int
    estimated_ns: int
    missing_ns: int | None


@dataclass(frozen=True, slots=True)
class Hours:
    """GPU time: how much was expected, and how it is known. ``basis`` says who expected it; bases are never added."""

    basis: str
    expected_ns: int
    measured_ns: int
    replayed_ns: int
    estimated_ns: int
    missing_ns: int


def balances_of(
    readings: Readings, enrolments: Sequence[Enrolment], period: Period, until: datetime
) -> tuple[DeviceBalance, ...]:
    """One row a GPU that was read or expected in the period, up to ``until``."""
    due: dict[str, int] = {}
    models: dict[str, str] = {}
    for each in enrolments:
        begin, end = max(each.begin, period.start), min(each.end or until, until, period.end)
        if begin < end:
            due[each.uuid] = due.get(each.uuid, 0) + ns_between(begin, end)
            models[each.uuid] = each.model
    found: list[DeviceBalance] = []
    for uuid in sorted({*readings.devices, *due}):
        own = [each for each in readings.of(uuid) if each.start < period.end and each.end > period.start]
        if own or uuid in due:
            found.append(_balance(uuid, models.get(uuid), own, due.get(uuid)))
    return tuple(found)


def _balance(uuid: str, model: str | None, own: Sequence[Reading], expected_ns: int | None) -> DeviceBalance:
    counter_mj = 0
    covered = dict.fromkeys(Tier, 0)
    for stretch in _stretches(own):
        counter_mj += max(part.counter_end_mj for part in stretch) - min(part.counter_start_mj for part in stretch)
        weakest = max((part.tier for part in stretch), key=list(Tier).index)
        covered[weakest] += ns_between(stretch[0].start, max(part.end for part in stretch))
    active_mj = sum(part.active_mj for part in own if part.held)
    idle_mj = sum(part.idle_mj for part in own if part.held)
    unheld_mj = sum(part.active_mj + part.idle_mj for part in own if not part.held)
    known_ns = sum(covered[tier] for tier in (Tier.MEASURED, Tier.REPLAYED, Tier.ESTIMATED))
    return DeviceBalance(
        uuid=uuid,
        model=model,
        windows=len(own),
        counter_mj=counter_mj,
        active_mj=active_mj,
        idle_mj=idle_mj,
        unheld_mj=unheld_mj,
        unattributed_mj=counter_mj - active_mj - idle_mj - unheld_mj,
        expected_ns=expected_ns,
        measured_ns=covered[Tier.MEASURED],
        replayed_ns=covered[Tier.REPLAYED],
        estimated_ns=covered[Tier.ESTIMATED],
        missing_ns=None if expected_ns is None else max(0, expected_ns - known_ns),
    )


def _stretches(own: Sequence[Reading]) -> Iterator[list[Reading]]:
    """Windows of one device that overlap in time: the counter went on through them once."""
    stretch: list[Reading] = []
    for reading in sorted(own, key=lambda part: (part.start, part.end, part.counter_start_mj)):
        if stretch and reading.start >= max(part.end for part in stretch):
            yield stretch
            stretch = []
        stretch.append(reading)
    if stretch:
        yield stretch


def hours_of(shares: Iterable[Share], balances: Iterable[DeviceBalance]) -> tuple[Hours, ...]:
    """GPU time of the runs by their records, and of enrolled devices by their meters."""
    of = {share.tier: share.gpu_ns for share in shares}
    parts = [of.get(tier, 0) for tier in (Tier.MEASURED, Tier.REPLAYED, Tier.ESTIMATED, Tier.NOT_MEASURED)]
    rows = [Hours("records of runs", sum(parts), *parts)]
    enrolled = [row for row in balances if row.expected_ns is not None]
    if enrolled:
        rows.append(
            Hours(
                "enrolled devices",
                sum(row.expected_ns or 0 for row in enrolled),
                sum(row.measured_ns for row in enrolled),
                sum(row.replayed_ns for row in enrolled),
                sum(row.estimated_ns for row in enrolled),
                sum(row.missing_ns or 0 for row in enrolled),
            )
        )
    return tuple(rows)

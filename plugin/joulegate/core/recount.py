"""From the entries of the log to a report: every figure once more, by who trusts nothing but the log.

Records, prices that came later and decisions are taken from their entries; rates by the
hash that names them. What comes out is compared with what was reported, to
the last byte. Entries may come in any order within the log.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

from joulegate.core.audit import AuditReport, Decided, Query, audit
from joulegate.core.embodied import EmbodiedFigure
from joulegate.core.encoding import decode
from joulegate.core.errors import InvalidInputError
from joulegate.core.evidence import EVENTS, Event, Evidence, Readings, event_of, instruments_of, reading_of
from joulegate.core.footprint import Footprint, GridIntensity, Price, Rates, Site
from joulegate.core.instruments import Instrument
from joulegate.core.log import EntryType, canonical
from joulegate.core.metering import Boundary
from joulegate.core.periods import Period, parse_instant
from joulegate.core.records import EfficiencyRecord
from joulegate.core.settled import Cell, Cells
from joulegate.core.tallies import Fact

Rate = GridIntensity | Price | Site
_RATES: Final[dict[str, tuple[str, type[Rate]]]] = {
    EntryType.INTENSITY_SET: ("intensity", GridIntensity),
    EntryType.PRICE_SET: ("price", Price),
    EntryType.SITE_SET: ("site", Site),
}
_REPRICED: Final = (EntryType.PRICING, EntryType.REPRICING)
_WINDOWS_REPRICED: Final = (EntryType.WINDOWS_PRICED, EntryType.WINDOWS_REPRICED)
_KNOWN: Final = frozenset(
    {
        *_WINDOWS_REPRICED,
        EntryType.RECORD,
        EntryType.DECISION,
        EntryType.DEVICE,
        EntryType.INSTRUMENT_SET,
        *EVENTS,
        *_RATES,
        *_REPRICED,
    }
)


@dataclass(frozen=True, slots=True)
class Reported:
    """What is reported, and which entries were known then: facts by ``as_of``, prices by ``priced_by``."""

    query: Query
    as_of: datetime
    priced_by: datetime
    software: str


@dataclass(frozen=True, slots=True)
class RecountedSlice:
    """A priced slice as an entry tells it."""

    device_uuid: str
    gpu_model: str
    boundary: Boundary
    quarter: datetime
    gpu_ns: int
    missing_ns: int
    footprint: Footprint
    rates: Rates


@dataclass(slots=True)
class Recount:
    """Takes entries one at a time and keeps of them only what the report needs."""

    of: Reported
    intensities: tuple[GridIntensity, ...] = ()
    """Rows of the pack that the query sets beside: they come with the package, and the query has their hash."""
    figures: tuple[EmbodiedFigure, ...] = ()
    """What is published of making accelerators, by the same rule."""
    _rates: dict[str, Rate] = field(default_factory=dict)
    _records: dict[str, tuple[datetime, Mapping[str, Any]]] = field(default_factory=dict)
    _repriced: list[tuple[datetime, str, Mapping[str, Any]]] = field(default_factory=list)
    _decided: list[Decided] = field(default_factory=list)
    _events: list[Event] = field(default_factory=list)
    _devices: list[tuple[datetime, Mapping[str, Any]]] = field(default_factory=list)
    _readings: Readings = field(default_factory=Readings)
    _instruments: list[tuple[datetime, Instrument]] = field(default_factory=list)
    _cells: Cells = field(init=False)

    def __post_init__(self) -> None:
        """Begin with no cell."""
        self._cells = Cells(self.of.query.period, self.of.as_of)

    def add(self, kind: str, at: str, body: Mapping[str, Any]) -> None:
        """Take an entry; raises :class:`InvalidInputError` where it is not what such an entry holds."""
        if kind not in _KNOWN:
            return
        try:
            self._add(kind, at, body)
        except _NOT_ONE as error:
            raise InvalidInputError(f"is not what an entry of type {kind} holds: {error!r}") from error

    def report(self) -> AuditReport:
        """The report of everything that was taken; raises :class:`InvalidInputError` where it does not fit together."""
        try:
            evidence = Evidence(
                tuple(self._events),
                self._readings,
                tuple(self._devices),
                self.intensities,
                tuple(self._instruments),
                self.figures,
            )
            return audit(self.of.query, list(self._facts()), self._decided, self.of.software, evidence, self.cells())
        except _NOT_ONE as error:
            raise InvalidInputError(f"entries do not fit together: {error!r}") from error

    def cells(self) -> Iterator[Cell]:
        """What windows of the period were charged, by the rates that were taken."""
        return self._cells.priced(self.rates)

    def add_windows(self, at: str, body: Mapping[str, Any], bodies: Sequence[Mapping[str, Any]]) -> None:
        """Take an entry of windows with those that it names; raises :class:`InvalidInputError` where they are none."""
        try:
            self._cells.windows(parse_instant(at, "at"), body, bodies)
        except _NOT_ONE as error:
            raise InvalidInputError(f"is not what an entry of windows holds: {error!r}") from error
        accepted_at, period = parse_instant(at, "at"), self.of.query.period
        if accepted_at > self.of.as_of or not self.of.query.is_whole:
            return
        try:
            for read in [reading_of(body, accepted_at) for body in bodies]:
                if _overlaps(read.start, read.end, period):
                    self._readings.add(read)
        except _NOT_ONE as error:
            raise InvalidInputError(f"is not what a window holds: {error!r}") from error

    def _add(self, kind: str, at: str, body: Mapping[str, Any]) -> None:
        if kind in EVENTS:
            self._happen(kind, parse_instant(at, "at"), body)
        if kind in _WINDOWS_REPRICED:
            self._cells.repriced(parse_instant(at, "at"), body)
        if kind == EntryType.DEVICE:
            self._devices.append((parse_instant(at, "at"), body))
        elif kind == EntryType.DECISION:
            self._decide(body)
        elif kind == EntryType.INSTRUMENT_SET:
            if (told_at := parse_instant(at, "at")) <= self.of.as_of:
                self._instruments += instruments_of(told_at, body)
        elif kind == EntryType.RECORD:
            self._keep(parse_instant(at, "at"), body)
        elif kind in _RATES:
            self._price(*_RATES[kind], body)
        elif kind in _REPRICED and parse_instant(at, "at") <= self.of.priced_by:
            self._repriced.append((parse_instant(at, "at"), body["record_id"], body))

    def _happen(self, kind: str, at: datetime, body: Mapping[str, Any]) -> None:
        if self.of.query.period.start <= at <= self.of.as_of:
            self._events.append(event_of(kind, at, body))

    def _decide(self, body: Mapping[str, Any]) -> None:
        if self.of.query.namespace not in (None, body["namespace"]):
            return
        verdict = body["verdict"]
        at = parse_instant(verdict["as_of"], "as_of")
        if self.of.query.period.holds(at) and at <= self.of.as_of:
            self._decided.append(Decided(verdict["outcome"], verdict["reason"], at))

    def _keep(self, at: datetime, body: Mapping[str, Any]) -> None:
        record, period = body["record"], self.of.query.period
        if self.of.query.namespace not in (None, record["run"]["namespace"]) or at > self.of.as_of:
            return
        if _overlaps(parse_instant(record["started_at"], ""), parse_instant(record["ended_at"], ""), period):
            self._records[record["record_id"]] = (at, body)

    def _price(self, name: str, kind: type[Rate], body: Mapping[str, Any]) -> None:
        for told in body["rows"]:
            written = {key: value for key, value in told.items() if key != "rate_id"}
            if sha256(canonical([name, written])).hexdigest() != told["rate_id"]:
                raise InvalidInputError(f"the row {told['rate_id']} is not the one that its id names")
            self._rates[told["rate_id"]] = decode(kind, written)

    def _facts(self) -> Iterator[Fact]:
        later: dict[str, list[tuple[datetime, Mapping[str, Any]]]] = {}
        for at, record_id, body in self._repriced:
            later.setdefault(record_id, []).append((at, body))
        for record_id, (at, body) in self._records.items():
            parts = {_key(part): part for part in body["slices"]}
            for _, repriced in sorted(later.get(record_id, ()), key=lambda item: item[0]):
                for pair in repriced["slices"]:
                    parts[_key(pair["after"])] = pair["after"]
            yield Fact(
                record=decode(EfficiencyRecord, body["record"]),
                slices=tuple(self._slice(parts[key]) for key in sorted(parts)),
                accepted_at=at,
                self_reported=body["self_reported"],
                charged=body.get("charged", bool(body["charges"])),
                budgets=tuple(body.get("budgets", sorted({charge["budget"] for charge in body["charges"]}))),
            )

    def rates(self, ids: Sequence[str | None]) -> Rates:
        """The rows of site, location, market and price with these ids; raises KeyError where no entry has one."""
        found = [None if name is None else self._rates[name] for name in ids]
        return Rates(*found)  # type: ignore[arg-type]  # an id leads to a row of its own kind

    def _slice(self, told: Mapping[str, Any]) -> RecountedSlice:
        return RecountedSlice(
            device_uuid=told["device_uuid"],
            gpu_model=told["gpu_model"],
            boundary=Boundary(told["boundary"]),
            quarter=parse_instant(told["quarter"], "quarter"),
            gpu_ns=int(told["gpu_ns"]),
            missing_ns=int(told["missing_ns"]),
            footprint=decode(Footprint, told["footprint"]),
            rates=self.rates([told["rates"][part] for part in _PARTS]),
        )


_NOT_ONE: Final = (KeyError, TypeError, ValueError, AttributeError, OverflowError)
_PARTS: Final = ("site", "location", "market", "price")


def _key(told: Mapping[str, Any]) -> tuple[str, str, str]:
    return told["device_uuid"], told["boundary"], told["quarter"]


def _overlaps(begin: datetime, end: datetime, period: Period) -> bool:
    return begin < period.end and end > period.start

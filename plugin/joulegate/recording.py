"""One run, measured from its start to its end and made into a record.

Nothing here fails the run: what cannot be measured is not measured, and said.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import uuid4

import joulegate
from joulegate.calibrations import calibrated, calibrations
from joulegate.clock import SystemClock
from joulegate.core import display, records
from joulegate.core.errors import JoulegateError, UnavailableError
from joulegate.core.metering import Measurement, Method, Uncertainty
from joulegate.core.records import EfficiencyRecord, Kind, Opinion, RunOutcome, Source
from joulegate.core.units import NS_PER_SECOND, Energy
from joulegate.facts import Facts, QualityFact, WorkFact
from joulegate.gpu import Device, GpuReader, open_reader
from joulegate.gpu.replay import ReplayReader
from joulegate.gpu.selection import VISIBLE, parts_by, visible
from joulegate.host import HostEnergy, HostReader, declared_mw, open_host
from joulegate.meter import Meter
from joulegate.opinions import COUNTRY, SecondOpinion


@dataclass(frozen=True, slots=True)
class Subject:
    """What a record is about."""

    run: records.Run
    kind: Kind = Kind.OTHER
    model: str | None = None
    variant: str | None = None


class Recording:
    """Measures from ``start`` to ``stop``; raises nothing but what a caller can put right before the run."""

    def __init__(self, environment: Mapping[str, str], trace: str | None = None) -> None:
        """Open what can be read here.

        ``trace``, a recording's file, is played whatever this machine has; the
        recording that JOULEGATE_REPLAY names is played where there is no GPU. Raises
        :class:`InvalidInputError` where ``trace`` cannot be played.
        """
        self.record_id = str(uuid4())
        self.reason = ""
        self.started = self.stopped = SystemClock().now()
        self._reader: GpuReader | None = None
        self._meter: Meter | None = None
        self._remarks: list[str] = []
        self._host = _Host(self._declared(environment))
        self._opinion: Opinion | None = None
        try:
            self._open(environment, trace)
        except JoulegateError as error:
            if trace:
                raise
            self.reason = str(error)
        except Exception as error:  # noqa: BLE001 -- whatever a driver or its binding does, the work goes on
            self.reason = repr(error)
        country = environment.get(COUNTRY)
        self._second = SecondOpinion(country, self._boards(), environment) if country else None

    def _declared(self, environment: Mapping[str, str]) -> int | None:
        """The declared power of the host; one that makes no sense is said and left out."""
        try:
            return declared_mw(environment)
        except JoulegateError as error:
            self._remarks.append(str(error))
            return None

    def _boards(self) -> list[str]:
        """The GPUs of this machine that are measured."""
        return [device.uuid for device in self._meter.devices] if self._meter and self.source is Source.NVML else []

    def _open(self, environment: Mapping[str, str], trace: str | None) -> None:
        replay = environment.get("JOULEGATE_REPLAY")
        self._reader = reader = (
            ReplayReader.named(trace, self.record_id) if trace else open_reader(replay, self.record_id)
        )
        devices = reader.devices()
        if reader.source == Source.NVML:  # the recorded board is none of this machine's
            devices = visible(devices, environment, parts_by(reader))
        if not devices:
            raise UnavailableError(f"{VISIBLE} leaves no GPU that can be read")
        self._meter = Meter(reader, devices=self._calibrated(devices, environment))

    def _calibrated(self, devices: Sequence[Device], environment: Mapping[str, str]) -> Sequence[Device]:
        """The devices with their calibrations; a file that cannot be read is said, and figures are not calibrated."""
        try:
            known = calibrations(environment)
        except JoulegateError as error:
            self._remarks.append(f"not calibrated: {error}")
            return devices
        return calibrated(devices, known)

    @property
    def source(self) -> Source:
        """What reads the power."""
        return Source(self._meter.source) if self._meter else Source.NVML

    def start(self) -> None:
        """The run begins now; before that a second opinion, where one was asked for."""
        if self._second:
            self._second.start()
        try:
            self._host.start()
            self.started = self._meter.start() if self._meter else SystemClock().now()
        except Exception as error:  # noqa: BLE001 -- no thread can be started, say; the work goes on
            self._meter, self.reason = None, repr(error)
            self.started = SystemClock().now()

    def stop(self) -> None:
        """The run has ended now."""
        self.stopped = self._meter.stop() if self._meter else SystemClock().now()
        self._host.stop()
        if self._reader:
            self._reader.close()
        if self._second and self._opinion is None:
            self._opinion = self._second.stop()

    def record(self, subject: Subject, outcome: RunOutcome, facts: Facts, *, began: bool = True) -> EfficiencyRecord:
        """The record of the run; ``began`` False: nothing ran, so nothing was measured."""
        devices = tuple(self._devices()) if began else ()
        host = self._host.energy() if began else HostEnergy(None, Method.NOT_MEASURED)
        return EfficiencyRecord(
            record_id=self.record_id,
            run=subject.run,
            kind=subject.kind,
            model=subject.model,
            variant=subject.variant,
            started_at=self.started.utc,
            ended_at=self._utc(self.stopped.boottime_ns) if began else self.started.utc,
            outcome=outcome,
            devices=devices,
            host=records.HostEnergy(None if host.energy_mj is None else Energy(host.energy_mj), host.method),
            source=self.source,
            software=f"joulegate/{joulegate.__version__}",
            work=tuple(self._work(fact) for fact in facts.work),
            quality=tuple(_quality(fact) for fact in facts.quality),
            measuring=self._measuring(),
            opinions=(self._opinion,) if began and self._opinion else (),
        )

    def _measuring(self) -> records.Measuring | None:
        if self._meter is None:
            return None
        cost = self._meter.cost()
        return records.Measuring(cost.readings, cost.failures, cost.cpu_ns, cost.longest_ns)

    def _devices(self) -> Iterable[records.DeviceUse]:
        if self._meter is None or self.stopped.boottime_ns <= self.started.boottime_ns:
            return
        for device in self._meter.devices:
            intervals = self._meter.intervals(device, self.started, self.stopped)
            parts = ((part.start, part.end, part.measurement) for part in intervals)
            check = self._meter.cross_check(device)
            yield records.DeviceUse(
                device.uuid,
                device.model,
                tuple(_interval(*part) for part in parts),
                check and records.CrossCheck(float(check[0]), check[1]),
                device.calibration,
            )

    def _work(self, fact: WorkFact) -> records.WorkDone:
        measurements: list[Measurement] = []
        if self._meter and self.started.boottime_ns <= fact.start_ns and fact.end_ns <= self.stopped.boottime_ns:
            meter = self._meter
            measurements = [meter.measurement(device, fact.start_ns, fact.end_ns) for device in meter.devices]
        energies = [m.energy_mj for m in measurements if m.energy_mj is not None]
        known = bool(energies) and len(energies) == len(measurements)
        return records.WorkDone(
            name=fact.name,
            unit=fact.unit,
            amount=fact.amount,
            repeats=fact.repeats,
            start=self._utc(fact.start_ns),
            end=self._utc(fact.end_ns),
            energy=Energy(sum(energies)) if known else None,
            uncertainty=together([m.uncertainty for m in measurements]) if known else None,
        )

    def _utc(self, boottime_ns: int) -> datetime:
        # The wall clock is read once, at the start; CLOCK_BOOTTIME does not step.
        return self.started.utc + timedelta(microseconds=(boottime_ns - self.started.boottime_ns) / 1_000)

    def summary(self, record: EfficiencyRecord) -> str:
        """What was measured, in one sentence."""
        energy = record.energy()
        if record.devices and energy is not None:
            boards = f"{len(record.devices)} GPU" + ("s" if len(record.devices) > 1 else "")
            length = display.duration(self.stopped.boottime_ns - self.started.boottime_ns)
            said = f"{display.energy(energy.mj)} in {length} on {boards}"
            if record.source is Source.REPLAYED:
                said += " (replayed: a recording, not a measurement of this machine)"
        else:
            said = f"GPU energy not measured ({self.reason or 'no reading covers the run'})"
        host = record.host.energy
        how = " (declared)" if record.host.method == Method.DECLARED else ""
        said += "; host " + ("not measured" if host is None else display.energy(host.mj) + how)
        return "; ".join([said, *(_told(opinion, energy) for opinion in record.opinions), *self._remarks])


def together(parts: Iterable[Uncertainty | None]) -> Uncertainty | None:
    """The uncertainty of several boards' energies added up; None where one of them has none.

    Bounds and parts are added: boards of one machine may err in the same
    direction, so nothing is assumed to cancel.
    """
    every = list(parts)
    known = [part for part in every if part is not None]
    if not known or len(known) != len(every):
        return None
    return Uncertainty(
        lower_mj=sum(part.lower_mj for part in known),
        upper_mj=sum(part.upper_mj for part in known),
        confidence=known[0].confidence,
        gain_mj=sum(part.gain_mj for part in known),
        duty_mj=sum(part.duty_mj for part in known),
        edge_mj=sum(part.edge_mj for part in known),
        gap_mj=sum(part.gap_mj for part in known),
    )


class _Host:
    """The host's counters, read often enough that they are never missed to begin again."""

    def __init__(self, declared: int | None) -> None:
        opened = open_host(declared_mw=declared)
        self._reader: HostReader | None = None if isinstance(opened, HostEnergy) else opened
        self._absent = opened if isinstance(opened, HostEnergy) else HostEnergy(None, Method.NOT_MEASURED)
        self._begun_mj = self._ended_mj = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep_reading, daemon=True)

    def start(self) -> None:
        self._begun_mj = self._read()
        if self._reader:
            self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._ended_mj = self._read()

    def energy(self) -> HostEnergy:
        if self._reader is None:
            return self._absent
        return HostEnergy(self._ended_mj - self._begun_mj, self._reader.method)

    def _keep_reading(self) -> None:
        while self._reader and not self._stop.wait(self._reader.interval_ns / NS_PER_SECOND):
            self._read()

    def _read(self) -> int:
        try:
            return self._reader.read() if self._reader else 0
        except UnavailableError as error:
            self._reader, self._absent = None, HostEnergy(None, Method.NOT_MEASURED, str(error))
            return 0


def _interval(start: datetime, end: datetime, measured: Measurement) -> records.Interval:
    return records.Interval(
        start=start,
        end=end,
        energy=None if measured.energy_mj is None else Energy(measured.energy_mj),
        method=measured.method,
        boundary=measured.boundary,
        coverage=measured.coverage,
        uncertainty=measured.uncertainty,
        flags=measured.flags,
    )


def _told(opinion: Opinion, ours: Energy | None) -> str:
    """What another tool says, in a few words."""
    if opinion.accelerator is None:
        return f"{opinion.tool}: no GPU energy ({opinion.reason})"
    said = f"{opinion.tool}: {display.energy(opinion.accelerator.mj)}"
    return f"{said} ({opinion.accelerator.mj / ours.mj - 1:+.1%} of ours)" if ours and ours.mj else said


def _quality(fact: QualityFact) -> records.Quality:
    return records.Quality(fact.name, fact.value, fact.n, fact.higher_is_better)

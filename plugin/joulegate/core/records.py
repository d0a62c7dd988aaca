"""The efficiency record: one run's energy, work and quality, and where each figure comes from."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from fractions import Fraction
from types import MappingProxyType
from typing import Any, Final

from joulegate.core.metering import Boundary, Method, Uncertainty
from joulegate.core.sensors import Calibration
from joulegate.core.units import Energy

LATER: Final[MappingProxyType[Any, Any]] = MappingProxyType({"later": True})
"""Marks a field that came after the first version: left out while it is at its default.

So what was written, hashed and signed before stays what it was, and is read as if the field had been there.
"""


class Kind(StrEnum):
    """What a run is for."""

    TRAINING = "training"
    FINE_TUNING = "fine-tuning"
    INFERENCE = "inference"
    EVALUATION = "evaluation"
    DATA_PREPARATION = "data-preparation"
    OTHER = "other"


class RunOutcome(StrEnum):
    """How a run ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Source(StrEnum):
    """What read the power: the GPU's sensor, a recording, or nobody (declared)."""

    NVML = "nvml"
    REPLAYED = "replayed"
    DECLARED = "declared"


@dataclass(frozen=True, slots=True)
class Run:
    """Which run this is: a pod in a cluster, a step of a pipeline, or a command on a laptop."""

    uid: str
    pipeline: str | None = None
    step: str | None = None
    attempt: int = 1
    cluster: str = "local"
    namespace: str = "default"
    pod_uid: str | None = None
    site: str | None = "default"


@dataclass(frozen=True, slots=True)
class Interval:
    """Energy of a device over ``[start, end)`` within a UTC quarter-hour; None is not measured."""

    start: datetime
    end: datetime
    energy: Energy | None
    method: Method
    boundary: Boundary
    coverage: float
    uncertainty: Uncertainty | None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CrossCheck:
    """The integral of power over the counter's difference, where both were read, and for how long; 1 is agreement."""

    integral_over_counter: float
    compared_ns: int


@dataclass(frozen=True, slots=True)
class DeviceUse:
    """One accelerator and its intervals, how its two readings agree, and who calibrated it."""

    uuid: str
    model: str
    intervals: tuple[Interval, ...]
    cross_check: CrossCheck | None = field(default=None, metadata=LATER)
    calibration: Calibration | None = field(default=None, metadata=LATER)


@dataclass(frozen=True, slots=True)
class HostEnergy:
    """Energy of the host, never added to the accelerators'; None is not measured."""

    energy: Energy | None
    method: str


@dataclass(frozen=True, slots=True)
class WorkDone:
    """A measured window of the work itself: ``amount`` of ``unit``, done ``repeats`` times."""

    name: str
    unit: str
    amount: int
    repeats: int
    start: datetime
    end: datetime
    energy: Energy | None
    uncertainty: Uncertainty | None

    def energy_mj_per(self, count: int) -> Fraction | None:
        """Exact energy per ``count`` units in mJ; None where it was not measured."""
        done = self.amount * self.repeats
        return Fraction(self.energy.mj * count, done) if self.energy is not None and done else None


@dataclass(frozen=True, slots=True)
class Quality:
    """A figure of merit such as accuracy, over ``n`` samples."""

    name: str
    value: float
    n: int | None = None
    higher_is_better: bool = True


@dataclass(frozen=True, slots=True)
class Measuring:
    """What measuring cost the run: readings taken and failed, processor time of the threads, the longest reading."""

    readings: int
    failures: int
    cpu_ns: int
    longest_ns: int


@dataclass(frozen=True, slots=True)
class Opinion:
    """What another tool says of the same run: shown beside ours, never charged, never added.

    ``accelerator`` and ``host`` are two boundaries, as ours are; None is not
    measured, and ``reason`` says why. The window is the tool's own, so its length is kept.
    """

    tool: str
    accelerator: Energy | None
    host: Energy | None
    duration_ns: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class EfficiencyRecord:
    """One run: what it drew, what it did, how well, and what measured it."""

    record_id: str
    run: Run
    kind: Kind
    model: str | None
    variant: str | None
    started_at: datetime
    ended_at: datetime
    outcome: RunOutcome
    devices: tuple[DeviceUse, ...]
    host: HostEnergy
    source: Source
    software: str
    work: tuple[WorkDone, ...] = ()
    quality: tuple[Quality, ...] = field(default=())
    measuring: Measuring | None = field(default=None, metadata=LATER)
    opinions: tuple[Opinion, ...] = field(default=(), metadata=LATER)

    def energy(self) -> Energy | None:
        """Energy of all devices; None where one interval was not measured, or there is none."""
        parts = [interval.energy for device in self.devices for interval in device.intervals]
        known = [part.mj for part in parts if part is not None]
        return Energy(sum(known)) if known and len(known) == len(parts) else None

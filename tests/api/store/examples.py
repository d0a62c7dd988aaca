"""Values that tests of the store begin with."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

from joulegate.core.binding import Work
from joulegate.core.budgets import Budget, Enforcement, Limits, Scope
from joulegate.core.footprint import EmissionBasis, GridIntensity, Price, PriceRule, Reference, Site
from joulegate.core.metering import Boundary, Method
from joulegate.core.periods import CalendarRule, CalendarUnit, cut_at_quarters
from joulegate.core.quotes import QuarterAmount, Quote
from joulegate.core.records import (
    DeviceUse,
    EfficiencyRecord,
    HostEnergy,
    Interval,
    Kind,
    Quality,
    Run,
    RunOutcome,
    Source,
    WorkDone,
)
from joulegate.core.units import Energy, Money
from joulegate.core.workloads import Demand, Group
from joulegate_api.store import HoldRequest

MORNING = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
REFERENCE = Reference("grid", "2026-1", "An Office", "CC-BY-4.0", "https://example.org/grid")
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
FAR_AHEAD = datetime(2040, 1, 1, tzinfo=UTC)
MODEL = "NVIDIA A100-SXM4-80GB"


class Clock:
    """A clock that only the test moves."""

    def __init__(self, now: datetime = MORNING) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


def budget(name: str = "vision", **other: Any) -> Budget:
    fields: dict[str, Any] = {
        "period": CalendarRule(CalendarUnit.MONTH),
        "limits": Limits(energy_mj=1_000),
        "scope": Scope(namespaces=("vision",)),
        "enforcement": Enforcement.DENY,
    }
    return Budget(name, **fields | other)


def quote(
    *energies_mj: int, start: datetime = MORNING, carbon_ug: int | None = None, cost: Money | None = None
) -> Quote:
    """One quarter-hour after another; each has the same carbon and cost."""
    quarters = tuple(
        QuarterAmount(start + number * QUARTER, energy_mj, carbon_ug, cost)
        for number, energy_mj in enumerate(energies_mj)
    )
    return Quote(quarters, (REFERENCE,), "prior", 0, "an example")


def demand(accelerators: int = 1, declared_ns: int | None = None) -> Demand:
    return Demand(Kind.TRAINING, (Group(MODEL, Fraction(accelerators), 1),), declared_ns=declared_ns)


def request(root_uid: str = "root", quoted: Quote | int = 100, **other: Any) -> HoldRequest:
    fields: dict[str, Any] = {
        "cluster": "local",
        "resource": "jobs",
        "namespace": "vision",
        "name": root_uid,
        "work": Work("vision", "training"),
        "demand": demand(),
        "quote": quote(quoted) if isinstance(quoted, int) else quoted,
        "subject": "somebody",
        "requested_at": MORNING,
    }
    return HoldRequest(root_uid=root_uid, **fields | other)


def intensity(ug_per_kwh: int = 400_000_000, version: str = "2026-1", **other: Any) -> GridIntensity:
    fields: dict[str, Any] = {
        "zone": "DE",
        "valid_from": LONG_AGO,
        "valid_to": FAR_AHEAD,
        "ug_per_kwh": ug_per_kwh,
        "basis": EmissionBasis.LOCATION,
        "boundary": "lifecycle",
        "mix": "consumption",
        "signal": "average",
        "gwp": "AR5",
        "reference": Reference("grid", version, "An Office", "CC-BY-4.0", "https://example.org/grid"),
    }
    return GridIntensity(**fields | other)


def price(micros_per_unit: int = 300_000, **other: Any) -> Price:
    fields: dict[str, Any] = {
        "rule": PriceRule.ELECTRICITY,
        "currency": "EUR",
        "valid_from": LONG_AGO,
        "valid_to": FAR_AHEAD,
        "gpu_model": None,
        "zone": None,
        "reference": REFERENCE,
    }
    return Price(micros_per_unit=micros_per_unit, **fields | other)


def site(name: str = "default", pue_ppm: int = 1_200_000, **other: Any) -> Site:
    fields: dict[str, Any] = {
        "zone": "DE",
        "pue_category": "1",
        "valid_from": LONG_AGO,
        "valid_to": FAR_AHEAD,
        "reference": REFERENCE,
    }
    return Site(name=name, pue_ppm=pue_ppm, **fields | other)


def interval(
    start: datetime, end: datetime, energy_mj: int | None, boundary: Boundary = Boundary.ACCELERATOR
) -> Interval:
    energy = None if energy_mj is None else Energy(energy_mj)
    return Interval(start, end, energy, Method.REPLAYED, boundary, 1.0, None)


def device(uuid: str = "GPU-1", *energies_mj: int | None, start: datetime = MORNING) -> DeviceUse:
    """One whole quarter-hour after another."""
    return DeviceUse(
        uuid,
        MODEL,
        tuple(interval(start + n * QUARTER, start + (n + 1) * QUARTER, energy) for n, energy in enumerate(energies_mj)),
    )


def record(record_id: str = "r-1", devices: Sequence[DeviceUse] | None = None, **other: Any) -> EfficiencyRecord:
    run_uid = other.pop("run_uid", f"run-of-{record_id}")
    fields: dict[str, Any] = {
        "run": Run(run_uid, namespace="vision"),
        "kind": Kind.TRAINING,
        "model": "digits",
        "variant": "teacher",
        "started_at": MORNING,
        "ended_at": MORNING + QUARTER,
        "outcome": RunOutcome.SUCCEEDED,
        "devices": tuple(devices) if devices is not None else (device("GPU-1", 3_600_000),),
        "host": HostEnergy(None, "not_measured"),
        "source": Source.REPLAYED,
        "software": "joulegate 0.1.0",
        "work": (WorkDone("predict", "samples", 10, 3, MORNING, MORNING + QUARTER, Energy(30), None),),
        "quality": (Quality("accuracy", 0.97, 100),),
    }
    return EfficiencyRecord(record_id=record_id, **fields | other)


def cut(start: datetime, end: datetime, energies_mj: Sequence[int]) -> tuple[Interval, ...]:
    """Intervals that end at quarter-hours, as a meter sends them."""
    spans = list(cut_at_quarters(start, end))
    return tuple(interval(begin, stop, energy) for (begin, stop), energy in zip(spans, energies_mj, strict=True))

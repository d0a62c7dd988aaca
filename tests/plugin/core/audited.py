"""Records and priced slices for tests of what is made of them."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction

from joulegate.core.footprint import (
    EmissionBasis,
    Footprint,
    GridIntensity,
    Price,
    PriceRule,
    Rates,
    Reference,
    Site,
)
from joulegate.core.metering import Boundary, Method, Uncertainty
from joulegate.core.periods import QUARTER
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
from joulegate.core.tallies import Fact
from joulegate.core.units import NS_PER_SECOND, Energy

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ALWAYS = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
REFERENCE = Reference("grid data", "1", "a publisher", "CC BY 4.0", "https://example.org/grid")
RATES = Rates(
    site=Site("berlin", "DE", 1_540_000, "2", *ALWAYS, REFERENCE),
    location=GridIntensity(
        "DE", *ALWAYS, 363_000_000, EmissionBasis.LOCATION, "direct", "production", "average", "AR5", REFERENCE
    ),
    market=None,
    price=Price(PriceRule.ELECTRICITY, "EUR", 190_200, *ALWAYS, None, None, REFERENCE),
)
NO_RATES = Rates(None, None, None, None)


@dataclass(frozen=True, slots=True)
class PricedSlice:
    """As the store has them."""

    device_uuid: str
    gpu_model: str
    boundary: Boundary
    quarter: datetime
    gpu_ns: int
    missing_ns: int
    footprint: Footprint
    rates: Rates


def uncertain(mj: int, gain: str = "0.1", rest: str = "0.02") -> Uncertainty:
    """An interval of a relative gain and a relative edge part."""
    gain_mj, edge_mj = int(mj * Fraction(gain)), int(mj * Fraction(rest))
    half = round((gain_mj**2 + edge_mj**2) ** 0.5)
    return Uncertainty(max(0, mj - half), mj + half, "0.95", gain_mj, 0, edge_mj, 0)


def record(  # noqa: PLR0913 -- one argument a thing that tests vary
    name: str,
    energies: list[int | None],
    *,
    begin: datetime = NOON,
    device: str = "GPU-1",
    method: Method = Method.NVML_COUNTER,
    source: Source = Source.NVML,
    work: tuple[WorkDone, ...] = (),
    quality: tuple[Quality, ...] = (),
    flags: tuple[str, ...] = (),
) -> EfficiencyRecord:
    """A record with one whole quarter-hour of one device for each energy; None is not measured."""
    intervals = tuple(
        Interval(
            start=begin + index * QUARTER,
            end=begin + (index + 1) * QUARTER,
            energy=None if mj is None else Energy(mj),
            method=Method.NOT_MEASURED if mj is None else method,
            boundary=Boundary.ACCELERATOR,
            coverage=0.0 if mj is None else 1.0,
            uncertainty=None if mj is None else uncertain(mj),
            flags=flags,
        )
        for index, mj in enumerate(energies)
    )
    return EfficiencyRecord(
        record_id=f"record-{name}",
        run=Run(uid=f"run-{name}", pipeline="digits", step=name),
        kind=Kind.EVALUATION,
        model="digits",
        variant=name,
        started_at=begin,
        ended_at=begin + len(energies) * QUARTER,
        outcome=RunOutcome.SUCCEEDED,
        devices=(DeviceUse(device, "NVIDIA A100", intervals),) if energies else (),
        host=HostEnergy(None, "not_measured"),
        source=source,
        software="joulegate 0",
        work=work,
        quality=quality,
    )


def fact(of: EfficiencyRecord, rates: Rates = RATES) -> Fact:
    """The record as the store keeps it: a slice for each interval, priced."""
    quarter_ns = int(QUARTER.total_seconds()) * NS_PER_SECOND
    slices = tuple(
        PricedSlice(
            device_uuid=device.uuid,
            gpu_model=device.model,
            boundary=interval.boundary,
            quarter=interval.start,
            gpu_ns=quarter_ns,
            missing_ns=quarter_ns if interval.energy is None else 0,
            footprint=rates.apply(interval.energy, quarter_ns),
            rates=rates,
        )
        for device in of.devices
        for interval in device.intervals
    )
    return Fact(of, slices, of.ended_at + timedelta(seconds=1), self_reported=True, charged=True, budgets=("team",))


def window(mj: int | None, amount: int, repeats: int = 1, **parts: str) -> WorkDone:
    """A measured window of three seconds."""
    energy = None if mj is None else Energy(mj)
    known = None if mj is None else uncertain(mj, **parts)
    return WorkDone("predict", "predictions", amount, repeats, NOON, NOON + timedelta(seconds=3), energy, known)

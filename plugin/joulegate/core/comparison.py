"""Variants side by side: quality against energy, carbon and money for the same amount of work.

Figures are exact fractions of base units per ``per`` units of work. A ratio of two
energies knows more than the two intervals say: the gain of a board errs the same
way in both windows, so it cancels where both were measured on the same boards, and
only what errs independently is left (JCGM 100:2008, 5.1.2 and F.1.2).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from fractions import Fraction
from math import hypot, sqrt
from typing import Final, TypeVar

from joulegate.core import display
from joulegate.core.errors import InvalidInputError
from joulegate.core.footprint import Footprint, Rates
from joulegate.core.metering import Boundary, Method
from joulegate.core.periods import cut_at_quarters, format_instant, ns_between, quarter_of
from joulegate.core.records import EfficiencyRecord, Quality, Source, WorkDone
from joulegate.core.units import Carbon, Energy, Money, split_by_largest_remainder

PER: Final = 1_000
"""Units of work that figures are given for, where nobody asks for another number."""

_Named = TypeVar("_Named", WorkDone, Quality)

_SHARES: Final = ("accuracy", "error_rate", "exact_match")
"""Parts of the names of figures that count right or wrong answers, so that their spread is known."""

_Z95: Final = 1.959964
"""Two-sided 95 % quantile of the normal distribution."""


@dataclass(frozen=True, slots=True)
class Span:
    """An interval, both ends included."""

    lower: Fraction
    upper: Fraction


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to do the work: how well it does, and what a thousand units of work cost.

    ``energy_mj``, ``carbon_ug`` and ``cost_micros`` are for ``per`` units; None is unknown.
    ``independent`` is the relative half-width of the energy without the board's gain, ``gain`` that of the gain.
    """

    name: str
    record_id: str
    quality: Quality
    quality_span: Span | None
    unit: str
    per: int
    energy_mj: Fraction | None
    energy_span: Span | None
    carbon_ug: Fraction | None
    cost_micros: Fraction | None
    currency: str | None
    boards: frozenset[str]
    board_models: tuple[str, ...]
    source: Source
    methods: tuple[Method, ...]
    boundaries: tuple[Boundary, ...]
    repeats: int
    independent: float | None
    gain: float | None


class Finding(StrEnum):
    """What can be said of a variant's energy beside the baseline's."""

    BASELINE = "baseline"
    CHEAPER = "cheaper"
    DEARER = "dearer"
    NOT_TOLD_APART = "not told apart"
    NOT_COMPARABLE = "not comparable"


@dataclass(frozen=True, slots=True)
class Difference:
    """A variant beside the baseline: ``ratio`` is its energy over the baseline's, ``words`` say it in one sentence."""

    name: str
    finding: Finding
    ratio: Fraction | None
    ratio_span: Span | None
    quality_change: Fraction
    words: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Variants in the order they were asked for; the first is the baseline, ``front`` the Pareto front by energy."""

    variants: tuple[Variant, ...]
    front: tuple[str, ...]
    differences: tuple[Difference, ...]
    warnings: tuple[str, ...]


def window_footprint(work: WorkDone, rates: Mapping[datetime, Rates], boards: int) -> Footprint:
    """Price a window of work with the rates of each UTC quarter-hour that it touches.

    Its energy is spread over the quarter-hours in proportion to time by largest
    remainder; ``boards`` accelerators were kept for it. What one quarter-hour has no rate
    for is unknown for the whole window.
    """
    spans = list(cut_at_quarters(work.start, work.end))
    weights = {format_instant(begin): ns_between(begin, end) for begin, end in spans}
    parts = split_by_largest_remainder(work.energy.mj, weights) if work.energy is not None else {}
    priced = []
    for begin, end in spans:
        energy = Energy(parts[format_instant(begin)]) if parts else None
        in_force = rates.get(quarter_of(begin), Rates(None, None, None, None))
        priced.append(in_force.apply(energy, boards * ns_between(begin, end)))
    costs = [part.cost for part in priced]
    currencies = {cost.currency for cost in costs if cost is not None}
    cost_micros = _sum([cost.micros if cost else None for cost in costs])
    location_ug = _sum([part.carbon_location.ug if part.carbon_location else None for part in priced])
    market_ug = _sum([part.carbon_market.ug if part.carbon_market else None for part in priced])
    return Footprint(
        energy=work.energy,
        carbon_location=None if location_ug is None else Carbon(location_ug),
        carbon_market=None if market_ug is None else Carbon(market_ug),
        cost=Money(cost_micros, currencies.pop()) if cost_micros is not None and len(currencies) == 1 else None,
    )


def _sum(amounts: Sequence[int | None]) -> int | None:
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if known and len(known) == len(amounts) else None


def variant_of(
    record: EfficiencyRecord,
    rates: Mapping[datetime, Rates],
    *,
    work: str | None = None,
    quality: str | None = None,
    per: int = PER,
) -> Variant:
    """What a record says of its variant.

    ``work`` and ``quality`` name the window and the figure of merit where the record
    has several. Raises :class:`InvalidInputError` where it has none, or several and none was named.
    """
    name = record.variant or record.record_id
    window = _chosen(record.work, work, f"measured window of work in the record of {name}", "work")
    figure = _chosen(record.quality, quality, f"quality in the record of {name}", "quality")
    done = window.amount * window.repeats
    if done == 0:
        raise InvalidInputError(f"the record of {name} did no work", "work")
    priced = window_footprint(window, rates, len(record.devices))
    intervals = [interval for device in record.devices for interval in device.intervals]
    parts, energy_mj = window.uncertainty, window.energy.mj if window.energy else None
    return Variant(
        name=name,
        record_id=record.record_id,
        quality=figure,
        quality_span=wilson(figure),
        unit=window.unit,
        per=per,
        energy_mj=_each(energy_mj, per, done),
        energy_span=Span(Fraction(parts.lower_mj * per, done), Fraction(parts.upper_mj * per, done)) if parts else None,
        carbon_ug=_each(priced.carbon_location.ug if priced.carbon_location else None, per, done),
        cost_micros=_each(priced.cost.micros if priced.cost else None, per, done),
        currency=priced.cost.currency if priced.cost else None,
        boards=frozenset(device.uuid for device in record.devices),
        board_models=tuple(sorted({device.model for device in record.devices})),
        source=record.source,
        methods=tuple(sorted({interval.method for interval in intervals})),
        boundaries=tuple(sorted({interval.boundary for interval in intervals})),
        repeats=window.repeats,
        independent=hypot(parts.duty_mj, parts.edge_mj, parts.gap_mj) / energy_mj if parts and energy_mj else None,
        gain=parts.gain_mj / energy_mj if parts and energy_mj else None,
    )


def _each(amount: int | None, per: int, done: int) -> Fraction | None:
    return None if amount is None else Fraction(amount * per, done)


def _chosen(of: Sequence[_Named], name: str | None, what: str, field: str) -> _Named:
    fitting = [one for one in of if name is None or one.name == name]
    if not fitting:
        raise InvalidInputError(f"there is no {what}" + (f" called {name!r}" if name else ""), field)
    names = sorted({one.name for one in fitting})
    if len(names) > 1:
        raise InvalidInputError(f"there is more than one {what}: {', '.join(names)}; name one", field)
    return fitting[-1]


def wilson(quality: Quality) -> Span | None:
    """The 95 % interval of a share of ``n`` samples (Wilson 1927); None for what is no such share."""
    share, n = quality.value, quality.n
    if not n or not 0 <= share <= 1 or not any(word in quality.name.lower() for word in _SHARES):
        return None
    z2 = _Z95**2 / n
    middle = (share + z2 / 2) / (1 + z2)
    half = _Z95 * sqrt(share * (1 - share) / n + z2 / (4 * n)) / (1 + z2)
    return Span(exact(round(max(0.0, middle - half), 9)), exact(round(min(1.0, middle + half), 9)))


def compare(variants: Sequence[Variant]) -> Comparison:
    """Put variants side by side; the first is the baseline.

    Raises :class:`InvalidInputError` where there is nothing to compare with, a name
    stands twice, or units of work, figures of merit or boundaries differ: such
    figures do not stand for the same thing.
    """
    if not variants:
        raise InvalidInputError("there is no variant to compare", "variants")
    _check_alike(variants)
    baseline = variants[0]
    return Comparison(
        variants=tuple(variants),
        front=pareto_front(variants),
        differences=tuple(_difference(variant, baseline) for variant in variants),
        warnings=tuple(_warnings(variants)),
    )


def _check_alike(variants: Sequence[Variant]) -> None:
    names = [variant.name for variant in variants]
    if len(set(names)) != len(names):
        raise InvalidInputError(f"a variant stands twice in {', '.join(names)}", "variants")
    for what, values in (
        ("units of work", {variant.unit for variant in variants}),
        ("figures of merit", {variant.quality.name for variant in variants}),
        ("directions of their figure of merit", {variant.quality.higher_is_better for variant in variants}),
        ("boundaries", {variant.boundaries for variant in variants if variant.energy_mj is not None}),
    ):
        if len(values) > 1:
            raise InvalidInputError(f"the variants have different {what}", "variants")


def pareto_front(variants: Iterable[Variant]) -> tuple[str, ...]:
    """The variants that none beats: as good or better with as little energy or less, and better in one of the two.

    A variant whose energy is unknown is neither on the front nor beats another.
    """
    known = [(variant, variant.energy_mj) for variant in variants if variant.energy_mj is not None]
    front = []
    for variant, energy in known:
        beaten = any(
            other_energy <= energy
            and merit(other) >= merit(variant)
            and (other_energy < energy or merit(other) > merit(variant))
            for other, other_energy in known
        )
        if not beaten:
            front.append(variant.name)
    return tuple(front)


def merit(variant: Variant) -> Fraction:
    """The figure of merit, turned so that more is better."""
    value = exact(variant.quality.value)
    return value if variant.quality.higher_is_better else -value


def exact(value: float) -> Fraction:
    """A number as it is written: 0.1 is a tenth."""
    return Fraction(repr(value))


def _difference(variant: Variant, baseline: Variant) -> Difference:
    change = exact(variant.quality.value) - exact(baseline.quality.value)
    if variant is baseline:
        return Difference(
            variant.name, Finding.BASELINE, Fraction(1), None, change, "the baseline that the others are held against"
        )
    if variant.energy_mj is None or not baseline.energy_mj:
        words = f"cannot be held against {baseline.name}: energy was not measured"
        return Difference(variant.name, Finding.NOT_COMPARABLE, None, None, change, words)
    ratio = variant.energy_mj / baseline.energy_mj
    span = _ratio_span(variant, baseline, ratio)
    finding = _finding(ratio, span)
    return Difference(variant.name, finding, ratio, span, change, _words(variant, baseline, ratio, span, finding))


def _ratio_span(variant: Variant, baseline: Variant, ratio: Fraction) -> Span | None:
    """The interval of a ratio; gains are left out where both windows are of the same boards."""
    if variant.independent is None or baseline.independent is None:
        return None
    same_boards = variant.boards == baseline.boards and bool(variant.boards)
    gains = (0.0, 0.0) if same_boards else (variant.gain or 0.0, baseline.gain or 0.0)
    half = exact(round(hypot(variant.independent, baseline.independent, *gains), 6))
    return Span(max(Fraction(0), ratio * (1 - half)), ratio * (1 + half))


def _finding(ratio: Fraction, span: Span | None) -> Finding:
    lower, upper = (span.lower, span.upper) if span else (ratio, ratio)
    if lower <= 1 <= upper:
        return Finding.NOT_TOLD_APART
    return Finding.DEARER if ratio > 1 else Finding.CHEAPER


def _words(variant: Variant, baseline: Variant, ratio: Fraction, span: Span | None, finding: Finding) -> str:
    """One sentence for people; a variant that was meant to save and does not is said to be dearer."""
    between = f" (95 % interval {display.rounded(span.lower)} to {display.rounded(span.upper)})" if span else ""
    if finding is Finding.NOT_TOLD_APART:
        energy = f"energy cannot be told apart from {baseline.name}: ratio {display.rounded(ratio)}{between}"
    else:
        times = f"{display.rounded(ratio)} times the energy of {baseline.name}"
        than = "more" if ratio > 1 else "less"
        percent = f", {display.percent(abs(ratio - 1))} {than}" if ratio < 2 else ""  # noqa: PLR2004 -- then a factor reads better
        energy = f"{finding.value} on this hardware: {times}{percent}{between}"
    change = exact(variant.quality.value) - exact(baseline.quality.value)
    if change == 0:
        return f"{energy}; {variant.quality.name} is the same"
    better = (change > 0) == variant.quality.higher_is_better
    moved = f"{'higher' if change > 0 else 'lower'} by {display.rounded(abs(change))}"
    return f"{energy}; {variant.quality.name} {moved}, which is {'better' if better else 'worse'}"


def _warnings(variants: Sequence[Variant]) -> Iterable[str]:
    sources = {variant.source.value for variant in variants}
    if Source.REPLAYED in sources:
        yield "power was replayed from a recording: the energy is that of the recorded board, not of this hardware"
    if len(sources) > 1:
        yield f"energy comes from different sources: {', '.join(sorted(sources))}"
    models = {variant.board_models for variant in variants}
    if len(models) > 1:
        yield "the variants ran on different boards: " + "; ".join(
            f"{variant.name} on {', '.join(variant.board_models) or 'none'}" for variant in variants
        )
    missing = [variant.name for variant in variants if variant.energy_mj is None]
    if missing:
        yield f"energy was not measured for {', '.join(missing)}"

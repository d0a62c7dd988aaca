"""Whether a cheaper variant is good enough: a test of non-inferiority, by a margin that the user sets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from fractions import Fraction
from math import hypot

from joulegate.core.comparison import Comparison, Variant, compare, exact, merit, variant_of
from joulegate.core.errors import InvalidInputError
from joulegate.core.footprint import Rates
from joulegate.core.records import EfficiencyRecord, RunOutcome


class Inferiority(StrEnum):
    """What a test of non-inferiority found."""

    BASELINE = "baseline"
    NON_INFERIOR = "non-inferior"
    NOT_SHOWN = "not shown to be non-inferior"
    UNDECIDABLE = "undecidable"


@dataclass(frozen=True, slots=True)
class MarginTest:
    """Whether a variant's quality is worse than the baseline's by less than ``margin``.

    ``loss`` is by how much it is worse (negative: better), ``most`` the upper end of its 95 % interval;
    both in the figure's own unit, None where no interval is known.
    """

    name: str
    margin: Fraction
    loss: Fraction
    most: Fraction | None
    finding: Inferiority


def margin_test(variant: Variant, baseline: Variant, margin: Fraction) -> MarginTest:
    """Test a variant against a baseline at a one-sided level of 2.5 %.

    It is non-inferior where the upper end of the two-sided 95 % interval of its loss lies
    below the margin (ICH E9, 3.3.2). The interval is of the difference of two independent
    shares, from their Wilson intervals: Newcombe, Statistics in Medicine 17 (1998), 873-890,
    method 10. Shares of the same samples usually go together, which makes it wider than need be.
    Raises :class:`InvalidInputError` for a margin that is not positive.
    """
    if margin <= 0:
        raise InvalidInputError("must be more than nothing", "margin")
    loss = merit(baseline) - merit(variant)
    if variant is baseline:
        return MarginTest(variant.name, margin, loss, None, Inferiority.BASELINE)
    own, other = variant.quality_span, baseline.quality_span
    if own is None or other is None:
        return MarginTest(variant.name, margin, loss, None, Inferiority.UNDECIDABLE)
    value, base = exact(variant.quality.value), exact(baseline.quality.value)
    if variant.quality.higher_is_better:
        apart = hypot(value - own.lower, other.upper - base)
    else:
        apart = hypot(own.upper - value, base - other.lower)
    most = loss + exact(round(apart, 9))
    return MarginTest(
        variant.name, margin, loss, most, Inferiority.NON_INFERIOR if most < margin else Inferiority.NOT_SHOWN
    )


@dataclass(frozen=True, slots=True)
class Comparing:
    """Which variants to put side by side, the baseline first, and by how much a variant may be worse (None: no test).

    ``work`` and ``quality`` name the window and the figure of merit where records have several.
    """

    variants: tuple[str, ...]
    margin: Fraction | None = None
    work: str | None = None
    quality: str | None = None


@dataclass(frozen=True, slots=True)
class Compared:
    """A comparison with its tests, one a variant; no tests where no margin was set."""

    found: Comparison
    tests: tuple[MarginTest, ...]


def compared(records: Iterable[tuple[EfficiencyRecord, Mapping[datetime, Rates]]], comparing: Comparing) -> Compared:
    """Compare the newest finished record of each variant that measured work and quality.

    ``records`` come oldest first, each with its rates by quarter-hour. Raises :class:`InvalidInputError`
    for a variant without such a record, and for what cannot be compared.
    """
    newest: dict[str, tuple[EfficiencyRecord, Mapping[datetime, Rates]]] = {}
    for record, rates in records:
        if record.variant and record.outcome is RunOutcome.SUCCEEDED and record.work and record.quality:
            newest[record.variant] = record, rates
    for name in comparing.variants:
        if name not in newest:
            raise InvalidInputError(f"no finished run of {name[:60]!r} measured work and quality here", "variants")
    variants = [
        variant_of(*newest[name], work=comparing.work, quality=comparing.quality) for name in comparing.variants
    ]
    found = compare(variants)
    margin = comparing.margin
    tests = () if margin is None else tuple(margin_test(each, variants[0], margin) for each in variants)
    return Compared(found, tests)

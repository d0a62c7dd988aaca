"""Comparisons: variants of a model by quality against energy, as figures, words and a picture."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any, Final

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from joulegate.core import display
from joulegate.core.charts import Axis, Point, scatter
from joulegate.core.comparison import PER, Comparison, Difference, Span, Variant, compare, variant_of
from joulegate.core.errors import InvalidInputError, NotFoundError
from joulegate.core.records import RunOutcome, Source
from joulegate.core.units import divide_half_even, format_whole
from joulegate.schema import STRICT, Count, Items, Line
from joulegate_api.auth import Principal
from joulegate_api.bodies import Body, Raw
from joulegate_api.context import Caller, Context, Parts, answer, takes
from joulegate_api.records import visible
from joulegate_api.store import RecordFilters, StoredRecord

_DIGITS: Final = 10**6
"""Figures for so many units of work are fractions of base units; they are shown to a millionth."""

router = APIRouter(tags=["comparisons"])


@dataclass(frozen=True, slots=True)
class ComparisonBody:
    """``POST /v1/comparisons``: the newest record of each variant that succeeded; the first is the baseline."""

    __pydantic_config__ = STRICT
    variants: Annotated[tuple[Line, ...], Items(50)]
    model: Line | None = None
    pipeline: Line | None = None
    namespace: Line | None = None
    work: Line | None = None
    quality: Line | None = None
    per: Annotated[int, Count(1, 10**9)] = PER


COMPARISON: Final = Body(ComparisonBody)


@router.post("/v1/comparisons", openapi_extra=takes(COMPARISON.reference))
def post_comparison(raw: Raw, parts: Parts, caller: Caller) -> JSONResponse:
    """Compare variants: quality beside energy, carbon and money for the same amount of work."""
    asked = COMPARISON.read(raw)
    found = compare_variants(asked, parts, caller)
    return answer(comparison_json(found) | {"svg": picture(found)})


def compare_variants(asked: ComparisonBody, parts: Context, caller: Principal) -> Comparison:
    """The comparison of the newest records that are asked for.

    Raises :class:`NotFoundError` for a variant without a record,
    :class:`InvalidInputError` for records that cannot be held against each other.
    """
    if not asked.variants:
        raise InvalidInputError("names no variant", "variants")
    return compare([_variant(_newest(name, asked, parts, caller), asked) for name in asked.variants])


def _newest(name: str, asked: ComparisonBody, parts: Context, caller: Principal) -> StoredRecord:
    filters = RecordFilters(
        namespace=asked.namespace,
        pipeline=asked.pipeline,
        model=asked.model,
        variant=name,
        outcome=RunOutcome.SUCCEEDED,
    )
    for stored in parts.store.records.list(visible(filters, caller, parts)).records:
        if stored.record.work and stored.record.quality:
            return stored
    raise NotFoundError(f"there is no finished run of the variant {name} that measured work and quality")


def _variant(stored: StoredRecord, asked: ComparisonBody) -> Variant:
    rates = {part.quarter: part.rates for part in stored.slices}
    return variant_of(stored.record, rates, work=asked.work, quality=asked.quality, per=asked.per)


def comparison_json(found: Comparison) -> dict[str, Any]:
    """A comparison; figures are for `per` units of work, as decimal strings of base units."""
    first = found.variants[0]
    return {
        "per": first.per,
        "unit": first.unit,
        "quality": first.quality.name,
        "variants": [
            _variant_json(variant, difference, on_front=variant.name in found.front)
            for variant, difference in zip(found.variants, found.differences, strict=True)
        ],
        "front": list(found.front),
        "warnings": list(found.warnings),
    }


def _variant_json(variant: Variant, difference: Difference, *, on_front: bool) -> dict[str, Any]:
    return {
        "name": variant.name,
        "record_id": variant.record_id,
        "quality": variant.quality,
        "quality_interval": _span(variant.quality_span),
        "energy_mj": _decimal(variant.energy_mj),
        "energy_interval_mj": _span(variant.energy_span),
        "carbon_ug": _decimal(variant.carbon_ug),
        "cost_micros": _decimal(variant.cost_micros),
        "currency": variant.currency,
        "on_front": on_front,
        "source": variant.source,
        "methods": variant.methods,
        "boundaries": variant.boundaries,
        "boards": variant.board_models,
        "repeats": variant.repeats,
        "finding": difference.finding,
        "energy_ratio": _decimal(difference.ratio),
        "energy_ratio_interval": _span(difference.ratio_span),
        "words": difference.words,
    }


def picture(found: Comparison) -> str:
    """Quality against energy as SVG, the Pareto front marked; variants that were not measured are left out."""
    known = [(variant, variant.energy_mj) for variant in found.variants if variant.energy_mj is not None]
    scale = display.scale_for(max((energy for _, energy in known), default=Fraction(0)), display.ENERGY)
    first = found.variants[0]
    per = f"{first.per:,} {first.unit}"
    points = [
        Point(
            label=variant.name,
            x=energy / scale.base_units,
            y=Fraction(repr(variant.quality.value)),
            x_span=_scaled(variant.energy_span, scale.base_units),
            y_span=_scaled(variant.quality_span, Fraction(1)),
            best=variant.name in found.front,
        )
        for variant, energy in known
    ]
    replayed = " (replayed)" if any(variant.source is Source.REPLAYED for variant in found.variants) else ""
    description = f"{first.quality.name} of {len(points)} variants against the accelerators' energy per {per}"
    return scatter(
        f"{first.quality.name} against energy{replayed}",
        "; ".join([description, *found.warnings]),
        Axis(f"energy per {per}", scale.unit),
        Axis(first.quality.name),
        points,
    )


def _scaled(span: Span | None, base: Fraction) -> tuple[Fraction, Fraction] | None:
    return None if span is None else (span.lower / base, span.upper / base)


def _decimal(value: Fraction | None) -> str | None:
    if value is None:
        return None
    return format_whole(divide_half_even(value.numerator * _DIGITS, value.denominator), _DIGITS)


def _span(span: Span | None) -> dict[str, str | None] | None:
    return None if span is None else {"lower": _decimal(span.lower), "upper": _decimal(span.upper)}

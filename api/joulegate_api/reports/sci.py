"""Software Carbon Intensity (ISO/IEC 21031:2024) and SCI for AI: kWh, grams of CO2e, a score for each functional unit.

SCI = (O + M) per R with O = E x I and M = TE x TiR / EL. O is location-based, with PUE, of everything reserved for the
runs, failed ones too. M is a range, because its sources differ, and so is the score. R is what the runs recorded as
done. A score stands only where all three are known; what lacks is said, and is not zero. Provider and consumer are
never merged: each model and activity is a component of its own, and the components add up.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from joulegate.core.audit import AuditReport
from joulegate.core.periods import format_instant
from joulegate.core.units import NS_PER_HOUR, divide_half_even
from joulegate_api.reports.by_model import Use, json_bytes, uses_of
from joulegate_api.reports.disclosure import disclosed
from joulegate_api.reports.measures import grams, kwh, significant, written
from joulegate_api.reports.sections import STATEMENT

MEDIA_TYPE: Final = "application/json"
_PROVIDER: Final = ("training", "fine-tuning", "data-preparation", "evaluation")
_YEAR_NS: Final = 8_760 * NS_PER_HOUR
_DIGITS: Final = 9


@dataclass(frozen=True, slots=True)
class _Embodied:
    """M of a component in ug, from the lowest to the highest source; None and why where it is not known."""

    low_ug: int | None
    high_ug: int | None
    missing: str | None


def render(report: AuditReport) -> bytes:
    """The bytes of the document; quantities are decimal strings in the unit that their name ends in."""
    uses = uses_of(report)
    known = [use.carbon_ug for use in uses if use.carbon_ug is not None]
    document = {
        "statement": STATEMENT,
        "name": f"Runs of {report.query.of}",
        "timespan": {
            "start": format_instant(report.query.period.start),
            "end": format_instant(report.query.period.end),
        },
        "boundary": "accelerators; carbon includes PUE; hosts, network and storage are not included",
        "score": None,
        "score_missing": "each component has scores of its own: functional units differ and are never added",
        "operational_carbon_g": written(grams(sum(known))) if known else None,
        "embodied_carbon_g": _whole_embodied(report, uses),
        "components": [_component(report, use) for use in uses],
        "coefficients": [
            {
                "name": f"{row.kind}, {row.what}",
                "value": row.quantity,
                "source": row.reference.source,
                "licence": row.reference.licence,
            }
            for row in report.rates
        ]
        + [_coefficient(report, each) for board in report.embodied for each in board.sources],
        "disclosed": dict(disclosed(report)),
        "digest": report.digest,
        "tree_size": report.tree.size if report.tree else None,
        "tree_root": report.tree.root if report.tree else None,
    }
    return json_bytes(document)


def _coefficient(report: AuditReport, figure: Any) -> dict[str, Any]:  # noqa: ANN401 -- a figure of core.embodied
    life = report.query.embodied.life_years if report.query.embodied else None
    return {
        "name": f"TE, {figure.product} ({figure.scope}); EL {life} years",
        "value": f"{written(grams(figure.ug))} g",
        "source": f"{figure.publisher}, {figure.source}",
        "licence": figure.licence,
    }


def _component(report: AuditReport, use: Use) -> dict[str, Any]:
    embodied = _embodied(report, use)
    scores = list(_scores(report, use, embodied))
    return {
        "persona": "provider" if use.kind in _PROVIDER else "consumer" if use.kind == "inference" else "not told",
        "model": use.model,
        "activity": use.kind,
        "energy_kwh": None if use.energy_mj is None else written(kwh(use.energy_mj)),
        "operational_carbon_g": None if use.carbon_ug is None else written(grams(use.carbon_ug)),
        "embodied_carbon_g": _range(embodied),
        "embodied_missing": embodied.missing,
        "scores": scores,
        "scores_missing": None if scores else "R: no run recorded work that it did",
        "runs": len(use.runs),
        "runs_failed_or_cancelled": use.unfinished,
        "quarter_hours_without_carbon": use.carbon_unknown,
        "methodology": {
            "E": "measured" if use.how == "measured" else "modeled",
            "I": "sourced",
            "M": "not given" if embodied.missing else "sourced",
            "R": "measured" if scores else "not given",
        },
        "known": use.caveats,
    }


def _scores(report: AuditReport, use: Use, embodied: _Embodied) -> Iterator[dict[str, Any]]:
    """A row for each unit of work that a run recorded; failed runs count in O and M, and add to R what they did."""
    period = report.query.period
    done: dict[tuple[str, str], int] = {}
    told: dict[tuple[str, str], int] = {}
    for run in use.runs:
        for key in {(each.name, each.unit) for each in run.work}:
            told[key] = told.get(key, 0) + (run.outcome == "succeeded")
        for each in run.work:
            key = (each.name, each.unit)
            done[key] = done.get(key, 0) + each.amount * each.repeats
    succeeded = len(use.runs) - use.unfinished
    cut = any(run.started_at < period.start or run.ended_at > period.end for run in use.runs)
    for key, amount in sorted(done.items()):
        lacks = []
        if use.carbon_ug is None or use.carbon_unknown:
            lacks.append(f"O: {use.carbon_unknown} quarter-hours have no carbon")
        if told[key] < succeeded:
            lacks.append(f"R: {succeeded - told[key]} of {succeeded} runs that succeeded recorded none of it")
        if cut:
            lacks.append("R: a run lies partly outside the period, and its work cannot be parted")
        if not amount:
            lacks.append("R: nothing was done")
        yield _score(use, embodied, key, amount, lacks)


def _score(use: Use, embodied: _Embodied, key: tuple[str, str], amount: int, lacks: list[str]) -> dict[str, Any]:
    operational = use.carbon_ug if not lacks else None
    whole = operational is not None and embodied.low_ug is not None and embodied.high_ug is not None
    low = (operational or 0) + (embodied.low_ug or 0)
    high = (operational or 0) + (embodied.high_ug or 0)
    return {
        "functional_unit": key[1],
        "of": key[0],
        "amount": str(amount),
        "operational_g_per_unit": None if operational is None else _per(operational, amount),
        "sci_g_per_unit": {"low": _per(low, amount), "high": _per(high, amount)} if whole else None,
        "missing": "; ".join([*lacks, *([f"M: {embodied.missing}"] if embodied.missing else [])]) or None,
    }


def _per(ug: int, amount: int) -> str:
    return significant(grams(ug) / Decimal(amount), _DIGITS)


def _embodied(report: AuditReport, use: Use) -> _Embodied:
    """M = TE x TiR / EL of the boards that the component's runs reserved."""
    by = report.query.embodied
    if by is None:
        return _Embodied(None, None, "the report was made without an expected life of the boards (life_years)")
    known = {each.gpu_model: each for each in report.embodied}
    low = high = 0
    for board in (each for run in use.runs for each in run.boards):
        figure = known.get(board.gpu_model)
        if figure is None or figure.low_ug is None or figure.high_ug is None:
            return _Embodied(None, None, f"no source knows what making one {board.gpu_model} emits")
        life_ns = by.life_years * _YEAR_NS
        low += divide_half_even(figure.low_ug * board.gpu_ns, life_ns)
        high += divide_half_even(figure.high_ug * board.gpu_ns, life_ns)
    return _Embodied(low, high, None)


def _range(embodied: _Embodied) -> dict[str, str] | None:
    if embodied.low_ug is None or embodied.high_ug is None:
        return None
    return {"low": written(grams(embodied.low_ug)), "high": written(grams(embodied.high_ug))}


def _whole_embodied(report: AuditReport, uses: tuple[Use, ...]) -> dict[str, str] | None:
    """The components' sum; None where one of them is not known."""
    parts = [_embodied(report, use) for use in uses]
    if not parts or any(part.missing for part in parts):
        return None
    return _range(_Embodied(sum(part.low_ug or 0 for part in parts), sum(part.high_ug or 0 for part in parts), None))

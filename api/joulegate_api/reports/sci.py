"""Data for a Software Carbon Intensity score (ISO/IEC 21031:2024) and for SCI for AI: energy in kWh, carbon in grams.

SCI = (O + M) per R with O = E x I. O is here: location-based, with PUE, of everything reserved for the runs. M
(embodied carbon) is not measured and no figure stands for it, so no score is printed: SCI requires M. Provider
and consumer are never merged: each model and activity is a component of its own, and the components add up.
"""

from __future__ import annotations

from typing import Any, Final

from joulegate.core.audit import AuditReport
from joulegate.core.periods import format_instant
from joulegate_api.reports.by_model import Use, json_bytes, uses_of
from joulegate_api.reports.measures import grams, kwh, written
from joulegate_api.reports.sections import STATEMENT

MEDIA_TYPE: Final = "application/json"
_PROVIDER: Final = ("training", "fine-tuning", "data-preparation", "evaluation")


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
        "score_missing": "M (embodied carbon) and R are for whoever states the score",
        "operational_carbon_g": written(grams(sum(known))) if known else None,
        "embodied_carbon_g": None,
        "components": [_component(use) for use in uses],
        "coefficients": [
            {
                "name": f"{row.kind}, {row.what}",
                "value": row.quantity,
                "source": row.reference.source,
                "licence": row.reference.licence,
            }
            for row in report.rates
        ],
        "digest": report.digest,
        "tree_size": report.tree.size if report.tree else None,
        "tree_root": report.tree.root if report.tree else None,
    }
    return json_bytes(document)


def _component(use: Use) -> dict[str, Any]:
    return {
        "persona": "provider" if use.kind in _PROVIDER else "consumer" if use.kind == "inference" else "not told",
        "model": use.model,
        "activity": use.kind,
        "energy_kwh": None if use.energy_mj is None else written(kwh(use.energy_mj)),
        "operational_carbon_g": None if use.carbon_ug is None else written(grams(use.carbon_ug)),
        "runs": len(use.runs),
        "runs_failed_or_cancelled": use.unfinished,
        "quarter_hours_without_carbon": use.carbon_unknown,
        "methodology": {"E": "measured" if use.how == "measured" else "modeled", "I": "sourced", "M": "not given"},
        "known": use.caveats,
    }

"""Energy of models as a CycloneDX 1.7 ML-BOM: ``environmentalConsiderations.energyConsumptions`` in kWh and tCO2eq.

Source: the JSON schema of CycloneDX 1.7 (ECMA-424), which allows no other unit and no further field; the rest is in
``properties``. A grid mix is no energy source of the schema's list, so the source is ``unknown``. An activity whose
energy is not known is left out, and counted in a property.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any, Final
from uuid import UUID

from joulegate.core.audit import AuditReport
from joulegate.core.periods import format_instant
from joulegate_api.reports.by_model import Use, json_bytes, uses_of
from joulegate_api.reports.disclosure import disclosed
from joulegate_api.reports.measures import kwh, tonnes
from joulegate_api.reports.sections import STATEMENT

MEDIA_TYPE: Final = "application/vnd.cyclonedx+json"
_LONGEST_VERSION: Final = 1_024
_ACTIVITY: Final = {
    "training": "training",
    "fine-tuning": "fine-tuning",
    "inference": "inference",
    "evaluation": "validation",
    "data-preparation": "data-preparation",
}


def render(report: AuditReport) -> bytes:
    """The bytes of the document; its serial number is of the report's digest (RFC 9562, version 8)."""
    models = [list(own) for _, own in groupby(uses_of(report), key=lambda use: use.model)]
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.7.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.7",
        "serialNumber": f"urn:uuid:{_uuid(report.digest)}",
        "version": 1,
        "metadata": {
            "timestamp": format_instant(report.as_of),
            "tools": {
                "components": [
                    {"type": "application", "name": "joulegate", "version": report.software[:_LONGEST_VERSION]}
                ]
            },
            "properties": _properties(
                {
                    "joulegate:statement": STATEMENT,
                    "joulegate:scope": report.query.of,
                    "joulegate:digest": report.digest,
                    "joulegate:tree-size": str(report.tree.size) if report.tree else "not signed",
                    "joulegate:tree-root": report.tree.root if report.tree else "not signed",
                    **{f"joulegate:report:{name}": value for name, value in disclosed(report).items()},
                }
            ),
        },
        "components": [_component(place, own) for place, own in enumerate(models)],
    }
    return json_bytes(document)


def _uuid(digest: str) -> UUID:
    bits = int(digest[:32], 16) & ~(0xF << 76) & ~(0x3 << 62) | 8 << 76 | 2 << 62
    return UUID(int=bits)


def _component(place: int, own: list[Use]) -> dict[str, Any]:
    known = [use for use in own if use.energy_mj is not None]
    unknown = {"joulegate:activities-without-energy": ", ".join(use.kind for use in own if use.energy_mj is None)}
    environmental = {"energyConsumptions": [_consumption(use) for use in known], "properties": _properties(unknown)}
    return {
        "type": "machine-learning-model",
        "bom-ref": f"model-{place}",
        "name": own[0].model,
        "modelCard": {"considerations": {"environmentalConsiderations": environmental}},
    }


def _consumption(use: Use) -> dict[str, Any]:
    cost = {"value": float(kwh(use.energy_mj or 0)), "unit": "kWh"}
    carbon = (
        {}
        if use.carbon_ug is None
        else {"co2CostEquivalent": {"value": float(tonnes(use.carbon_ug)), "unit": "tCO2eq"}}
    )
    told = {
        "joulegate:boundary": "accelerator; carbon includes PUE, location-based",
        "joulegate:known": use.caveats,
        "joulegate:energy-mj": str(use.energy_mj),
        "joulegate:carbon-location-ug": "not priced" if use.carbon_ug is None else str(use.carbon_ug),
        "joulegate:quarter-hours-without-carbon": str(use.carbon_unknown),
    }
    provider = {
        "organization": {"name": "electricity grid of the sites"},
        "energySource": "unknown",
        "energyProvided": cost,
    }
    return {
        "activity": _ACTIVITY.get(use.kind, "other"),
        "energyProviders": [provider],
        "activityEnergyCost": cost,
        **carbon,
        "properties": _properties(told),
    }


def _properties(told: dict[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in told.items() if value]

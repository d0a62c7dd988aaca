"""Energy of models as SPDX 3.0.1 JSON-LD: an ``ai_AIPackage`` with its ``ai_energyConsumption`` in kilowatt-hours.

Source: the SPDX 3.0.1 model, profile AI. What the profile wants beside energy (supplier, version, download location,
release time) no measurement knows; it is left out, so the document claims conformance to no profile.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any, Final

from joulegate.core.audit import AuditReport
from joulegate_api.reports.by_model import Use, json_bytes, uses_of
from joulegate_api.reports.disclosure import disclosed
from joulegate_api.reports.measures import kwh, written
from joulegate_api.reports.sections import STATEMENT

MEDIA_TYPE: Final = "application/spdx+json"
_FIELD: Final = {
    "training": "ai_trainingEnergyConsumption",
    "fine-tuning": "ai_finetuningEnergyConsumption",
    "inference": "ai_inferenceEnergyConsumption",
}


def render(report: AuditReport) -> bytes:
    """The bytes of the document; its ids are of the report's digest."""
    space = f"urn:joulegate:report:{report.digest}"
    made = f"{report.as_of:%Y-%m-%dT%H:%M:%SZ}"
    models = [list(own) for _, own in groupby(uses_of(report), key=lambda use: use.model)]
    packages = [_package(f"{space}#model-{place}", own) for place, own in enumerate(models)]
    agent = {"type": "SoftwareAgent", "spdxId": f"{space}#joulegate", "creationInfo": "_:made", "name": report.software}
    creation = {
        "type": "CreationInfo",
        "@id": "_:made",
        "specVersion": "3.0.1",
        "created": made,
        "createdBy": [agent["spdxId"]],
    }
    whole: dict[str, Any] = {
        "type": "SpdxDocument",
        "spdxId": f"{space}#document",
        "creationInfo": "_:made",
        "name": f"Energy of models, {report.query.of}",
        "comment": "\n".join([STATEMENT, *(f"{name}: {value}" for name, value in disclosed(report).items())]),
    }
    if packages:
        whole["rootElement"] = [package["spdxId"] for package in packages]
    graph = [creation, agent, whole, *packages]
    return json_bytes({"@context": "https://spdx.org/rdf/3.0.1/spdx-context.jsonld", "@graph": graph})


def _package(name: str, own: list[Use]) -> dict[str, Any]:
    told: dict[str, list[dict[str, str]]] = {}
    for use in own:
        if use.energy_mj is not None and use.kind in _FIELD:
            told.setdefault(_FIELD[use.kind], []).append(
                {
                    "type": "ai_EnergyConsumptionDescription",
                    "ai_energyQuantity": written(kwh(use.energy_mj)),
                    "ai_energyUnit": "kilowattHour",
                }
            )
    package: dict[str, Any] = {
        "type": "ai_AIPackage",
        "spdxId": name,
        "creationInfo": "_:made",
        "name": own[0].model,
        "software_primaryPurpose": "model",
        "comment": "; ".join(f"{use.kind}: {use.caveats}" for use in own),
    }
    return package | ({"ai_energyConsumption": {"type": "ai_EnergyConsumption", **told}} if told else {})

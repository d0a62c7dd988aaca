"""A report as JSON: every field of it, quantities as decimal strings."""

from __future__ import annotations

import json
from typing import Any, Final

from joulegate.core.audit import AuditReport
from joulegate.core.encoding import encode

MEDIA_TYPE: Final = "application/json"


def render(report: AuditReport) -> bytes:
    """The bytes of the document."""
    document = {**_with_cost(encode(report)), "recomputed": report.recomputed, "refusals": report.refusals}
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def _with_cost(value: Any) -> Any:  # noqa: ANN401 -- JSON
    """Beside every list of costs the one figure, where there is one currency: as records have it."""
    if isinstance(value, dict):
        costs = value.get("costs", ())
        one = {"cost_micros": costs[0]["micros"], "currency": costs[0]["currency"]} if len(costs) == 1 else {}
        return {name: _with_cost(part) for name, part in value.items()} | one
    return [_with_cost(part) for part in value] if isinstance(value, list) else value

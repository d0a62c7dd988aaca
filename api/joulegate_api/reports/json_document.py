"""A report as JSON: every field of it, quantities as decimal strings."""

from __future__ import annotations

import json
from typing import Final

from joulegate.core.audit import AuditReport
from joulegate.core.encoding import encode

MEDIA_TYPE: Final = "application/json"


def render(report: AuditReport) -> bytes:
    """The bytes of the document."""
    document = {**encode(report), "recomputed": report.recomputed, "refusals": report.refusals}
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()

"""Reports: one :class:`~joulegate.core.audit.AuditReport`, one module a format.

What is *not* done here: nothing is added up or priced; :mod:`joulegate.core.audit`
does that, and a format only writes what the report says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Final

from joulegate.core.audit import AuditReport
from joulegate_api.reports import (
    ai_act,
    csv_tables,
    cyclonedx,
    focus,
    huggingface,
    json_document,
    pdf,
    sci,
    spdx,
    web_page,
    workbook,
)


@dataclass(frozen=True, slots=True)
class Format:
    """How a report is written: a module with ``MEDIA_TYPE`` and ``render(report) -> bytes``."""

    name: str
    suffix: str
    media_type: str
    module: ModuleType

    def render(self, report: AuditReport) -> bytes:
        """The bytes of a report: the same for the same report."""
        written: bytes = self.module.render(report)
        return written


_MODULES: Final[Mapping[str, tuple[ModuleType, str]]] = {
    "html": (web_page, "html"),
    "json": (json_document, "json"),
    "csv": (csv_tables, "csv"),
    "xlsx": (workbook, "xlsx"),
    "pdf": (pdf, "pdf"),
    "sci": (sci, "sci.json"),
    "huggingface": (huggingface, "huggingface.yaml"),
    "ai-act": (ai_act, "ai-act.csv"),
    "cyclonedx": (cyclonedx, "cdx.json"),
    "spdx": (spdx, "spdx.json"),
    "focus": (focus, "focus.csv"),
}

FORMATS: Final[Mapping[str, Format]] = {
    name: Format(name, suffix, module.MEDIA_TYPE, module) for name, (module, suffix) in _MODULES.items()
}
"""Every format by the name that it is asked for with; a later one is one more module here."""

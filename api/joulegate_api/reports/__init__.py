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
from joulegate_api.reports import csv_tables, json_document, pdf, web_page, workbook


@dataclass(frozen=True, slots=True)
class Format:
    """How a report is written: a module with ``MEDIA_TYPE`` and ``render(report) -> bytes``."""

    name: str
    media_type: str
    module: ModuleType

    def render(self, report: AuditReport) -> bytes:
        """The bytes of a report: the same for the same report."""
        written: bytes = self.module.render(report)
        return written


def _formats(**modules: ModuleType) -> Mapping[str, Format]:
    return {name: Format(name, module.MEDIA_TYPE, module) for name, module in modules.items()}


FORMATS: Final = _formats(html=web_page, json=json_document, csv=csv_tables, xlsx=workbook, pdf=pdf)
"""Every format by the name that it is asked for with; a later one is one more module here."""

"""Carbon of models as ``co2_eq_emissions`` of a model card on the Hugging Face Hub: YAML, grams of CO2e.

Source: the Hub's documentation of model cards, "CO2 emissions". Strings are escaped to ASCII, so
that none is more than text. One document for each model; training and fine-tuning only: the field is of those.
"""

from __future__ import annotations

from itertools import groupby
from typing import Final

from joulegate.core.audit import AuditReport
from joulegate_api.reports.by_model import Use, uses_of
from joulegate_api.reports.disclosure import disclosed
from joulegate_api.reports.measures import grams, written
from joulegate_api.reports.sections import STATEMENT

MEDIA_TYPE: Final = "application/yaml"
_BASIC: Final = 0xFFFF
_TRAINING: Final = ("training", "fine-tuning")


def render(report: AuditReport) -> bytes:
    """The bytes of the documents; a model whose carbon is not known has no figure, and a comment that says so."""
    trained = [use for use in uses_of(report) if use.kind in _TRAINING]
    parts = [f"# {STATEMENT}\n# Digest of the report: {report.digest}\n"]
    parts += [f"# {name}: {_text(value)}\n" for name, value in disclosed(report).items()]
    for model, own in groupby(trained, key=lambda use: use.model):
        parts.append(_card(report, model, list(own)))
    if not trained:
        parts.append("# No run of training or fine-tuning lies in this report.\n")
    return "".join(parts).encode()


def _card(report: AuditReport, model: str, own: list[Use]) -> str:
    lines = ["---", f"model_name: {_text(model)}"]
    priced = [use.carbon_ug for use in own if use.carbon_ug is not None]
    kind = "pre-training" if any(use.kind == "training" for use in own) else "fine-tuning"
    zones = sorted(
        {row.what.rpartition(" in zone ")[2].partition(":")[0] for row in report.rates if row.kind == "site"}
    )
    if priced:
        lines += ["co2_eq_emissions:", f"  emissions: {written(grams(sum(priced)))}"]
        source = "; ".join(use.caveats for use in own) + "; carbon location-based, PUE included"
        lines.append(f"  source: {_text(f'{report.software}; {source}')}")
        lines.append(f"  training_type: {_text(kind)}")
        lines.append(f"  geographical_location: {_text(', '.join(zones))}")
        lines.append(f"  hardware_used: {_text(', '.join(sorted({device.model for device in report.devices})))}")
    missing = sum(use.carbon_unknown for use in own)
    if missing:
        lines.append(f"# {missing} quarter-hours of a device are not priced, and not in any figure.")
    return "\n".join(lines) + "\n"


def _text(text: str) -> str:
    """A double-quoted scalar of printable ASCII (YAML 1.2, 5.7): every other character is an escape of its code."""
    return '"' + "".join(_letter(letter) for letter in text) + '"'


def _letter(letter: str) -> str:
    code = ord(letter)
    if letter in '"\\':
        return "\\" + letter
    return letter if " " <= letter <= "~" else f"\\u{code:04x}" if code <= _BASIC else f"\\U{code:08x}"

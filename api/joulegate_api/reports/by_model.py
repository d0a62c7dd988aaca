"""A report's runs by model and kind of work, for formats that speak of models: energy at the accelerators.

Failed and cancelled runs belong to their model. Other boundaries are left out: they are never added.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from joulegate.core.audit import AuditReport
from joulegate.core.metering import Boundary
from joulegate.core.periods import ns_between
from joulegate.core.tallies import TIER_OF, RunRow, Tier, Total

NOT_TOLD: Final = "model not told"


@dataclass(frozen=True, slots=True)
class Use:
    """What one model took for one kind of work; ``None`` is known of no run, ``unknown`` counts quarter-hours without.

    Carbon is location-based and includes PUE; energy is of the accelerators and does not.
    """

    model: str
    kind: str
    runs: tuple[RunRow, ...]
    energy_mj: int | None
    energy_unknown: int
    carbon_ug: int | None
    carbon_unknown: int
    gpu_ns: int
    missing_ns: int

    @property
    def began(self) -> datetime:
        """When the first run began."""
        return min(run.started_at for run in self.runs)

    @property
    def ended(self) -> datetime:
        """When the last run ended."""
        return max(run.ended_at for run in self.runs)

    @property
    def wall_ns(self) -> int:
        """The runs' lengths, added up; runs beside each other count twice."""
        return sum(ns_between(run.started_at, run.ended_at) for run in self.runs)

    @property
    def unfinished(self) -> int:
        """Runs that failed or were cancelled; they are counted like the others."""
        return sum(run.outcome != "succeeded" for run in self.runs)

    @property
    def how(self) -> str:
        """The weakest way in which a part of the energy is known."""
        tiers = {TIER_OF.get(method, Tier.MEASURED) for run in self.runs for method in run.methods}
        return next((tier.value for tier in reversed(list(Tier)[:3]) if tier in tiers), Tier.NOT_MEASURED.value)

    @property
    def caveats(self) -> str:
        """Boundary, method, coverage in one sentence."""
        methods = ", ".join(sorted({method.value for run in self.runs for method in run.methods}))
        gaps = f"{self.missing_ns} of {self.gpu_ns} ns of device time were not measured and are not in the sum"
        return (
            f"boundary accelerator; {self.how} ({methods}); {gaps if self.missing_ns else 'every interval has energy'};"
            f" {len(self.runs)} runs, of which {self.unfinished} failed or were cancelled"
        )


def uses_of(report: AuditReport) -> tuple[Use, ...]:
    """One row for each model and kind of work, in alphabetical order."""
    found: dict[tuple[str, str], list[RunRow]] = {}
    for run in report.runs:
        if any(total.boundary is Boundary.ACCELERATOR for total in run.totals):
            found.setdefault((run.model or NOT_TOLD, run.kind), []).append(run)
    return tuple(_use(*key, runs) for key, runs in sorted(found.items()))


def _use(model: str, kind: str, runs: Sequence[RunRow]) -> Use:
    own: list[Total] = [each for run in runs for each in run.totals if each.boundary is Boundary.ACCELERATOR]
    energy = [each.energy_mj for each in own if each.energy_mj is not None]
    carbon = [each.carbon_location_ug for each in own if each.carbon_location_ug is not None]
    return Use(
        model=model,
        kind=kind,
        runs=tuple(runs),
        energy_mj=sum(energy) if energy else None,
        energy_unknown=sum(each.energy_unknown for each in own),
        carbon_ug=sum(carbon) if carbon else None,
        carbon_unknown=sum(each.carbon_location_unknown for each in own),
        gpu_ns=sum(each.gpu_ns for each in own),
        missing_ns=sum(each.missing_ns for each in own),
    )


def json_bytes(document: object) -> bytes:
    """A document as the JSON formats write it."""
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()

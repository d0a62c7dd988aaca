"""Electricity Maps, API v3: hourly intensity of consumption, flow-traced; a token of a paid plan.

Source of the format: portal.electricitymaps.com/developer-hub/api/reference, `GET
/v3/carbon-intensity/past-range`: at most 10 days at once, ``carbonIntensity`` in gCO2eq/kWh.
Estimates are not asked for: an hour that was not measured stays unknown.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from joulegate.core.errors import InvalidInputError
from joulegate.core.footprint import Reference
from joulegate.core.periods import Period, format_instant
from joulegate.live import Fetched, Point, What, fetched
from joulegate.live.asking import ask, instant, listed, number, stretches

ADDRESS: Final = "https://api.electricitymaps.com"
_MOST: Final = timedelta(days=10)
_HOUR: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class ElectricityMaps:
    """Asks with a token; ``boundary`` is ``direct`` or ``lifecycle``."""

    token: str = field(repr=False)
    boundary: str = "lifecycle"
    address: str = ADDRESS
    name: str = "electricity-maps"

    def fetch(self, zone: str, period: Period, now: datetime) -> Fetched:
        """Hourly intensities; see :class:`joulegate.live.IntensitySource`."""
        points: list[Point] = []
        references: dict[datetime, Reference] = {}
        for part in stretches(period, _MOST):
            query = {
                "zone": zone,
                "start": format_instant(part.start),
                "end": format_instant(part.end),
                "temporalGranularity": "hourly",
                "emissionFactorType": self.boundary,
                "disableEstimations": "true",
            }
            answer = ask(f"{self.address}/v3/carbon-intensity/past-range", query, {"auth-token": self.token})
            for row in listed(answer, "data"):
                if row.get("zone") != zone or row.get("emissionFactorType") != self.boundary:
                    told = f"{row.get('zone')!r}, {row.get('emissionFactorType')!r}"
                    raise InvalidInputError(f"asked for {zone}, {self.boundary}, and got {told}", answer.address)
                start = instant(row.get("datetime"), answer.address)
                measured = None if row.get("isEstimated") else number(row.get("carbonIntensity"), answer.address)
                points.append(Point(start, _HOUR, measured))
                references[start] = Reference(
                    dataset="Electricity Maps API v3, carbon intensity, hourly",
                    version=str(row.get("updatedAt") or format_instant(now)),
                    publisher="Electricity Maps ApS",
                    licence="terms of the subscription",
                    source=answer.address,
                    attribution="Electricity Maps",
                    sha256=answer.sha256,
                )
        return fetched(zone, period, points, What(self.boundary, "consumption", "average", "unspecified"), references)

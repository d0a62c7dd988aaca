"""The Carbon Intensity API of Great Britain's system operator: half-hours, without a key.

Source of the format: carbon-intensity.github.io/api-definitions, `GET /intensity/{from}/{to}`: at most
14 days at once; ``actual`` in gCO2/kWh is null until it is known. Forecasts price nothing. The figures
hold generation with imports and losses, national; Northern Ireland is another system.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from joulegate.core.errors import InvalidInputError
from joulegate.core.footprint import Reference
from joulegate.core.periods import Period, format_instant
from joulegate.live import Fetched, Point, What, fetched
from joulegate.live.asking import ask, instant, listed, number, stretches

ADDRESS: Final = "https://api.carbonintensity.org.uk"
ZONE: Final = "GB"
_MOST: Final = timedelta(days=14)
_FORM: Final = "%Y-%m-%dT%H:%MZ"


@dataclass(frozen=True, slots=True)
class GreatBritain:
    """Asks for the national intensity."""

    address: str = ADDRESS
    name: str = "great-britain"

    def fetch(self, zone: str, period: Period, now: datetime) -> Fetched:
        """Half-hourly intensities; see :class:`joulegate.live.IntensitySource`."""
        if zone != ZONE:
            raise InvalidInputError(f"knows the zone {ZONE} alone, not {zone!r}", "zone")
        points: list[Point] = []
        references: dict[datetime, Reference] = {}
        for part in stretches(period, _MOST):
            answer = ask(f"{self.address}/intensity/{part.start:{_FORM}}/{part.end:{_FORM}}", {}, {})
            reference = Reference(
                dataset="Carbon Intensity API, national, actual",
                version=format_instant(now),
                publisher="National Energy System Operator",
                licence="CC-BY-4.0",
                source=answer.address,
                attribution="Carbon Intensity API, National Energy System Operator, CC BY 4.0",
                sha256=answer.sha256,
            )
            for row in listed(answer, "data"):
                start, end = (instant(row.get(name), answer.address) for name in ("from", "to"))
                if not part.holds(start):
                    continue  # the half-hour before is given too
                known = row.get("intensity")
                if not isinstance(known, dict):
                    raise InvalidInputError("a half-hour has no `intensity`", answer.address)
                points.append(Point(start, end - start, number(known.get("actual"), answer.address)))
                references[start] = reference
        return fetched(zone, period, points, What("direct", "consumption", "average", "co2_only"), references)

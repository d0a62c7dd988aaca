"""A series of a Prometheus server of one's own: what it means has to be told, because the series does not say.

Source of the format: prometheus.io/docs/prometheus/latest/querying/api, `GET /api/v1/query_range`, result
type ``matrix``. The value at a quarter-hour's begin is taken for the whole of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any, Final

from joulegate.core.errors import InvalidInputError
from joulegate.core.footprint import Reference
from joulegate.core.periods import QUARTER, Period, format_instant
from joulegate.live import Fetched, Point, What, fetched
from joulegate.live.asking import Answer, ask, listed, number, stretches

_MOST: Final = timedelta(days=100)
"""9,600 points; a server answers at most 11,000 for a series."""


@dataclass(frozen=True, slots=True)
class Prometheus:
    """Asks ``query`` of the server at ``address``; its values are in g/kWh and are ``what`` of ``publisher``."""

    address: str
    query: str
    what: What
    publisher: str
    licence: str
    token: str | None = field(default=None, repr=False)
    name: str = "prometheus"

    def fetch(self, zone: str, period: Period, now: datetime) -> Fetched:
        """Quarter-hourly intensities; see :class:`joulegate.live.IntensitySource`."""
        points: list[Point] = []
        references: dict[datetime, Reference] = {}
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        for part in stretches(period, _MOST):
            query = {
                "query": self.query,
                "start": format_instant(part.start),
                "end": format_instant(part.end - QUARTER),
                "step": str(QUARTER.seconds),
            }
            answer = ask(f"{self.address}/api/v1/query_range", query, headers)
            reference = Reference(
                dataset=f"Prometheus: {self.query}"[:253],
                version=format_instant(now),
                publisher=self.publisher,
                licence=self.licence,
                source=answer.address[:1_000],
                sha256=answer.sha256,
            )
            for at, text in _samples(answer):
                start = _moment(at, answer.address)
                points.append(Point(start, QUARTER, _value(text, answer.address)))
                references[start] = reference
        return fetched(zone, period, points, self.what, references)


def _samples(answer: Answer) -> list[Any]:
    told = answer.value if isinstance(answer.value, dict) else {}
    if told.get("status") != "success":
        raise InvalidInputError(f"the status is {told.get('status')!r}", answer.address)
    series = listed(answer, "data", "result")
    if len(series) > 1:
        raise InvalidInputError(f"the query selects {len(series)} series; it has to select one", answer.address)
    samples = series[0].get("values") if series else []
    if not isinstance(samples, list) or not all(isinstance(item, list) and len(item) == _PAIR for item in samples):
        raise InvalidInputError("the series has no list of `values`", answer.address)
    return samples


_PAIR: Final = 2


def _moment(at: object, where: str) -> datetime:
    try:
        return datetime.fromtimestamp(float(str(at)), UTC)
    except (ValueError, OverflowError, OSError):
        raise InvalidInputError(f"{str(at)[:60]!r} is not an instant", where) from None


def _value(text: object, where: str) -> Fraction | None:
    if text in ("NaN", "+Inf", "-Inf"):
        return None
    try:
        return number(Decimal(str(text)), where)
    except InvalidOperation:
        raise InvalidInputError(f"{str(text)[:60]!r} is not a sample", where) from None

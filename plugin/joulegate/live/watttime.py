"""WattTime, API v3: five-minute rates in pounds of CO2 per MWh; a subscription.

Source of the format: docs.watttime.org, `GET /login` (basic authentication, answers a token) and `GET
/v3/historical`. ``co2_moer`` is the marginal rate: it informs and prices nothing. ``co2_aoer`` is
the average. 1 lb/MWh = 0.45359237 g/kWh exactly (international pound).
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Final

from joulegate.core.errors import InvalidInputError
from joulegate.core.footprint import AVERAGE, Reference
from joulegate.core.periods import Period, format_instant
from joulegate.live import Fetched, Point, What, fetched
from joulegate.live.asking import Answer, ask, instant, listed, number, stretches

ADDRESS: Final = "https://api.watttime.org"
G_PER_KWH: Final = Fraction(45_359_237, 100_000_000)
"""Of one pound per MWh."""

SIGNALS: Final = {"co2_moer": "srmer", "co2_aoer": AVERAGE}
_MOST: Final = timedelta(days=32)
_LONGEST_STEP_S: Final = 3_600


@dataclass(frozen=True, slots=True)
class WattTime:
    """Asks for ``signal`` with the name and password of an account."""

    user: str
    password: str = field(repr=False)
    signal: str = "co2_moer"
    address: str = ADDRESS
    name: str = "watttime"

    def fetch(self, zone: str, period: Period, now: datetime) -> Fetched:
        """Rates, averaged over quarter-hours; see :class:`joulegate.live.IntensitySource`."""
        if self.signal not in SIGNALS:
            raise InvalidInputError(f"{self.signal!r} is none of {', '.join(SIGNALS)}", "signal")
        headers = {"Authorization": f"Bearer {self._token()}"}
        points: list[Point] = []
        references: dict[datetime, Reference] = {}
        for part in stretches(period, _MOST):
            query = {"region": zone, "start": format_instant(part.start), "end": format_instant(part.end)}
            answer = ask(f"{self.address}/v3/historical", query | {"signal_type": self.signal}, headers)
            reference, step = self._about(answer, zone, now)
            for row in listed(answer, "data"):
                start = instant(row.get("point_time"), answer.address)
                if not part.holds(start):
                    continue  # the end is given too
                value = number(row.get("value"), answer.address)
                points.append(Point(start, step, None if value is None else value * G_PER_KWH))
                references[start] = reference
        return fetched(zone, period, points, What("direct", "production", SIGNALS[self.signal], "co2_only"), references)

    def _token(self) -> str:
        proof = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        answer = ask(f"{self.address}/login", {}, {"Authorization": f"Basic {proof}"})
        token = answer.value.get("token") if isinstance(answer.value, dict) else None
        if not isinstance(token, str) or not token.isprintable():
            raise InvalidInputError("the login answered without a token", answer.address)
        return token

    def _about(self, answer: Answer, zone: str, now: datetime) -> tuple[Reference, timedelta]:
        meta = answer.value.get("meta") if isinstance(answer.value, dict) else None
        told = meta if isinstance(meta, dict) else {}
        expected = {"region": zone, "signal_type": self.signal, "units": "lbs_co2_per_mwh"}
        for name, value in expected.items():
            if told.get(name) != value:
                raise InvalidInputError(f"meta.{name} is {told.get(name)!r}, not {value!r}", answer.address)
        seconds = told.get("data_point_period_seconds")
        if not isinstance(seconds, int) or not 0 < seconds <= _LONGEST_STEP_S:
            raise InvalidInputError(f"meta.data_point_period_seconds is {seconds!r}", answer.address)
        model = told.get("model")
        version = model.get("date") if isinstance(model, dict) else None
        reference = Reference(
            dataset=f"WattTime API v3, {self.signal}",
            version=f"model {version}" if version else format_instant(now),
            publisher="WattTime",
            licence="terms of the subscription",
            source=answer.address,
            attribution="WattTime",
            sha256=answer.sha256,
        )
        return reference, timedelta(seconds=seconds)

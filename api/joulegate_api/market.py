"""Carbon in columns that are never added: by location, by instruments and residual mix, and embodied as a range."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from joulegate.core.embodied import EmbodiedRange, embodied_of
from joulegate.core.errors import InvalidInputError, NotPermittedError
from joulegate.core.instruments import MarketBased, market_based
from joulegate.core.metering import Boundary
from joulegate.core.periods import Period, quarter_of
from joulegate.core.units import NS_PER_HOUR
from joulegate.packs import embodied_figures
from joulegate.schema import STRICT, Moment, Text
from joulegate_api.bodies import Body
from joulegate_api.context import Caller, Parts, answer
from joulegate_api.store import RecordFilters, Store
from joulegate_api.store.slices import PricedSlice

_HOURS_PER_YEAR: Final = 8_760

router = APIRouter(tags=["rates"])


@dataclass(frozen=True, slots=True)
class MarketQuery:
    """Which UTC quarter-hours, and how long an accelerator is expected to live (SCI: EL); nothing is assumed of it."""

    __pydantic_config__ = STRICT
    since: Moment
    until: Moment
    life_years: Annotated[str, Text(3, "^[1-9][0-9]{0,2}$")] | None = None


QUERY: Final = Body(MarketQuery)


@dataclass(frozen=True, slots=True)
class CarbonColumns:
    """The columns of a period; ``location_unknown`` counts slices whose location-based carbon is not known.

    ``water_ul`` is by the sites' WUE over the accelerators' energy, ``water_unknown`` counts slices without one.
    """

    period: Period
    location_ug: int | None
    location_unknown: int
    market: MarketBased
    embodied: tuple[EmbodiedRange, ...]
    water_ul: int | None
    water_unknown: int


@router.get("/v1/market")
def get_market(request: Request, parts: Parts, caller: Caller) -> JSONResponse:
    """Location-based, market-based with instruments, and embodied carbon of all records of a period.

    Of everything only: of one namespace nobody can say what an organisation's instruments cover.
    """
    if not caller.sees_everything:
        raise NotPermittedError(f"{caller.name} sees some namespaces only, and instruments cover all of them")
    query = QUERY.read_parameters(request.query_params.multi_items())
    if query.until <= query.since:
        raise InvalidInputError("must be after since", "until")
    for name, instant in (("since", query.since), ("until", query.until)):
        if quarter_of(instant) != instant:
            raise InvalidInputError("must be on a quarter-hour in UTC, such as the begin of a day", name)
    life = int(query.life_years) * _HOURS_PER_YEAR * NS_PER_HOUR if query.life_years else None
    return answer(columns(parts.store, Period(query.since, query.until), life))


def columns(store: Store, period: Period, expected_life_ns: int | None) -> CarbonColumns:
    """The columns of everything that is recorded in ``period``."""
    slices = [part for part in _slices(store, period) if part.boundary is Boundary.ACCELERATOR]
    measured = [part.footprint for part in slices if part.footprint.energy is not None]
    waters = [
        part.rates.site.water_ul(part.footprint.energy) if part.rates.site else None
        for part in slices
        if part.footprint.energy is not None
    ]
    told = [water for water in waters if water is not None]
    known = [found.carbon_location.ug for found in measured if found.carbon_location is not None]
    return CarbonColumns(
        period=period,
        location_ug=sum(known) if known else None,
        location_unknown=len(measured) - len(known),
        market=market_based(slices, store.rates.instruments(), period),
        embodied=embodied_of(slices, embodied_figures(), expected_life_ns),
        water_ul=sum(told) if told else None,
        water_unknown=len(waters) - len(told),
    )


def _slices(store: Store, period: Period) -> Iterator[PricedSlice]:
    filters = RecordFilters(until=period.end, ended_after=period.start)
    cursor: str | None = None
    while True:
        page = store.records.list(filters, cursor, limit=1_000)
        for stored in page.records:
            yield from (part for part in stored.slices if period.holds(part.quarter))
        cursor = page.cursor
        if cursor is None:
            return

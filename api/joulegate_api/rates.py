"""Factors, prices, sites and instruments: dated, sourced and licensed rows, added in sets and never edited."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from http import HTTPStatus
from typing import Any, Final, TypeVar

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from joulegate.core.errors import InvalidInputError
from joulegate.core.footprint import GridIntensity, Price, Reference, Site
from joulegate.core.instruments import Instrument
from joulegate.rates import (
    FactorsBody,
    InstrumentBody,
    InstrumentsBody,
    IntensityBody,
    PriceBody,
    PricesBody,
    SiteBody,
    SitesBody,
)
from joulegate_api.auth import Principal
from joulegate_api.bodies import Body, Raw, parse
from joulegate_api.context import Caller, Context, Parts, answer, takes
from joulegate_api.second_person import ChangeKind, must_wait, propose
from joulegate_api.store import Change, PutRates

FACTORS: Final = Body(FactorsBody)
PRICES: Final = Body(PricesBody)
SITES: Final = Body(SitesBody)
INSTRUMENTS: Final = Body(InstrumentsBody)

router = APIRouter(tags=["rates"])

Row = TypeVar("Row", GridIntensity, Price, Site, Instrument)
_RowBody = IntensityBody | PriceBody | SiteBody | InstrumentBody


@router.get("/v1/factors")
def list_factors(parts: Parts) -> JSONResponse:
    """Every carbon intensity that is known."""
    return answer({"rows": parts.store.rates.book().intensities})


@router.put("/v1/factors", openapi_extra=takes(FACTORS.reference))
def put_factors(raw: Raw, parts: Parts, caller: Caller) -> JSONResponse:
    """Add a set of carbon intensities; a row that is there already changes nothing."""
    return _put(ChangeKind.FACTORS, raw, parts, caller)


@router.get("/v1/prices")
def list_prices(parts: Parts) -> JSONResponse:
    """Every price that is known."""
    return answer({"rows": parts.store.rates.book().prices})


@router.put("/v1/prices", openapi_extra=takes(PRICES.reference))
def put_prices(raw: Raw, parts: Parts, caller: Caller) -> JSONResponse:
    """Add a set of prices; a row that is there already changes nothing."""
    return _put(ChangeKind.PRICES, raw, parts, caller)


@router.get("/v1/sites")
def list_sites(parts: Parts) -> JSONResponse:
    """Every site with its zone and PUE."""
    return answer({"rows": parts.store.rates.book().sites})


@router.put("/v1/sites", openapi_extra=takes(SITES.reference))
def put_sites(raw: Raw, parts: Parts, caller: Caller) -> JSONResponse:
    """Add a set of sites; a row that is there already changes nothing."""
    return _put(ChangeKind.SITES, raw, parts, caller)


@router.get("/v1/instruments")
def list_instruments(parts: Parts) -> JSONResponse:
    """Every certificate and contract that covers electricity."""
    return answer({"rows": parts.store.rates.instruments()})


@router.put("/v1/instruments", openapi_extra=takes(INSTRUMENTS.reference))
def put_instruments(raw: Raw, parts: Parts, caller: Caller) -> JSONResponse:
    """Add a set of certificates and contracts; a row that is there already changes nothing."""
    return _put(ChangeKind.INSTRUMENTS, raw, parts, caller)


def make(change: Change, parts: Context) -> PutRates:
    """Add the rows of a change that was approved."""
    return _add(ChangeKind(change.kind), json.dumps(change.body).encode(), parts, change.requested_by)


def _put(kind: ChangeKind, raw: bytes, parts: Context, caller: Principal) -> JSONResponse:
    if must_wait(caller, parts):
        count = len(_READ[kind](raw))
        return propose(kind, f"{count} rows", parse(raw), caller, parts)
    done = _add(kind, raw, parts, caller.name)
    return answer(done, HTTPStatus.CREATED if done.added else HTTPStatus.OK)


def _add(kind: ChangeKind, raw: bytes, parts: Context, principal: str) -> PutRates:
    shelf = parts.store.rates
    put: dict[ChangeKind, Callable[[Any, str], PutRates]] = {
        ChangeKind.FACTORS: shelf.put_intensities,
        ChangeKind.PRICES: shelf.put_prices,
        ChangeKind.SITES: shelf.put_sites,
        ChangeKind.INSTRUMENTS: shelf.put_instruments,
    }
    return put[kind](_READ[kind](raw), principal)


def _rows(kind: type[Row], bodies: Sequence[_RowBody]) -> list[Row]:
    if not bodies:
        raise InvalidInputError("holds no row", "rows")
    return [_row(kind, body, f"rows.{index}") for index, body in enumerate(bodies)]


def _row(kind: type[Row], body: _RowBody, where: str) -> Row:
    if body.valid_to <= body.valid_from:
        raise InvalidInputError("must be after valid_from", f"{where}.valid_to")
    values: dict[str, Any] = {part.name: getattr(body, part.name) for part in fields(body)}
    try:
        return kind(**values | {"reference": Reference(**asdict(body.reference))})
    except InvalidInputError as error:
        raise InvalidInputError(error.message, f"{where}.{error.field}") from error


def _one_rule(rows: Sequence[Price]) -> Sequence[Price]:
    """A price book pays for one thing: energy, or time; never both."""
    for index, row in enumerate(rows):
        if row.rule is not rows[0].rule:
            raise InvalidInputError("one rule a price book, electricity or gpu_hours, never both", f"rows.{index}.rule")
    return rows


_READ: Final[Mapping[ChangeKind, Callable[[bytes], Sequence[Any]]]] = {
    ChangeKind.FACTORS: lambda raw: _rows(GridIntensity, FACTORS.read(raw).rows),
    ChangeKind.PRICES: lambda raw: _one_rule(_rows(Price, PRICES.read(raw).rows)),
    ChangeKind.SITES: lambda raw: _rows(Site, SITES.read(raw).rows),
    ChangeKind.INSTRUMENTS: lambda raw: _rows(Instrument, INSTRUMENTS.read(raw).rows),
}

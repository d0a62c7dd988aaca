"""The routes of reports."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response, StreamingResponse

from joulegate.core.audit import AuditReport, EmbodiedBy, PackOf, Query
from joulegate.core.errors import InvalidInputError, NotFoundError, NotPermittedError
from joulegate.core.inferiority import Comparing
from joulegate.core.periods import Period
from joulegate.core.scopes import parse_scope
from joulegate.packs import embodied_sha256, pack_named
from joulegate.schema import STRICT, Count, Items, Line, Moment
from joulegate_api.auth import AUDITORS, Principal
from joulegate_api.bodies import Body, Raw
from joulegate_api.context import Caller, Context, Parts, answer, takes
from joulegate_api.records import visible
from joulegate_api.reports import FORMATS, bundle
from joulegate_api.reports.making import id_of, make, make_again, read_id, with_tree
from joulegate_api.store import RecordFilters

router = APIRouter(tags=["reports"])


@dataclass(frozen=True, slots=True)
class ReportBody:
    """``POST /v1/reports``: what lies in [``since``, ``until``), quarter-hours in UTC, of one namespace or of all.

    ``scope`` is ``organisation`` or ``team:``, ``namespace:``, ``pipeline:``, ``model:`` or ``run:`` and a name.
    ``compare`` names variants, the baseline first; ``margin`` is by how much of its figure of merit one may be
    worse (a decimal). ``against`` names a factor pack that the same energy is priced by beside. ``life_years`` is
    the expected life of an accelerator, which asks for the range of its embodied carbon.
    """

    __pydantic_config__ = STRICT
    since: Moment
    until: Moment
    namespace: Line | None = None
    scope: Line | None = None
    compare: Annotated[tuple[Line, ...], Items(20)] = ()
    margin: Line | None = None
    work: Line | None = None
    quality: Line | None = None
    against: Line | None = None
    life_years: Annotated[int, Count(1, 999)] | None = None


REPORT: Final = Body(ReportBody)
_DECIMAL: Final = re.compile(r"\d{1,9}(\.\d{1,9})?", re.ASCII)


@router.post("/v1/reports", openapi_extra=takes(REPORT.reference))
def post_report(raw: Raw, parts: Parts, caller: Caller) -> JSONResponse:
    """Make a report; its id says what it is of and as of when, so that the same one can be had again."""
    report = make(parts.store, _query(REPORT.read(raw), parts, caller))
    bundle.tell(parts.store, report, caller.name)
    body = {
        "id": id_of(report),
        "formats": [*FORMATS, *([bundle.NAME] if _may_audit(caller) and parts.keeper.keys() else [])],
        "suffixes": {name: form.suffix for name, form in FORMATS.items()},
        "recomputed": report.recomputed,
        "records": len(report.runs),
        "as_of": report.as_of,
        "digest": report.digest,
    }
    return answer(body, HTTPStatus.CREATED)


@router.get("/v1/reports/{report_id}.{name}")
def get_report(report_id: str, name: str, parts: Parts, caller: Caller) -> Response:
    """A report in one of its formats; byte for byte the same each time."""
    form = FORMATS.get(name)
    if form is None and name != bundle.NAME:
        raise NotFoundError(f"a report has no format {name[:60]!r}; it has {', '.join(FORMATS)}")
    query, _, _ = read_id(report_id)
    if _seen(query.namespace, parts, caller) != query.namespace:  # all namespaces are not for who sees one
        raise NotPermittedError(f"{caller.name} sees some namespaces only, and this report is of all")
    report = make_again(parts.store, report_id)
    if form is None:
        return _bundle(report_id, parts, caller, report)
    content = form.render(with_tree(parts.store, parts.keeper, report))
    return Response(content, media_type=form.media_type, headers={"Content-Disposition": _inline(report_id, name)})


def _bundle(report_id: str, parts: Context, caller: Principal, report: AuditReport) -> Response:
    """A bundle holds the whole log, so it is for auditors of everything."""
    if not _may_audit(caller):
        raise NotPermittedError(f"{caller.name} is no auditor of all namespaces, and a bundle holds the log of all")
    file = bundle.make(parts.store, parts.keeper, report)
    headers = {"Content-Disposition": f'attachment; filename="{report_id}.bundle.zip"'}
    return StreamingResponse(bundle.pieces_of(file), media_type=bundle.MEDIA_TYPE, headers=headers)


def _query(asked: ReportBody, parts: Context, caller: Principal) -> Query:
    """What is reported; raises :class:`InvalidInputError` for what contradicts itself."""
    namespace, scope = parse_scope(asked.scope) if asked.scope is not None else (None, None)
    if namespace and asked.namespace and namespace != asked.namespace:
        raise InvalidInputError("names another namespace than the scope", "namespace")
    comparing = None
    if asked.compare:
        margin = None if asked.margin is None else _margin(asked.margin)
        comparing = Comparing(asked.compare, margin, asked.work, asked.quality)
    elif asked.margin is not None:
        raise InvalidInputError("says nothing without variants to compare", "margin")
    against = None
    if asked.against is not None:
        against = PackOf(asked.against, pack_named(asked.against).rows_sha256)
    seen = _seen(namespace or asked.namespace, parts, caller)
    embodied = None if asked.life_years is None else EmbodiedBy(embodied_sha256(), asked.life_years)
    return Query(Period(asked.since, asked.until), seen, scope, comparing, against, embodied)


def _margin(text: str) -> Fraction:
    if not _DECIMAL.fullmatch(text):
        raise InvalidInputError("must be a decimal such as 0.01", "margin")
    return Fraction(text)


def _may_audit(caller: Principal) -> bool:
    return bool(caller.roles & AUDITORS) and caller.sees_everything


def _seen(namespace: str | None, parts: Context, caller: Principal) -> str | None:
    """The namespace that is reported; raises :class:`NotPermittedError` where the caller may not see it."""
    return visible(RecordFilters(namespace=namespace), caller, parts).namespace


def _inline(report_id: str, name: str) -> str:
    return f'inline; filename="{report_id}.{name}"'

"""The routes of reports."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from joulegate.core.audit import Query
from joulegate.core.errors import NotFoundError, NotPermittedError
from joulegate.core.periods import Period
from joulegate.schema import STRICT, Line, Moment
from joulegate_api.auth import Principal
from joulegate_api.bodies import Body, Raw
from joulegate_api.context import Caller, Context, Parts, answer, takes
from joulegate_api.records import visible
from joulegate_api.reports import FORMATS
from joulegate_api.reports.making import id_of, make, make_again, read_id
from joulegate_api.store import RecordFilters

router = APIRouter(tags=["reports"])


@dataclass(frozen=True, slots=True)
class ReportBody:
    """``POST /v1/reports``: what lies in [``since``, ``until``), quarter-hours in UTC, of one namespace or of all."""

    __pydantic_config__ = STRICT
    since: Moment
    until: Moment
    namespace: Line | None = None


REPORT: Final = Body(ReportBody)


@router.post("/v1/reports", openapi_extra=takes(REPORT.reference))
def post_report(raw: Raw, parts: Parts, caller: Caller) -> JSONResponse:
    """Make a report; its id says what it is of and as of when, so that the same one can be had again."""
    asked = REPORT.read(raw)
    namespace = _seen(asked.namespace, parts, caller)
    report = make(parts.store, Query(Period(asked.since, asked.until), namespace))
    body = {
        "id": id_of(report),
        "formats": list(FORMATS),
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
    if form is None:
        raise NotFoundError(f"a report has no format {name[:60]!r}; it has {', '.join(FORMATS)}")
    query, _, _ = read_id(report_id)
    if _seen(query.namespace, parts, caller) != query.namespace:  # all namespaces are not for who sees one
        raise NotPermittedError(f"{caller.name} sees some namespaces only, and this report is of all")
    content = form.render(make_again(parts.store, report_id))
    return Response(content, media_type=form.media_type, headers={"Content-Disposition": _inline(report_id, name)})


def _seen(namespace: str | None, parts: Context, caller: Principal) -> str | None:
    """The namespace that is reported; raises :class:`NotPermittedError` where the caller may not see it."""
    return visible(RecordFilters(namespace=namespace), caller, parts).namespace


def _inline(report_id: str, name: str) -> str:
    return f'inline; filename="{report_id}.{name}"'

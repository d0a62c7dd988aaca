"""The routes of reports."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response, StreamingResponse

from joulegate.core.audit import AuditReport, Query
from joulegate.core.errors import NotFoundError, NotPermittedError
from joulegate.core.periods import Period
from joulegate.schema import STRICT, Line, Moment
from joulegate_api.auth import AUDITORS, Principal
from joulegate_api.bodies import Body, Raw
from joulegate_api.context import Caller, Context, Parts, answer, takes
from joulegate_api.records import visible
from joulegate_api.reports import FORMATS, bundle
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
    bundle.tell(parts.store, report, caller.name)
    body = {
        "id": id_of(report),
        "formats": [*FORMATS, *([bundle.NAME] if _may_audit(caller) and parts.keeper.keys() else [])],
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
    content = form.render(report)
    return Response(content, media_type=form.media_type, headers={"Content-Disposition": _inline(report_id, name)})


def _bundle(report_id: str, parts: Context, caller: Principal, report: AuditReport) -> Response:
    """A bundle holds the whole log, so it is for auditors of everything."""
    if not _may_audit(caller):
        raise NotPermittedError(f"{caller.name} is no auditor of all namespaces, and a bundle holds the log of all")
    file = bundle.make(parts.store, parts.keeper, report)
    headers = {"Content-Disposition": f'attachment; filename="{report_id}.bundle.zip"'}
    return StreamingResponse(bundle.pieces_of(file), media_type=bundle.MEDIA_TYPE, headers=headers)


def _may_audit(caller: Principal) -> bool:
    return bool(caller.roles & AUDITORS) and caller.sees_everything


def _seen(namespace: str | None, parts: Context, caller: Principal) -> str | None:
    """The namespace that is reported; raises :class:`NotPermittedError` where the caller may not see it."""
    return visible(RecordFilters(namespace=namespace), caller, parts).namespace


def _inline(report_id: str, name: str) -> str:
    return f'inline; filename="{report_id}.{name}"'

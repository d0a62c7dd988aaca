"""The routes of the pages, and what a browser is told where a page cannot be shown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Final
from urllib.parse import urlencode

from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles

import joulegate
from joulegate.core import display
from joulegate.core.audit import Query as ReportQuery
from joulegate.core.comparison import PER, Comparison
from joulegate.core.display import NOT_MEASURED, NOT_PRICED
from joulegate.core.errors import InvalidInputError, JoulegateError, NotFoundError
from joulegate.core.periods import CalendarRule, CalendarUnit
from joulegate_api.auth import Principal
from joulegate_api.comparisons import ComparisonBody, compare_variants, picture
from joulegate_api.context import Caller, Context, Parts
from joulegate_api.dashboard.view import budget_cards, compared_variants, decision_line, run_line
from joulegate_api.errors import document_of, status_of
from joulegate_api.records import visible
from joulegate_api.reports import FORMATS
from joulegate_api.reports.making import id_of, make
from joulegate_api.store import Page, RecordFilters
from joulegate_api.web import render, svg

RUNS_ON_A_PAGE: Final = 25
DECISIONS_SHOWN: Final = 12
_RECENT: Final = 200
"""Records that are looked through for variants to compare."""

_MONTH: Final = re.compile(r"\d{4}-\d{2}", re.ASCII)

router = APIRouter(tags=["pages"], include_in_schema=False)


def mount(app: FastAPI) -> None:
    """Add the pages and their static files; errors of pages are pages too, where a browser asks."""
    app.include_router(router)
    app.mount("/static", StaticFiles(packages=[("joulegate_api", "web/static")]), name="static")
    app.add_exception_handler(JoulegateError, _on_error)


@dataclass(frozen=True, slots=True)
class _Compared:
    """A comparison, or why there is none."""

    found: Comparison | None
    svg: str
    why_not: str


@router.get("/")
def dashboard(
    parts: Parts,
    caller: Caller,
    cursor: Annotated[str | None, Query(max_length=512)] = None,
    namespace: Annotated[str | None, Query(max_length=253)] = None,
    variants: Annotated[str | None, Query(max_length=2_000)] = None,
) -> HTMLResponse:
    """Budgets, runs, comparison and decisions on one page."""
    filters = visible(RecordFilters(namespace=namespace), caller, parts)
    page = parts.store.records.list(filters, cursor, RUNS_ON_A_PAGE)
    decisions = [decision_line(decision) for decision in parts.store.journal.newest(DECISIONS_SHOWN, filters.namespace)]
    runs = [run_line(stored) for stored in page.records]
    content = render(
        "dashboard.html",
        home=".",
        assets="static",
        version=joulegate.__version__,
        place=f"cluster {parts.settings.cluster}, site {parts.settings.site}",
        principal=caller.name,
        namespace=filters.namespace,
        budgets=list(budget_cards(parts.store)),
        runs=runs,
        older=_older(page, namespace, variants),
        newer=cursor is not None,
        is_replayed=any(run.source == "replayed" for run in runs),
        compared=_compared(parts, caller, filters, variants),
        per=f"{PER:,}",
        decisions=decisions,
        month=f"{parts.now():%Y-%m}",
        formats=list(FORMATS),
        not_measured=NOT_MEASURED,
        not_priced=NOT_PRICED,
        display=display,
        svg=svg,
    )
    return HTMLResponse(content, headers={"Cache-Control": "no-store"})


@router.get("/reports/{month}.{name}")
def month_report(
    month: str,
    name: str,
    request: Request,
    parts: Parts,
    caller: Caller,
    namespace: Annotated[str | None, Query(max_length=253)] = None,
) -> RedirectResponse:
    """The report of a calendar month in UTC, such as 2026-11.html: made now, and shown by its id."""
    if name not in FORMATS or not _MONTH.fullmatch(month):
        raise NotFoundError("there is no such report")
    try:
        begin = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)
    except ValueError as error:
        raise NotFoundError("there is no such month") from error
    seen = visible(RecordFilters(namespace=namespace), caller, parts).namespace
    report = make(parts.store, ReportQuery(CalendarRule(CalendarUnit.MONTH).period_at(begin), seen))
    root = request.scope.get("root_path", "")
    return RedirectResponse(f"{root}/v1/reports/{id_of(report)}.{name}", HTTPStatus.SEE_OTHER)


def _older(page: Page, namespace: str | None, variants: str | None) -> str | None:
    if page.cursor is None:
        return None
    given = {"cursor": page.cursor, "namespace": namespace, "variants": variants}
    return "?" + urlencode({name: value for name, value in given.items() if value is not None}) + "#runs"


def _compared(parts: Context, caller: Principal, filters: RecordFilters, chosen: str | None) -> _Compared:
    """The comparison that was asked for, else that of the newest model with variants."""
    if chosen:
        names = tuple(name.strip() for name in chosen.split(",") if name.strip())
    else:
        recent = parts.store.records.list(filters, limit=_RECENT).records
        names = compared_variants(recent)
    if len(names) < 2:  # noqa: PLR2004 -- one variant is no comparison
        return _Compared(None, "", "Fewer than two variants have a run with measured work and a figure of merit yet.")
    body = ComparisonBody(names, namespace=filters.namespace)
    try:
        found = compare_variants(body, parts, caller)
    except (InvalidInputError, NotFoundError) as error:
        return _Compared(None, "", f"These variants cannot be compared: {error}.")
    return _Compared(found, picture(found), "")


async def _on_error(request: Request, error: Exception) -> Response:
    """A page where a browser asked for one, else the problem document."""
    if not isinstance(error, JoulegateError):
        raise error
    if request.url.path.startswith("/v1/") or "text/html" not in request.headers.get("accept", ""):
        return document_of(error, request.url.path)
    status = status_of(error)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return document_of(error, request.url.path)
    root = request.scope.get("root_path", "")
    content = render(
        "error.html",
        home=root + "/",
        assets=root + "/static",
        status=status,
        title=HTTPStatus(status).phrase,
        detail=str(error),
        is_locked=status == HTTPStatus.UNAUTHORIZED,
        address=str(request.base_url),
    )
    return HTMLResponse(content, status, {"Cache-Control": "no-store"})

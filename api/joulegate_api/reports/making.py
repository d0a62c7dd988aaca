"""A report from the store, and the name by which it can be made again.

Nothing is kept of a report: records and decisions are only ever added, so a report
is a function of its query and of the instant that it is as of. Its id says both,
and the beginning of the digest of what it said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

import joulegate
from joulegate.core.audit import AuditReport, Decided, Query, audit
from joulegate.core.errors import ConflictError, InvalidInputError, NotFoundError
from joulegate.core.periods import Period, quarter_of
from joulegate.core.tallies import Fact, Slice
from joulegate_api.store import RecordFilters, Store

_DIGITS: Final = 12
_ID: Final = re.compile(
    r"report~(\d{8}T\d{6}Z)~(\d{8}T\d{6}Z)~([A-Za-z0-9._-]{0,253})~(\d{8}T\d{12}Z)~([0-9a-f]{12})", re.ASCII
)
_INSTANT: Final = "%Y%m%dT%H%M%SZ"
_EXACT_INSTANT: Final = "%Y%m%dT%H%M%S%fZ"


def make(store: Store, query: Query, as_of: datetime | None = None) -> AuditReport:
    """The report of a query, of everything that is known, or was by ``as_of``.

    Raises :class:`InvalidInputError` for a period that is empty or does not begin
    and end on a UTC quarter-hour: energy is kept by quarter-hour.
    """
    period = query.period
    if period.end <= period.start:
        raise InvalidInputError("must be after since", "until")
    for name, instant in (("since", period.start), ("until", period.end)):
        if quarter_of(instant) != instant:
            raise InvalidInputError("must be on a quarter-hour in UTC, such as the begin of a day", name)
    return audit(
        query, _facts(store, query, as_of), _decided(store, query, as_of), f"joulegate {joulegate.__version__}"
    )


def id_of(report: AuditReport) -> str:
    """The name under which the same report can be had again; letters that an address and a file name may hold."""
    period = report.query.period
    parts = (
        f"{period.start:{_INSTANT}}",
        f"{period.end:{_INSTANT}}",
        report.query.namespace or "",
        f"{report.as_of.astimezone(UTC):{_EXACT_INSTANT}}",
        report.digest[:_DIGITS],
    )
    return "~".join(("report", *parts))


def make_again(store: Store, report_id: str) -> AuditReport:
    """The report of an id.

    Raises :class:`NotFoundError` for an id that no report had, :class:`ConflictError`
    where it would say something else today (a fact that was being written when it was
    made, or other software).
    """
    query, as_of, digest = read_id(report_id)
    report = make(store, query, as_of)
    if report.digest[:_DIGITS] != digest:
        raise ConflictError("the report would say something else today; make it anew")
    return report


def read_id(report_id: str) -> tuple[Query, datetime, str]:
    """The query, the instant and the begin of the digest that an id says; raises :class:`NotFoundError`."""
    match = _ID.fullmatch(report_id)
    if match is None:
        raise NotFoundError("there is no report of this id")
    start, end, namespace, as_of, digest = match.groups()
    try:
        period = Period(_instant(start, _INSTANT), _instant(end, _INSTANT))
        return Query(period, namespace or None), _instant(as_of, _EXACT_INSTANT), digest
    except ValueError as error:
        raise NotFoundError("there is no report of this id") from error


def _instant(text: str, form: str) -> datetime:
    return datetime.strptime(text, form).replace(tzinfo=UTC)


def _facts(store: Store, query: Query, as_of: datetime | None) -> Iterator[Fact]:
    filters = RecordFilters(
        namespace=query.namespace, until=query.period.end, ended_after=query.period.start, accepted_by=as_of
    )
    cursor: str | None = None
    while True:
        page = store.records.list(filters, cursor, limit=1_000)
        for stored in page.records:
            yield Fact(
                record=stored.record,
                slices=tuple(sorted(stored.slices, key=_place)),
                accepted_at=stored.accepted_at,
                self_reported=stored.self_reported,
                charged=stored.charged,
                budgets=stored.budgets,
            )
        cursor = page.cursor
        if cursor is None:
            return


def _place(part: Slice) -> tuple[str, str, datetime]:
    """The same order whatever a database thinks of letters."""
    return part.device_uuid, part.boundary.value, part.quarter


def _decided(store: Store, query: Query, as_of: datetime | None) -> list[Decided]:
    return [
        Decided(decision.verdict.outcome.value, decision.verdict.reason.value, decision.at)
        for decision in store.journal.each(query.period.start, query.period.end)
        if query.namespace in (None, decision.namespace) and (as_of is None or decision.at <= as_of)
    ]

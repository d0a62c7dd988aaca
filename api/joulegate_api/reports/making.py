"""A report from the store, and the name by which it can be made again.

Nothing is kept of a report: records and decisions are only ever added, so a report
is a function of its query and of the instant that it is as of. Its id says both,
and the beginning of the digest of what it said.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import joulegate
from joulegate.core.audit import AuditReport, Decided, Query, Tree, audit
from joulegate.core.checkpoints import read_checkpoint, read_note
from joulegate.core.encoding import decode, encode
from joulegate.core.errors import ConflictError, InvalidInputError, NotFoundError, UnavailableError
from joulegate.core.evidence import EVENTS, Evidence, Readings, event_of, instruments_of, reading_of
from joulegate.core.log import EntryType, canonical, read_canonical
from joulegate.core.periods import Period, parse_instant, quarter_of
from joulegate.core.recount import Recount, Reported
from joulegate.core.scopes import ScopeKind
from joulegate.core.settled import Cell, Cells
from joulegate.core.tallies import Fact, Slice
from joulegate.packs import embodied_figures, pack_named
from joulegate_api.log_keeper import LogKeeper
from joulegate_api.store import RecordFilters, Store

_DIGITS: Final = 12
_ID: Final = re.compile(
    r"report~(\d{8}T\d{6}Z)~(\d{8}T\d{6}Z)~([A-Za-z0-9._-]{0,253})~(?:([A-Za-z0-9_-]{1,8000})~)?"
    r"(\d{8}T\d{12}Z)~([0-9a-f]{12})",
    re.ASCII,
)
_INSTANT: Final = "%Y%m%dT%H%M%SZ"
_EXACT_INSTANT: Final = "%Y%m%dT%H%M%S%fZ"
_LAST: Final = datetime.max.replace(tzinfo=UTC)
_CHARGES: Final = (EntryType.WINDOWS, EntryType.WINDOWS_PRICED, EntryType.WINDOWS_REPRICED)
_RATES: Final = (EntryType.SITE_SET, EntryType.INTENSITY_SET, EntryType.PRICE_SET)
_ASKED: Final = ("scope", "comparing", "against", "embodied")
"""What of a query is in the id as one word, because names may hold any letters."""


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
    software = f"joulegate {joulegate.__version__}"
    return audit(
        query,
        _facts(store, query, as_of),
        _decided(store, query, as_of),
        software,
        _evidence(store, query, as_of),
        _cells(store, query, as_of),
    )


def with_tree(store: Store, keeper: LogKeeper, report: AuditReport) -> AuditReport:
    """The report with the signed tree that covers its own entry; without one where the log was never signed.

    The tree is that of the first checkpoint after the entry, so it is the same each time.
    """
    store.sequencer.catch_up()
    found = store.log.find(EntryType.REPORT, id_of(report))
    if found is None:
        return report
    try:
        signed = store.log.first_checkpoint(found[0]) or keeper.covering()
    except UnavailableError:
        return report
    note = read_note(signed.note)
    head = read_checkpoint(note)
    names = tuple(f"{each.name}+{each.key_hash.hex()}" for each in note.signatures)
    return replace(report, tree=Tree(head.origin, head.size, head.root.hex(), found[0], names))


def id_of(report: AuditReport) -> str:
    """The name under which the same report can be had again; letters that an address and a file name may hold."""
    query = report.query
    told = encode(query)
    asked = {name: told[name] for name in _ASKED if name in told}
    parts = (
        f"{query.period.start:{_INSTANT}}",
        f"{query.period.end:{_INSTANT}}",
        query.namespace or "",
        *([urlsafe_b64encode(canonical(asked)).decode().rstrip("=")] if asked else []),
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
    start, end, namespace, asked, as_of, digest = match.groups()
    try:
        period = Period(_instant(start, _INSTANT), _instant(end, _INSTANT))
        more = read_canonical(urlsafe_b64decode(asked + "=" * (-len(asked) % 4))) if asked else {}
        if asked and (not isinstance(more, dict) or not more or not set(more) <= set(_ASKED)):
            raise NotFoundError("there is no report of this id")
        query = decode(Query, {**encode(Query(period, namespace or None)), **more})
        return query, _instant(as_of, _EXACT_INSTANT), digest
    except (ValueError, NotBase64, InvalidInputError) as error:
        raise NotFoundError("there is no report of this id") from error


def _instant(text: str, form: str) -> datetime:
    return datetime.strptime(text, form).replace(tzinfo=UTC)


def _facts(store: Store, query: Query, as_of: datetime | None) -> Iterator[Fact]:
    scope = query.scope
    name = {scope.kind: scope.name} if scope is not None else {}
    filters = RecordFilters(
        namespace=query.namespace,
        pipeline=name.get(ScopeKind.PIPELINE),
        model=name.get(ScopeKind.MODEL),
        run_uid=name.get(ScopeKind.RUN),
        until=query.period.end,
        ended_after=query.period.start,
        accepted_by=as_of,
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


def _cells(store: Store, query: Query, as_of: datetime | None) -> Iterable[Cell]:
    """What the log tells of charges of node meters' windows; each batch is read once, and not kept."""
    if query.scope is not None:
        return ()
    until = as_of or _LAST
    found = Cells(query.period, until)
    for entry in store.log.told(_CHARGES, query.period.start):
        at = parse_instant(entry.at, "at")
        if entry.type != EntryType.WINDOWS:
            found.repriced(at, entry.body)
        elif at <= until:
            found.windows(at, entry.body, store.log.batch(entry.body["incarnation"], entry.body["seqs"]))
    rows = Recount(Reported(query, until, until, ""))
    for entry in store.log.told(_RATES):
        rows.add(entry.type, entry.at, entry.body)
    return found.priced(rows.rates)


def _evidence(store: Store, query: Query, as_of: datetime | None) -> Evidence:
    """What the log tells beside; of whole devices only where everything is reported."""
    told = ((entry, parse_instant(entry.at, "at")) for entry in store.log.told(EVENTS, query.period.start))
    events = [event_of(entry.type, at, entry.body) for entry, at in told if as_of is None or at <= as_of]
    against = query.against
    rows = pack_named(against.name).beside() if against is not None else ()
    figures = embodied_figures() if query.embodied is not None else ()
    if not query.is_whole:
        return Evidence(tuple(events), intensities=rows, figures=figures)
    readings = Readings(reading_of(body, at) for body, at in store.log.windows(query.period, as_of))
    devices = [(parse_instant(entry.at, "at"), entry.body) for entry in store.log.told([EntryType.DEVICE])]
    sets = ((parse_instant(entry.at, "at"), entry.body) for entry in store.log.told([EntryType.INSTRUMENT_SET]))
    bought = [each for at, body in sets if as_of is None or at <= as_of for each in instruments_of(at, body)]
    return Evidence(tuple(events), readings, tuple(devices), rows, tuple(bought), figures)

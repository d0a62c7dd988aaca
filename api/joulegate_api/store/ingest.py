"""Windows in: kept once, weighed against what is known, charged to the budgets of their pods."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import insert, select, update

from joulegate.core.budgets import Budget
from joulegate.core.errors import ConflictError, InvalidInputError, UnavailableError
from joulegate.core.log import EntryType
from joulegate.core.periods import Period, quarter_of
from joulegate_api.store import charging, postings, versions
from joulegate_api.store.amounts import UNKNOWN, Amounts
from joulegate_api.store.balances import Account, Accounts, Key, StaleError
from joulegate_api.store.budgets import Budgets
from joulegate_api.store.bulk import add_rows
from joulegate_api.store.charging import Cell
from joulegate_api.store.claims import OpenClaim
from joulegate_api.store.database import Database
from joulegate_api.store.devices import Device
from joulegate_api.store.draws import drawn
from joulegate_api.store.entries import Transaction, Writer
from joulegate_api.store.estimates import reverse_estimates
from joulegate_api.store.meter_tables import meters, quarantine, windows
from joulegate_api.store.postings import Charge, Fact
from joulegate_api.store.rates import RateShelf
from joulegate_api.store.window_plans import WindowPlan, parts_of, plan_windows
from joulegate_api.store.windows import (
    Ingested,
    Quarantined,
    Span,
    WindowBatch,
    Written,
    batch_hash,
    fault_of,
    span_of,
    written,
)

ATTEMPTS: Final = 20
FOLDED: Final = "folded"
"""In the place of the hash of a number that was never sent: another window stands for it."""
WITHHELD: Final = "withheld"
"""In the place of the hash of a number that its meter keeps back; its window may still come."""

_CHUNK: Final = 500


class WindowBook:
    """The windows of a tenant."""

    def __init__(
        self, database: Database, writer: Writer, accounts: Accounts, budgets: Budgets, rates: RateShelf, tenant: str
    ) -> None:
        """Take in the windows of one tenant."""
        self._database = database
        self._writer = writer
        self._accounts = accounts
        self._budgets = budgets
        self._rates = rates
        self._tenant = tenant

    def ingest(self, batch: WindowBatch) -> Ingested:
        """Keep new windows and charge them; a repeat changes nothing.

        A window that contradicts what is known is kept apart, named in the answer and
        counts as accepted. Raises :class:`InvalidInputError` where the numbers of the
        windows are not contiguous from ``seq`` on, :class:`ConflictError` where the incarnation
        belongs to another node.
        """
        numbers = [window.window_seq for window in batch.windows]
        if numbers != sorted(set(numbers)) or (numbers and numbers[0] != batch.seq):
            raise InvalidInputError("windows are not numbered in order from seq on", "windows")
        for _ in range(ATTEMPTS):
            planned = self._plan(batch)
            self._accounts.prepare(planned.periods)
            try:
                with self._writer.transaction() as transaction:
                    return self._take(transaction, batch, planned)
            except StaleError:
                continue
        raise UnavailableError("budgets are being changed faster than windows can be posted; try again")

    def _plan(self, batch: WindowBatch) -> WindowPlan:
        with self._database.read() as connection:
            book = self._rates.shelf(connection)
            return plan_windows(connection, batch, self._tenant, self._budgets, book, self._database.now(connection))

    def _take(self, transaction: Transaction, batch: WindowBatch, planned: WindowPlan) -> Ingested:
        accepted_seq = self._meter(transaction, batch)
        accounts = self._accounts.lock(transaction, planned.periods)
        in_force = versions.current(transaction.connection, self._tenant)
        roots = {root[1] for root in planned.parts}
        parts = parts_of(transaction.connection, self._tenant, batch.cluster, {uid: uid for uid in roots})
        if (in_force.hierarchy, in_force.rates, parts) != (planned.hierarchy, planned.book.version, planned.parts):
            raise StaleError
        now = transaction.now()
        self._withhold(transaction, batch, now)
        fresh, kept_apart, told_apart = self._sort(transaction, batch, planned)
        self._write_windows(transaction, batch, fresh, kept_apart, now)
        if fresh:
            self._charge(transaction, batch, fresh, planned, accounts, now)
        accepted_seq = self._advance(transaction, batch, accepted_seq, now)
        for root, held in planned.parts.items() if fresh else ():
            reverse_estimates(transaction, root, held, accounts, now)
        self._accounts.write(transaction, accounts.values())
        return Ingested(accepted_seq, tuple(told_apart))

    def _meter(self, transaction: Transaction, batch: WindowBatch) -> int:
        """Lock the incarnation; batches of one meter are taken one after the other."""
        of = meters.c
        query = select(meters).where(of.tenant == self._tenant, of.incarnation == batch.incarnation)
        row = transaction.connection.execute(query.with_for_update()).one_or_none()
        if row is None:
            values: dict[str, Any] = {
                "tenant": self._tenant,
                "incarnation": batch.incarnation,
                "cluster": batch.cluster,
            }
            values |= {"node": batch.node, "accepted_seq": -1, "seen_at": transaction.now()}
            transaction.connection.execute(insert(meters).values(values))
            return -1
        if (row.cluster, row.node) != (batch.cluster, batch.node):
            raise ConflictError(f"incarnation {batch.incarnation} belongs to node {row.node} of cluster {row.cluster}")
        return int(row.accepted_seq)

    def _sort(
        self, transaction: Transaction, batch: WindowBatch, planned: WindowPlan
    ) -> tuple[list[Written], list[tuple[Written, str]], list[Quarantined]]:
        """New windows to accept, new ones to keep apart, and what the answer names."""
        known, every = self._known(transaction, batch)
        _check_contiguous(batch, {seq for seq, _ in every})
        apart = {key: reason for key, reason in every.items() if key[1] != WITHHELD}
        spans = self._spans(transaction, batch)
        fresh: list[Written] = []
        kept_apart: list[tuple[Written, str]] = []
        named: list[Quarantined] = []
        for each in map(written, batch.windows):
            window, digest = each.window, each.digest
            if known.get(window.window_seq) == digest:
                continue
            if (reason := apart.get((window.window_seq, digest))) is not None:
                named.append(Quarantined(window.window_seq, reason))
                continue
            beside = spans.setdefault((window.device_uuid, window.quarter), [])
            device = planned.models[window.device_uuid]
            taken = window.window_seq in known or any(seq == window.window_seq for seq, _ in apart)
            fault = "has the number of another window" if taken else None
            fault = fault or _foreign(batch, device)
            if {*window.replaces} & {*known, *(seq for seq, _ in apart)}:
                fault = fault or "stands for a window that came before"
            fault = fault or fault_of(window, beside, device.enforced_limit_mw if device else None)
            if fault is None:
                fresh.append(each)
                beside.append(span_of(window))
            else:
                kept_apart.append((each, fault))
                named.append(Quarantined(window.window_seq, fault))
        return fresh, kept_apart, named

    def _withhold(self, transaction: Transaction, batch: WindowBatch, now: datetime) -> None:
        """Keep the numbers that the meter holds back, once each."""
        of = quarantine.c
        ours = (of.tenant == self._tenant, of.incarnation == batch.incarnation, of.content_hash == WITHHELD)
        wanted = sorted({*batch.withheld})
        for begin in range(0, len(wanted), _CHUNK):
            some = wanted[begin : begin + _CHUNK]
            query = select(of.window_seq).where(*ours, of.window_seq.in_(some))
            there = set(transaction.connection.execute(query).scalars())
            row: dict[str, Any] = {"tenant": self._tenant, "incarnation": batch.incarnation, "content_hash": WITHHELD}
            row |= {"reason": "is kept back by its meter, since it was refused", "body": {}, "received_at": now}
            rows = [row | {"window_seq": number} for number in some if number not in there]
            if rows:
                transaction.connection.execute(insert(quarantine), rows)

    def _known(self, transaction: Transaction, batch: WindowBatch) -> tuple[dict[int, str], dict[tuple[int, str], str]]:
        last = max((number for w in batch.windows for number in (w.window_seq, *w.replaces)), default=batch.seq)
        of, kept = windows.c, quarantine.c
        accepted = select(of.window_seq, of.content_hash).where(
            of.tenant == self._tenant, of.incarnation == batch.incarnation, of.window_seq.between(batch.seq, last)
        )
        apart = select(kept.window_seq, kept.content_hash, kept.reason).where(
            kept.tenant == self._tenant, kept.incarnation == batch.incarnation, kept.window_seq.between(batch.seq, last)
        )
        connection = transaction.connection
        return (
            {row.window_seq: row.content_hash for row in connection.execute(accepted)},
            {(row.window_seq, row.content_hash): row.reason for row in connection.execute(apart)},
        )

    def _spans(self, transaction: Transaction, batch: WindowBatch) -> dict[tuple[str, datetime], list[Span]]:
        """What was accepted, by device and quarter-hour: none lies in two, so no others can overlap."""
        if not batch.windows:
            return {}
        of = windows.c
        query = select(windows).where(
            of.tenant == self._tenant,
            of.device_uuid.in_({window.device_uuid for window in batch.windows}),
            of.end > min(window.start for window in batch.windows),
            of.start < max(window.end for window in batch.windows),
        )
        found: dict[tuple[str, datetime], list[Span]] = {}
        for row in transaction.connection.execute(query):
            span = Span(
                row.device_uuid,
                row.start,
                row.end,
                row.energy_start_mj,
                row.energy_end_mj,
                row.active_mj + row.idle_mj,
                (row.pod_uid, row.container),
            )
            found.setdefault((row.device_uuid, quarter_of(row.start)), []).append(span)
        return found

    def _write_windows(
        self,
        transaction: Transaction,
        batch: WindowBatch,
        fresh: Sequence[Written],
        kept_apart: Sequence[tuple[Written, str]],
        now: datetime,
    ) -> None:
        add_rows(transaction.connection, windows, [_row(self._tenant, batch, each, now) for each in fresh])
        apart = [
            {
                "tenant": self._tenant,
                "incarnation": batch.incarnation,
                "window_seq": each.window.window_seq,
                "content_hash": each.digest,
                "reason": reason,
                "body": each.body,
                "received_at": now,
            }
            for each, reason in kept_apart
        ]
        apart += [
            {
                "tenant": self._tenant,
                "incarnation": batch.incarnation,
                "window_seq": number,
                "content_hash": FOLDED,
                "reason": f"is folded into window {window.window_seq}",
                "body": {},
                "received_at": now,
            }
            for window in [*(each.window for each in fresh), *(each.window for each, _ in kept_apart)]
            for number in window.replaces
        ]
        if apart:
            transaction.connection.execute(insert(quarantine), apart)
        self._tell_apart(transaction, batch, kept_apart, now)

    def _tell_apart(
        self, transaction: Transaction, batch: WindowBatch, kept_apart: Sequence[tuple[Written, str]], now: datetime
    ) -> None:
        """Write one entry that names the windows of the batch that were kept apart; each is told once."""
        if not kept_apart:
            return
        first = kept_apart[0][0]
        told = [
            {"window_seq": each.window.window_seq, "content_hash": each.digest, "reason": reason}
            for each, reason in kept_apart
        ]
        body = {"cluster": batch.cluster, "node": batch.node, "incarnation": batch.incarnation, "windows": told}
        fact_id = f"{batch.incarnation}/{first.window.window_seq}/{first.digest}"
        transaction.log(EntryType.WINDOWS_QUARANTINED, fact_id, now, body)

    def _charge(
        self,
        transaction: Transaction,
        batch: WindowBatch,
        fresh: Sequence[Written],
        planned: WindowPlan,
        accounts: Mapping[Key, Account],
        now: datetime,
    ) -> None:
        models = {uuid: device.model if device else None for uuid, device in planned.models.items()}
        cells = charging.cells_of((each.window for each in fresh), planned.subjects, models, planned.book, batch.site)
        charging.accumulate(transaction, batch.cluster, cells, planned.book)
        posted: dict[Key, Amounts] = {}
        taken: dict[Key, list[OpenClaim]] = {}
        for root_uid, own in _by_root(cells.values()).items():
            amounts = {key: charge.amounts(accounts[key]) for key, charge in _charges(own, planned.budgets).items()}
            for key, amount in amounts.items():
                posted[key] = posted.get(key, UNKNOWN).plus(amount)
            held = planned.parts.get((batch.cluster, root_uid), [])
            for key, opened in drawn(transaction, (batch.cluster, root_uid), held, amounts, accounts).items():
                taken.setdefault(key, []).extend(opened)
        fact = Fact(EntryType.WINDOWS, f"{batch.incarnation}/{fresh[0].window.window_seq}", "measured", now)
        namespaces = {subject.namespace for subject in planned.subjects.values()}
        told = postings.post(transaction, accounts, fact, posted, taken, namespaces, planned.late)
        body = {
            "cluster": batch.cluster,
            "node": batch.node,
            "incarnation": batch.incarnation,
            "seqs": [each.window.window_seq for each in fresh],
            "batch_hash": batch_hash(fresh),
            "charges": told,
            "priced": charging.told_of(cells.values()),
        }
        transaction.log(EntryType.WINDOWS, fact.id, now, body)

    def _advance(self, transaction: Transaction, batch: WindowBatch, accepted_seq: int, now: datetime) -> int:
        """Raise the contiguous high-water mark as far as windows, or what was kept apart, reach."""
        there: set[int] = set()
        for table in (windows, quarantine):
            of = table.c
            query = select(of.window_seq).where(
                of.tenant == self._tenant, of.incarnation == batch.incarnation, of.window_seq > accepted_seq
            )
            there.update(transaction.connection.execute(query).scalars())
        while accepted_seq + 1 in there:
            accepted_seq += 1
        of = meters.c
        transaction.connection.execute(
            update(meters)
            .where(of.tenant == self._tenant, of.incarnation == batch.incarnation)
            .values(accepted_seq=accepted_seq, seen_at=now)
        )
        return accepted_seq


def _check_contiguous(batch: WindowBatch, folded: set[int]) -> None:
    """Numbers are left out only where a folded window stands for them."""
    numbers = {number for window in batch.windows for number in (window.window_seq, *window.replaces)} | folded
    last = max((window.window_seq for window in batch.windows), default=batch.seq)
    if batch.windows and not numbers.issuperset(range(batch.seq, last + 1)):
        raise InvalidInputError("windows are not numbered contiguously from seq on", "windows")


def _foreign(batch: WindowBatch, device: Device | None) -> str | None:
    """Why a device is none of this meter's."""
    if not batch.enrolled_only:
        return None
    if device is None:
        return "is of a device that is not enrolled"
    if (device.cluster, device.node) != (batch.cluster, batch.node):
        return "is of a device of another node"
    return None


def _by_root(cells: Iterable[Cell]) -> dict[str, list[Cell]]:
    found: dict[str, list[Cell]] = {}
    for cell in cells:
        found.setdefault(cell.subject.root_uid or cell.subject.uid, []).append(cell)
    return found


def _charges(cells: Iterable[Cell], budgets: Mapping[str, Budget]) -> dict[Key, Charge]:
    """What cells add to each budget and period: what they are priced at now, less what they were before."""
    found: dict[Key, Charge] = {}
    periods: dict[tuple[str, datetime], Period | None] = {}
    for cell in cells:
        for name in cell.subject.budgets:
            place = (name, cell.quarter)
            if place not in periods:
                periods[place] = budgets[name].period.period_at(cell.quarter)
            if (period := periods[place]) is not None:
                found.setdefault(Key(name, period.start), Charge(period)).add(cell.before, cell.after)
    return found


def _row(tenant: str, batch: WindowBatch, each: Written, now: datetime) -> dict[str, Any]:
    window = each.window
    return {
        "tenant": tenant,
        "incarnation": batch.incarnation,
        "window_seq": window.window_seq,
        "content_hash": each.digest,
        "cluster": batch.cluster,
        "device_uuid": window.device_uuid,
        "start": window.start,
        "end": window.end,
        "energy_start_mj": window.energy_start_mj,
        "energy_end_mj": window.energy_end_mj,
        "active_mj": window.active_mj,
        "idle_mj": window.idle_mj,
        "allocated_gpu_ns": window.allocated_gpu_ns,
        "pod_uid": window.pod_uid,
        "container": window.container,
        "body": each.body,
        "accepted_at": now,
    }

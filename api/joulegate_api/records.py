"""Records: taken once, priced here, listed and shown with the references of every figure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from http import HTTPStatus
from itertools import pairwise
from typing import Annotated, Any, Final, TypeVar

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from joulegate.core.errors import InvalidInputError, NotFoundError, NotPermittedError
from joulegate.core.footprint import Footprint
from joulegate.core.metering import Boundary, Method
from joulegate.core.periods import quarter_of
from joulegate.core.records import DeviceUse, EfficiencyRecord, Interval, Kind, RunOutcome
from joulegate.schema import STRICT, Identity, Line, Moment, Quantity
from joulegate.wire import RecordBody, record_body, record_of, to_json
from joulegate_api.auth import Principal
from joulegate_api.bodies import Body, Raw
from joulegate_api.context import Caller, Context, Parts, answer, takes
from joulegate_api.store import HoldFilters, PricedSlice, RecordFilters, StoredRecord
from joulegate_api.store.slices import footprint_of

RECORD: Final = Body(RecordBody)
NAMESPACE_LABEL: Final = "kubernetes.io/metadata.name"
"""The one label that every namespace has, by the API server's own hand."""

router = APIRouter(tags=["records"])

Filters = TypeVar("Filters", RecordFilters, HoldFilters)


@dataclass(frozen=True, slots=True)
class RecordsQuery:
    """Filters of the list, newest first; ``since`` and ``until`` bound the begin of a run."""

    __pydantic_config__ = STRICT
    namespace: Line | None = None
    cluster: Line | None = None
    run_uid: Identity | None = None
    pipeline: Line | None = None
    kind: Kind | None = None
    model: Line | None = None
    variant: Line | None = None
    outcome: RunOutcome | None = None
    since: Moment | None = None
    until: Moment | None = None
    cursor: Line | None = None
    limit: Annotated[int, Quantity(1, 1_000)] = 100


QUERY: Final = Body(RecordsQuery)


@router.post("/v1/records", openapi_extra=takes(RECORD.reference))
def post_record(raw: Raw, parts: Parts, caller: Caller) -> JSONResponse:
    """Take one record: 201, 200 for a repeat, 409 for the same id with other content."""
    record = record_of(RECORD.read(raw))
    check(record)
    run = record.run
    caller.require(run.namespace, run.cluster, run.site, parts.here)
    accepted = parts.store.records.accept(
        record, content_hash(record), caller.name, self_reported=True, labels={NAMESPACE_LABEL: run.namespace}
    )
    parts.history.forget()
    body = {
        "record_id": accepted.record_id,
        "repeat": accepted.repeat,
        "self_reported": True,
        "footprint": footprint_json(footprint_of(accepted.slices)),
        "slices": [slice_json(part) for part in accepted.slices],
    }
    return answer(body, HTTPStatus.OK if accepted.repeat else HTTPStatus.CREATED)


@router.get("/v1/records")
def list_records(request: Request, parts: Parts, caller: Caller) -> JSONResponse:
    """A page of records; `cursor` of an answer leads to the next one."""
    query = QUERY.read_parameters(request.query_params.multi_items())
    filters = RecordFilters(
        namespace=query.namespace,
        cluster=query.cluster,
        run_uid=query.run_uid,
        pipeline=query.pipeline,
        kind=query.kind,
        model=query.model,
        variant=query.variant,
        outcome=query.outcome,
        since=query.since,
        until=query.until,
    )
    page = parts.store.records.list(visible(filters, caller, parts), query.cursor, query.limit)
    return answer({"records": [record_json(stored) for stored in page.records], "cursor": page.cursor})


@router.get("/v1/records/{record_id}")
def get_record(record_id: str, parts: Parts, caller: Caller) -> JSONResponse:
    """One record with its slices and the rows that priced them."""
    stored = parts.store.records.get(record_id)
    if not _sees(caller, stored, parts):
        raise NotFoundError(f"there is no record {record_id}")
    body = record_json(stored) | {"node_meter": beside(stored, parts)}
    return answer(body | {"slices": [slice_json(part) for part in stored.slices]})


@router.get("/v1/runs/{uid}")
def get_run(uid: str, parts: Parts, caller: Caller) -> JSONResponse:
    """Every record of a run, and their sum."""
    records = [stored for stored in parts.store.records.run(uid) if _sees(caller, stored, parts)]
    if not records:
        raise NotFoundError(f"there is no run {uid}")
    together = footprint_of([part for stored in records for part in stored.slices])
    shown = [record_json(stored) | {"node_meter": beside(stored, parts)} for stored in records]
    return answer({"uid": uid, "footprint": footprint_json(together), "records": shown})


def beside(stored: StoredRecord, parts: Context) -> dict[str, Any] | None:
    """What the node meter's windows of the same pod say, and by how much the run's own word differs; None without any.

    Where a node meter is registered these windows are what was charged.
    """
    metered = parts.store.meterings.beside(stored.record)
    if metered is None:
        return None
    told = [
        interval.energy
        for device in stored.record.devices
        for interval in device.intervals
        if interval.boundary is Boundary.ACCELERATOR
    ]
    energies = [energy.mj for energy in told if energy is not None]
    complete = bool(told) and len(energies) == len(told)  # what was not measured is not compared as if it were zero
    difference_mj = sum(energies) - metered.energy_mj if complete else None
    known = difference_mj is not None and metered.energy_mj > 0
    return {
        "start": metered.start,
        "end": metered.end,
        "windows": metered.windows,
        "energy_mj": metered.energy_mj,
        "difference_mj": difference_mj,
        "difference_percent": round(100 * (difference_mj or 0) / metered.energy_mj, 2) if known else None,
    }


def content_hash(record: EfficiencyRecord) -> str:
    """A hash of what a record says, however its body was spelled."""
    text = json.dumps(record_body(record), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return sha256(text.encode()).hexdigest()


def check(record: EfficiencyRecord) -> None:
    """Refuse what no field shows alone; raises :class:`InvalidInputError` naming the place."""
    if record.ended_at < record.started_at:
        raise InvalidInputError("must not be before started_at", "ended_at")
    seen: set[str] = set()
    for index, device in enumerate(record.devices):
        where = f"devices.{index}"
        if device.uuid in seen:
            raise InvalidInputError(f"the device {device.uuid} stands twice", f"{where}.uuid")
        seen.add(device.uuid)
        for number, interval in enumerate(device.intervals):
            _check_interval(interval, f"{where}.intervals.{number}")
        _check_overlaps(device, where)
    for index, work in enumerate(record.work):
        _check_span(work.start, work.end, f"work.{index}.end")


def _check_interval(interval: Interval, where: str) -> None:
    _check_span(interval.start, interval.end, f"{where}.end")
    last = interval.end - interval.end.resolution
    if quarter_of(interval.start) != quarter_of(last):
        raise InvalidInputError("must lie inside one UTC quarter-hour", where)
    if interval.energy is not None and interval.method is Method.NOT_MEASURED:
        raise InvalidInputError("energy that was not measured is null", f"{where}.energy_mj")
    if interval.uncertainty is not None and interval.uncertainty.upper_mj < interval.uncertainty.lower_mj:
        raise InvalidInputError("must not be below lower_mj", f"{where}.uncertainty.upper_mj")


def _check_span(start: datetime, end: datetime, where: str) -> None:
    if end <= start:
        raise InvalidInputError("must be after start", where)


def _check_overlaps(device: DeviceUse, where: str) -> None:
    by_boundary: dict[str, list[Interval]] = {}
    for interval in device.intervals:
        by_boundary.setdefault(interval.boundary, []).append(interval)
    for intervals in by_boundary.values():
        for one, next_one in pairwise(sorted(intervals, key=lambda interval: interval.start)):
            if next_one.start < one.end:
                raise InvalidInputError(f"intervals of {device.uuid} overlap", f"{where}.intervals")


def visible(filters: Filters, caller: Principal, parts: Context) -> Filters:
    """The filters narrowed to what the caller may see; raises :class:`NotPermittedError` where that is nothing."""
    if caller.sees_everything:
        return filters
    if filters.namespace is None and filters.cluster is not None and caller.sees("*", filters.cluster, parts.here):
        return filters  # every namespace of the one cluster that is asked for, as its operator does
    own = {grant.namespace for grant in caller.grants}
    namespace = filters.namespace or (own.pop() if len(own) == 1 and "*" not in own else None)
    cluster = filters.cluster or parts.settings.cluster
    if namespace is None:
        raise NotPermittedError(f"{caller.name} sees some namespaces only; name one with ?namespace=")
    if not caller.sees(namespace, cluster, parts.here):
        raise NotPermittedError(f"{caller.name} has no grant for {cluster}/{namespace}")
    return replace(filters, namespace=namespace, cluster=cluster)


def _sees(caller: Principal, stored: StoredRecord, parts: Context) -> bool:
    return caller.sees(stored.record.run.namespace, stored.record.run.cluster, parts.here)


def record_json(stored: StoredRecord) -> dict[str, Any]:
    """The record as it was sent, with what it was priced at."""
    return {
        **record_body(stored.record),
        "accepted_at": stored.accepted_at,
        "principal": stored.principal,
        "self_reported": stored.self_reported,
        "charged": stored.charged,
        "budgets": list(stored.budgets),
        "footprint": footprint_json(stored.footprint),
        "unpriced_slices": len(stored.unpriced),
    }


def footprint_json(footprint: Footprint) -> dict[str, Any]:
    """Energy, both carbons and money; null is unknown, never zero."""
    return {
        "energy_mj": footprint.energy.mj if footprint.energy else None,
        "carbon_location_ug": footprint.carbon_location.ug if footprint.carbon_location else None,
        "carbon_market_ug": footprint.carbon_market.ug if footprint.carbon_market else None,
        "cost_micros": footprint.cost.micros if footprint.cost else None,
        "currency": footprint.cost.currency if footprint.cost else None,
    }


def slice_json(part: PricedSlice) -> dict[str, Any]:
    """One device in one quarter-hour, with the rows that priced it."""
    return {
        "device_uuid": part.device_uuid,
        "gpu_model": part.gpu_model,
        "boundary": part.boundary,
        "quarter": part.quarter,
        "gpu_ns": part.gpu_ns,
        "missing_ns": part.missing_ns,
        **footprint_json(part.footprint),
        "rates": dict(_rates(part)),
    }


def _rates(part: PricedSlice) -> Iterator[tuple[str, Any]]:
    for name in ("site", "location", "market", "price"):
        yield name, to_json(getattr(part.rates, name))

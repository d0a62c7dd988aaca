"""Numbers whose windows were damaged on the disk: what can still be said about them.

A window says what the device's cumulative energy was at both its ends. So the
windows around a hole tell how much was drawn in between, but not by whom: it
becomes a window of nobody's, marked, that stands for all the numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from joulegate.core.metering import Boundary, Method
from joulegate.core.periods import cut_at_quarters, format_instant, ns_between, parse_instant
from joulegate.core.units import split_by_largest_remainder
from joulegate_operators.node.segments import Record, WindowJson

LOG_DAMAGED: Final = "log_damaged"


def holes(records: Sequence[Record], accepted: int, last: int) -> Iterator[tuple[int, int]]:
    """The ranges of numbers up to ``last`` that no record has and the API has not acknowledged."""
    at = accepted + 1
    for record in records:
        if record.last < at:
            continue
        if record.first > at:
            yield at, record.first - 1
        at = record.last + 1
    if at <= last:
        yield at, last


def fillers(
    first: int, last: int, before: Iterable[list[WindowJson]], after: Iterable[list[WindowJson]]
) -> list[WindowJson]:
    """Windows that stand for the numbers ``first`` to ``last``: one a device whose energy breaks off there.

    ``before`` are the windows before the hole, newest first; ``after`` those behind
    it. Empty where nothing follows: nobody knows yet how far the hole reaches.
    """
    starts = _ends_of(before, newest_first=True)
    ends = _ends_of(after, newest_first=False)
    broken = [
        (following, starts[uuid])
        for uuid, following in sorted(ends.items())
        if uuid in starts and starts[uuid]["end"] != following["start"]
    ]
    room = last - first + 1
    rows = [row for following, earlier in broken for row in _fillers_between(following, earlier)]
    if len(rows) > room:  # fewer numbers than quarter-hours: nothing of the energy is left out, whatever the API says
        rows = [row for following, earlier in broken for row in _fillers_between(following, earlier, cut=False)]
    if not rows and ends:
        rows = _fillers_between(next(iter(ends.values())), None)
    rows = rows[:room]
    for number, row in enumerate(rows, start=first):
        row["window_seq"] = number
    if rows:
        rows[-1]["replaces"] = list(range(first + len(rows), last + 1))
    return rows


def _ends_of(batches: Iterable[list[WindowJson]], *, newest_first: bool) -> dict[str, WindowJson]:
    """For each device its window nearest to the hole."""
    nearest: dict[str, WindowJson] = {}
    for batch in batches:
        for window in batch:
            known = nearest.setdefault(window["device_uuid"], window)
            later, earlier = _at(window, "end") > _at(known, "end"), _at(window, "start") < _at(known, "start")
            if later if newest_first else earlier:
                nearest[window["device_uuid"]] = window
    return nearest


def _at(window: WindowJson, name: str) -> datetime:
    return parse_instant(window[name], name)


def _fillers_between(following: WindowJson, earlier: WindowJson | None, *, cut: bool = True) -> list[WindowJson]:
    """Nobody's windows up to ``following``, one a quarter-hour: from ``earlier``, else from a microsecond before."""
    end, end_mj = _at(following, "start"), int(following["energy_start_mj"])
    start, start_mj = end - timedelta(microseconds=1), end_mj
    if earlier is not None:
        start, start_mj = _at(earlier, "end"), int(earlier["energy_end_mj"])
    spans = list(cut_at_quarters(start, end)) if cut else [(start, end)]
    lengths = {f"{index:09d}": ns_between(*span) for index, span in enumerate(spans)}
    drawn = split_by_largest_remainder(end_mj - start_mj, lengths)
    rows = []
    for span, name in zip(spans, lengths, strict=True):
        rows.append(_filler(following, span, start_mj, drawn[name], measured=earlier is not None))
        start_mj += drawn[name]
    return rows


def _filler(
    following: WindowJson, span: tuple[datetime, datetime], start_mj: int, drawn_mj: int, *, measured: bool
) -> WindowJson:
    return {
        "window_seq": 0,
        "device_uuid": following["device_uuid"],
        "start": format_instant(span[0]),
        "end": format_instant(span[1]),
        "energy_start_mj": str(start_mj),
        "energy_end_mj": str(start_mj + drawn_mj),
        "active_mj": str(drawn_mj) if measured else None,
        "idle_mj": "0" if measured else None,
        "allocated_gpu_ns": "0",
        "method": following["method"] if measured else Method.NOT_MEASURED.value,
        "boundary": Boundary.ACCELERATOR.value,
        "coverage": following["coverage"] if measured else 0.0,
        "pod_uid": None,
        "namespace": None,
        "pod": None,
        "container": None,
        "uncertainty": None,
        "flags": [LOG_DAMAGED],
        "replaces": [],
    }

"""Numbers whose windows were damaged on the disk: what can still be said about them.

A window says what the device's cumulative energy was at both its ends. So the
windows around a hole tell how much was drawn in between, but not by whom: it
becomes a window of nobody's, marked, that stands for all the numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any, Final

from joulegate.core.metering import Boundary, Method
from joulegate.core.periods import format_instant, parse_instant
from joulegate_operators.node.segments import Record, WindowJson

LOG_DAMAGED: Final = "log_damaged"


def holes(records: Sequence[Record], accepted: int, last: int) -> Iterator[tuple[int, int]]:
    """The ranges of numbers up to ``last`` that no record has and the API has not acknowledged."""
    at = max(accepted + 1, 1)
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
    rows: list[WindowJson] = []
    for uuid, following in sorted(ends.items()):
        earlier = starts.get(uuid)
        if earlier is None or earlier["end"] == following["start"]:
            continue
        rows.append(_filler(following, earlier))
    if not rows and ends:
        rows = [_filler(following) for following in list(ends.values())[:1]]
    rows = rows[: last - first + 1]
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


def _at(window: WindowJson, name: str) -> Any:  # noqa: ANN401 -- an instant
    return parse_instant(window[name], name)


def _filler(following: WindowJson, earlier: WindowJson | None = None) -> WindowJson:
    """Nobody's window up to ``following``, from ``earlier``, or from the last microsecond where that is lost too."""
    end, end_mj = following["start"], following["energy_start_mj"]
    start = format_instant(_at(following, "start") - timedelta(microseconds=1))
    start_mj = end_mj
    if earlier is not None:
        start, start_mj = earlier["end"], earlier["energy_end_mj"]
    drawn_mj = int(end_mj) - int(start_mj)
    return {
        "window_seq": 0,
        "device_uuid": following["device_uuid"],
        "start": start,
        "end": end,
        "energy_start_mj": start_mj,
        "energy_end_mj": end_mj,
        "active_mj": str(drawn_mj) if earlier is not None else None,
        "idle_mj": "0" if earlier is not None else None,
        "allocated_gpu_ns": "0",
        "method": following["method"] if earlier is not None else Method.NOT_MEASURED.value,
        "boundary": Boundary.ACCELERATOR.value,
        "coverage": following["coverage"] if earlier is not None else 0.0,
        "pod_uid": None,
        "namespace": None,
        "pod": None,
        "container": None,
        "uncertainty": None,
        "flags": [LOG_DAMAGED],
        "replaces": [],
    }

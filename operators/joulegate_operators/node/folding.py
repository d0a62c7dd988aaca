"""Fewer and longer windows where the API has been away for longer than the disk has room.

Only windows that were never sent are folded, and only those of one device and
subject inside one quarter-hour, which changes no price. Energy is added, never
dropped, and every folded window names the numbers that it stands for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from joulegate.core.metering import Method
from joulegate.core.periods import parse_instant, quarter_of
from joulegate_operators.node.segments import WindowJson

FOLDED: Final = "folded"

_COUNTED: Final = {Method.NVML_COUNTER.value, Method.NVML_POWER_INTEGRAL.value, Method.NVML_COUNTER_AND_POWER.value}


def fold(windows: Iterable[WindowJson]) -> list[WindowJson]:
    """The windows of each device, subject and quarter-hour together as one, in the order of their numbers."""
    groups: defaultdict[tuple[object, ...], list[WindowJson]] = defaultdict(list)
    for window in windows:
        quarter = quarter_of(_at(window, "start"))
        groups[window["device_uuid"], window["pod_uid"], window["container"], quarter].append(window)
    folded = [_together(sorted(group, key=lambda window: _at(window, "start"))) for group in groups.values()]
    return sorted(folded, key=lambda window: int(window["window_seq"]))


def _together(group: list[WindowJson]) -> WindowJson:
    if len(group) == 1:
        return group[0]
    first, last = group[0], group[-1]
    numbers = sorted({number for window in group for number in (window["window_seq"], *window["replaces"])})
    return {
        **first,
        "window_seq": numbers[0],
        "end": last["end"],
        "energy_end_mj": last["energy_end_mj"],
        "active_mj": _sum(group, "active_mj"),
        "idle_mj": _sum(group, "idle_mj"),
        "allocated_gpu_ns": _sum(group, "allocated_gpu_ns"),
        "method": _method(group),
        "coverage": _coverage(group),
        "uncertainty": _uncertainty(group),
        "flags": sorted({FOLDED, *(flag for window in group for flag in window["flags"])}),
        "replaces": numbers[1:],
    }


def _at(window: WindowJson, name: str) -> datetime:
    return parse_instant(window[name], name)


def _sum(group: list[WindowJson], name: str) -> str | None:
    known = [int(window[name]) for window in group if window[name] is not None]
    return str(sum(known)) if known else None


def _method(group: list[WindowJson]) -> str:
    """The one method of what was measured; counter and power together where both were."""
    methods = {str(window["method"]) for window in group} - {Method.NOT_MEASURED.value}
    if len(methods) > 1 and methods <= _COUNTED:
        return Method.NVML_COUNTER_AND_POWER.value
    order = [method.value for method in Method]
    return max(methods, key=order.index, default=Method.NOT_MEASURED.value)  # the least of them, in the order of truth


def _coverage(group: list[WindowJson]) -> float:
    """Of the time in the windows, not of the time between them."""
    spans = [(_at(window, "end") - _at(window, "start")).total_seconds() for window in group]
    covered = sum(span * float(window["coverage"]) for span, window in zip(spans, group, strict=True))
    return min(1.0, covered / max(*spans, 1e-6, sum(spans)))


def _uncertainty(group: list[WindowJson]) -> WindowJson | None:
    """Half-widths added, as if every part erred the same way: never narrower than it was."""
    known = [window["uncertainty"] for window in group if window["uncertainty"] is not None]
    if not known:
        return None
    sums = {name: str(sum(int(part[name]) for part in known)) for name in known[0] if name != "confidence"}
    return {**sums, "confidence": known[0]["confidence"]}

"""Bodies of what node meters send: windows of devices, and the inventory of devices.

A window says what one subject (a container of a pod, or nobody) drew from one
physical device between two instants, and what the device's cumulative energy
was at both. Windows of a device that meet share that value, so they add up to
the device's energy. Standard library only; see :mod:`joulegate.wire`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from joulegate.core.metering import Boundary, Method
from joulegate.core.units import LIMIT_MAX
from joulegate.schema import STRICT, Count, Flags, Identity, Items, Line, Mj, Moment, Number, Quantity
from joulegate.wire import UncertaintyBody

LONGEST_GPU_NS: Final = 366 * 86_400 * 1_000_000_000
"""Most GPU time of one window: what a year has."""

WINDOWS_MOST: Final = 5_000
"""Most windows of one request; about 5 MB of the 8 that a request may have."""

Cumulative = Annotated[int, Quantity(0, LIMIT_MAX)]
Sequence = Annotated[int, Count()]


@dataclass(frozen=True, slots=True)
class WindowBody:
    """One window. Without ``pod_uid`` it is what no pod can be charged with.

    ``active_mj`` and ``idle_mj`` are null where nothing was measured.
    ``replaces`` names further sequence numbers, never sent before, that this
    window stands for: a meter whose log was full, or damaged, folds windows.
    """

    __pydantic_config__ = STRICT
    window_seq: Sequence
    device_uuid: Identity
    start: Moment
    end: Moment
    energy_start_mj: Cumulative
    energy_end_mj: Cumulative
    active_mj: Mj | None
    idle_mj: Mj | None
    allocated_gpu_ns: Annotated[int, Quantity(0, LONGEST_GPU_NS)]
    method: Method
    boundary: Boundary
    coverage: Annotated[float, Number(0, 1)]
    pod_uid: Identity | None = None
    namespace: Line | None = None
    pod: Line | None = None
    container: Line | None = None
    uncertainty: UncertaintyBody | None = None
    flags: Flags = ()
    replaces: Annotated[tuple[Sequence, ...], Items(100_000)] = ()


@dataclass(frozen=True, slots=True)
class WindowsBody:
    """``POST /v1/windows``: windows of one incarnation of a meter's log, in order, from ``seq`` on.

    ``incarnation`` is ``NODE_UID:LOG_UUID``. ``withheld`` names numbers whose windows
    were refused: the meter keeps them, they count as accepted, and may still come.
    A request without both changes nothing and asks for the high-water mark.
    """

    __pydantic_config__ = STRICT
    incarnation: Identity
    seq: Sequence
    windows: Annotated[tuple[WindowBody, ...], Items(WINDOWS_MOST)]
    withheld: Annotated[tuple[Sequence, ...], Items(100_001)] = ()


@dataclass(frozen=True, slots=True)
class QuarantinedBody:
    """A window that was set aside, and why."""

    window_seq: Sequence
    reason: Line


@dataclass(frozen=True, slots=True)
class WindowsAnswer:
    """The highest sequence number up to which every window has come, -1 before number 0; quarantined ones count."""

    accepted_seq: Annotated[int, Count(-1)]
    quarantined: tuple[QuarantinedBody, ...] = ()


@dataclass(frozen=True, slots=True)
class EnrolmentBody:
    """``POST /v1/devices``: a device is there from ``enrolled_at`` on, or no more from ``retired_at`` on."""

    __pydantic_config__ = STRICT
    cluster: Line
    node: Line
    uuid: Identity
    model: Line
    enforced_limit_mw: Annotated[int, Quantity(0, 10**8)] | None = None
    enrolled_at: Moment | None = None
    retired_at: Moment | None = None

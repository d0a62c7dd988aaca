"""Windows of energy as node meters send them, and what makes one unbelievable."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, NamedTuple

from joulegate.core.encoding import encode
from joulegate.core.log import canonical
from joulegate.core.merkle import leaf_hash
from joulegate.core.metering import Boundary, Method, Uncertainty
from joulegate.core.periods import QUARTER, ns_between, quarter_of
from joulegate.core.units import NS_PER_SECOND

LARGEST_MJ: Final = 10**13
"""Bound of one window on a device whose limit is not known."""

_SLACK: Final = (6, 5)
"""A board draws at most 1.2 times its enforced limit."""


@dataclass(frozen=True, slots=True)
class Window:
    """E(end) - E(start) of a device, and the share of one subject of it.

    ``device_uuid`` is the physical GPU. ``pod_uid`` None is energy that no pod
    held. ``active_mj`` and ``idle_mj`` are the subject's shares of the device's
    ``energy_end_mj - energy_start_mj``.
    """

    window_seq: int
    device_uuid: str
    start: datetime
    end: datetime
    energy_start_mj: int
    energy_end_mj: int
    active_mj: int
    idle_mj: int
    allocated_gpu_ns: int
    pod_uid: str | None
    namespace: str | None
    pod: str | None
    container: str | None
    method: Method
    boundary: Boundary
    coverage: float
    uncertainty: Uncertainty | None
    flags: tuple[str, ...] = ()
    replaces: tuple[int, ...] = ()
    """Further numbers, never sent before, that a folded window stands for."""

    @property
    def energy_mj(self) -> int:
        """What the subject is charged for: its active and its idle share."""
        return self.active_mj + self.idle_mj

    @property
    def quarter(self) -> datetime:
        """The UTC quarter-hour that the window lies in."""
        return quarter_of(self.start)

    @property
    def subject(self) -> tuple[str | None, str | None]:
        """Pod and container."""
        return self.pod_uid, self.container

    def body(self) -> dict[str, Any]:
        """As it is kept and hashed."""
        written: dict[str, Any] = encode(self)
        return written


@dataclass(frozen=True, slots=True)
class WindowBatch:
    """Windows of one incarnation of a meter (node uid and log uuid), contiguous from ``seq`` on."""

    cluster: str
    node: str
    incarnation: str
    seq: int
    windows: tuple[Window, ...]
    site: str = "default"
    enrolled_only: bool = False
    """Whether windows of a device that this node has not enrolled are kept apart."""
    withheld: tuple[int, ...] = ()
    """Numbers whose windows the meter keeps back, since they were refused; each may still come."""


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A window that was kept apart, and why."""

    window_seq: int
    reason: str


@dataclass(frozen=True, slots=True)
class Ingested:
    """``accepted_seq`` is the contiguous high-water mark of the incarnation, -1 before its first window."""

    accepted_seq: int
    quarantined: tuple[Quarantined, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """A window that was accepted before, as far as the next one is weighed against it."""

    device_uuid: str
    start: datetime
    end: datetime
    energy_start_mj: int
    energy_end_mj: int
    energy_mj: int
    subject: tuple[str | None, str | None]


class Written(NamedTuple):
    """A window, its body, its canonical bytes and their hash: the same for every repeat, and for nothing else."""

    window: Window
    body: dict[str, Any]
    data: bytes
    digest: str


def written(window: Window) -> Written:
    """Write a window once, because it is kept, compared and hashed."""
    body = window.body()
    data = canonical(body)
    return Written(window, body, data, sha256(data).hexdigest())


def batch_hash(batch: Iterable[Written]) -> str:
    """The leaf hash of the canonical list of the bodies."""
    return leaf_hash(b"[" + b",".join(each.data for each in batch) + b"]").hex()


def span_of(window: Window) -> Span:
    """What later windows are weighed against."""
    return Span(
        window.device_uuid,
        window.start,
        window.end,
        window.energy_start_mj,
        window.energy_end_mj,
        window.energy_mj,
        window.subject,
    )


def fault_of(  # noqa: PLR0911 -- one line a fault
    window: Window, accepted: Iterable[Span], enforced_limit_mw: int | None
) -> str | None:
    """Why a window cannot be believed beside those of its device; None where it can."""
    drawn = window.energy_end_mj - window.energy_start_mj
    if not window.start < window.end <= window.quarter + QUARTER:
        return "is not cut at quarter-hours"
    if min(window.active_mj, window.idle_mj, window.allocated_gpu_ns, window.energy_start_mj, drawn) < 0:
        return "has a negative amount"
    if window.energy_mj > drawn:
        return "has more energy than its device drew"
    if drawn > _bound(window, enforced_limit_mw):
        return "has more energy than its device can draw"
    beside = [span for span in accepted if span.start < window.end and window.start < span.end]
    if any(span.subject == window.subject for span in beside):
        return "overlaps another window of the same device and subject"
    own = span_of(window)
    together = [own, *beside]
    span_mj = max(span.energy_end_mj for span in together) - min(span.energy_start_mj for span in together)
    if sum(span.energy_mj for span in together) > span_mj:
        return "together with others has more energy than its device drew"
    return None


def _bound(window: Window, enforced_limit_mw: int | None) -> int:
    if enforced_limit_mw is None:
        return LARGEST_MJ
    above, below = _SLACK
    return enforced_limit_mw * ns_between(window.start, window.end) * above // (NS_PER_SECOND * below) + 1

"""From the energy of one device to the shares of those who hold it.

A device's energy over a stretch in which nobody's hold on it changes is split
into active and idle energy. Active energy follows use where use is known; idle
energy follows allocation. What belongs to nobody is unattributed. The parts are
whole and sum to the energy of the device (law of conservation): nothing is
counted twice, as happens where the figure of a board is copied to each pod that
shares it, and nothing is lost.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from joulegate.core.metering import Uncertainty
from joulegate.core.units import NS_PER_SECOND, divide_half_even, split_by_largest_remainder

EQUAL_SPLIT: Final = "equal_split"
"""Use could not be had: active energy was split by allocation."""

USE_NOT_SEEN: Final = "use_not_seen"
"""Energy above idle was drawn, and nobody was seen using the device: split by allocation."""

IDLE_UNKNOWN: Final = "idle_unknown"
"""The device was never seen idle, so no part of its energy is called idle."""

_FREE: Final = ""
"""The name of what nobody holds, first in the order of names; no subject has it."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A subject that holds ``units`` of a device.

    ``used`` is how much it used the device, in any unit that is the same for all
    holders and adds up over time (percent seconds, say); None where that cannot
    be had, which is not zero. ``subject`` begins with the pod's uid.
    """

    subject: str
    units: int
    used: int | None = None


@dataclass(frozen=True, slots=True)
class Allocation:
    """Who holds a device of ``capacity`` units.

    Exclusive: one holder of all units. Time slices and MPS: a unit a replica.
    MIG: a unit a compute slice (times the replicas of a slice). ``others_used``
    is the use by processes that belong to no holder.
    """

    capacity: int
    holders: tuple[Holder, ...] = ()
    others_used: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be: no capacity, a hold of nothing, negative use, a subject without a name."""
        used = [holder.used for holder in self.holders if holder.used is not None]
        if min([self.capacity, *(h.units for h in self.holders)]) < 1 or min([self.others_used, *used]) < 0:
            message = f"no device is allocated like this: {self}"
            raise ValueError(message)
        if any(holder.subject == _FREE for holder in self.holders):
            message = "a holder has a name"
            raise ValueError(message)

    @property
    def units(self) -> dict[str, int]:
        """The units that each subject holds, however many parts it has."""
        return _sums((holder.subject, holder.units) for holder in self.holders)

    @property
    def free(self) -> int:
        """The units that nobody holds."""
        return max(0, self.capacity - sum(holder.units for holder in self.holders))

    @property
    def is_exclusive(self) -> bool:
        """Whether one subject holds the whole device."""
        return len(self.units) == 1 and self.free == 0

    @property
    def use(self) -> dict[str, int] | None:
        """The use by each subject and by nobody's processes; None where one of them cannot be had."""
        known = [(holder.subject, holder.used) for holder in self.holders if holder.used is not None]
        return _sums([*known, (_FREE, self.others_used)]) if len(known) == len(self.holders) else None


@dataclass(frozen=True, slots=True)
class Share:
    """What one subject drew from one device; ``allocated_ns`` is its part of the device's time."""

    active_mj: int
    idle_mj: int
    allocated_ns: int

    @property
    def used_mj(self) -> int:
        """The used view: what the subject's own work drew."""
        return self.active_mj

    @property
    def reserved_mj(self) -> int:
        """The reserved view, which budgets count: own work, and idling of what was held."""
        return self.active_mj + self.idle_mj


@dataclass(frozen=True, slots=True)
class Attribution:
    """The shares of a device's energy; with ``nobody`` they sum to it exactly."""

    shares: Mapping[str, Share]
    nobody: Share
    flags: tuple[str, ...] = ()

    @property
    def energy_mj(self) -> int:
        """The energy of the device."""
        return self.nobody.reserved_mj + sum(share.reserved_mj for share in self.shares.values())


def attribute(energy_mj: int, duration_ns: int, idle_mj: int | None, allocation: Allocation) -> Attribution:
    """Split the energy of a stretch among the holders of the device.

    ``idle_mj`` is what the device would have drawn idling, None where that is not
    known. All of it to the holder where one subject holds the whole device;
    elsewhere active energy by use, else by allocation, marked; idle energy by
    allocation. Ties of the largest remainder in the order of subjects.
    """
    flags: set[str] = set()
    use = allocation.use
    unused = use is not None and not any(use.values())
    if idle_mj is None and not unused:
        flags.add(IDLE_UNKNOWN)
    idle = energy_mj if idle_mj is None and unused else min(energy_mj, idle_mj or 0)
    held = {**allocation.units, _FREE: allocation.free}
    idles = split_by_largest_remainder(idle, held)
    times = split_by_largest_remainder(duration_ns, held)
    actives = split_by_largest_remainder(energy_mj - idle, _active_weights(allocation, energy_mj > idle, flags))
    parts = {subject: Share(actives.get(subject, 0), idles.get(subject, 0), times.get(subject, 0)) for subject in held}
    nobody = parts.pop(_FREE)
    return Attribution(parts, nobody, tuple(sorted(flags)))


def _active_weights(allocation: Allocation, drawn: bool, flags: set[str]) -> dict[str, int]:  # noqa: FBT001
    """By what active energy is split; says in ``flags`` where it is not by use."""
    held, use = allocation.units, allocation.use
    if not held:
        return {_FREE: 1}
    if allocation.is_exclusive:
        return held
    if use is not None and any(use.values()):
        return use
    if drawn:
        flags.add(EQUAL_SPLIT if use is None else USE_NOT_SEEN)
    return held


def share_of(whole: Uncertainty, part_mj: int, whole_mj: int) -> Uncertainty:
    """The uncertainty of a share: every part in proportion, rounded up.

    It is that of the sensor. How well use tells energy apart is not in it; the
    flags say by what a share was made.
    """
    if whole_mj == 0:
        return whole  # nothing was counted: no share is smaller than another

    def scaled(value_mj: int) -> int:
        return -(-value_mj * part_mj // whole_mj)

    return Uncertainty(
        lower_mj=whole.lower_mj * part_mj // whole_mj,
        upper_mj=scaled(whole.upper_mj),
        confidence=whole.confidence,
        gain_mj=scaled(whole.gain_mj),
        duty_mj=scaled(whole.duty_mj),
        edge_mj=scaled(whole.edge_mj),
        gap_mj=scaled(whole.gap_mj),
    )


@dataclass(slots=True)
class IdleFloor:
    """The power of a device that nobody uses, learned only while nobody does.

    The lowest mean over at least :attr:`least_ns`. A meter that starts under
    load knows no floor until the load ends, instead of calling the load idle.
    """

    power_mw: int | None = None
    least_ns: int = field(default=10 * NS_PER_SECOND)

    def observe(self, energy_mj: int, duration_ns: int) -> None:
        """Take the energy of a stretch in which the device was proved to be unused."""
        if duration_ns < self.least_ns:
            return
        power_mw = divide_half_even(energy_mj * NS_PER_SECOND, duration_ns)
        self.power_mw = power_mw if self.power_mw is None else min(self.power_mw, power_mw)

    def over(self, duration_ns: int) -> int | None:
        """Idle energy in mJ of a stretch, rounded half even; None while the floor is not known."""
        if self.power_mw is None:
            return None
        return divide_half_even(self.power_mw * duration_ns, NS_PER_SECOND)


def _sums(pairs: Iterable[tuple[str, int]]) -> dict[str, int]:
    totals: defaultdict[str, int] = defaultdict(int)
    for name, value in pairs:
        totals[name] += value
    return dict(totals)

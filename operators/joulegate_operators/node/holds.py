"""Who holds a device: containers of pods, by units of the device's capacity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from joulegate.core.attribution import Allocation, Holder

_MOST_MISSED: Final = 10
"""One sample in so many may be missing."""


class Sharing(StrEnum):
    """How a device is handed out."""

    EXCLUSIVE = "exclusive"
    REPLICAS = "replicas"
    """Time slices or MPS; both give replicas of a device to the kubelet."""
    MIG = "mig"
    CLAIMS = "claims"
    """Dynamic resource allocation: one device for every pod that its claim is reserved for."""


@dataclass(frozen=True, order=True, slots=True)
class Subject:
    """One container of one pod. A pod made again under the same name has another uid."""

    pod_uid: str
    namespace: str
    pod: str
    container: str

    @property
    def key(self) -> str:
        """The identity among the holders of a device; begins with the uid, so ties go by uid."""
        return f"{self.pod_uid}/{self.container}"


@dataclass(frozen=True, order=True, slots=True)
class Hold:
    """``units`` of a device in the hands of a subject; ``part`` is the MIG device, empty for the whole device."""

    subject: Subject
    units: int
    part: str = ""


@dataclass(frozen=True, slots=True)
class DeviceHolds:
    """Everybody who holds one device of ``capacity`` units; equal values mean that nothing changed."""

    sharing: Sharing = Sharing.EXCLUSIVE
    capacity: int = 1
    holds: tuple[Hold, ...] = ()
    flags: tuple[str, ...] = ()

    @property
    def subjects(self) -> dict[str, Subject]:
        """The holders by their keys."""
        return {hold.subject.key: hold.subject for hold in self.holds}

    def allocation(self, use: Use) -> Allocation:
        """The holds with what was seen of their use."""
        per_key: dict[str, int | None] = {key: use.of(key) for key in self.subjects}
        holders: list[Holder] = []
        for hold in self.holds:
            key = hold.subject.key
            holders.append(Holder(key, hold.units, per_key[key]))
            per_key[key] = None if per_key[key] is None else 0  # counted once, whatever number of parts it has
        return Allocation(self.capacity, tuple(holders), use.others)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON, for the tape."""
        rows = [
            [h.subject.pod_uid, h.subject.namespace, h.subject.pod, h.subject.container, h.units, h.part]
            for h in self.holds
        ]
        return {"sharing": self.sharing.value, "capacity": self.capacity, "holds": rows, "flags": list(self.flags)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> DeviceHolds:
        """Read back what :meth:`to_json` wrote."""
        holds = tuple(Hold(Subject(*row[:4]), row[4], row[5]) for row in value["holds"])
        return cls(Sharing(value["sharing"]), value["capacity"], holds, tuple(value["flags"]))


def while_away(
    known: DeviceHolds,
    found: DeviceHolds,
    began: Mapping[str, datetime],
    finished: Mapping[str, datetime],
    now: datetime,
) -> Iterator[tuple[datetime, DeviceHolds]]:
    """What happened between two looks at a device, by what is known of its pods: instants and the holds from then on.

    A pod that is gone held the device until it ended, where the cluster still says
    when; else until the first of the new pods began, or until now. ``began`` and
    ``finished`` are by pod uid.
    """
    new = set(found.subjects.values()) - set(known.subjects.values())
    change = min([began[subject.pod_uid] for subject in new if subject.pod_uid in began] + [now])
    gone = set(known.subjects.values()) - set(found.subjects.values())
    ends = {subject: min(finished[subject.pod_uid], change) for subject in gone if subject.pod_uid in finished}
    for end in sorted({*ends.values()}):
        left = tuple(hold for hold in known.holds if ends.get(hold.subject, now) > end)
        yield end, replace(known, holds=left)
    yield change, found


@dataclass(slots=True)
class Use:
    """Use of a device added up over a stretch.

    ``seen`` holds the use by each subject's key, in percent milliseconds or any
    other unit of one source. Where more than a tenth of the samples is missing
    use is not known, which is not zero.
    """

    seen: dict[str, int]
    others: int = 0
    samples: int = 0
    missed: int = 0

    @classmethod
    def none(cls) -> Use:
        """No sample yet."""
        return cls({})

    def add(self, seen: Mapping[str, int] | None, others: int = 0) -> None:
        """Take one sample; None where it could not be had."""
        if seen is None:
            self.missed += 1
            return
        self.samples += 1
        self.others += others
        for key, amount in seen.items():
            self.seen[key] = self.seen.get(key, 0) + amount

    @property
    def known(self) -> bool:
        """Whether the samples tell the use of everybody."""
        return self.samples > 0 and _MOST_MISSED * self.missed <= self.samples

    @property
    def idle(self) -> bool:
        """Whether it is proved that nobody used the device."""
        return self.known and not self.others and not any(self.seen.values())

    def of(self, key: str) -> int | None:
        """The use by one subject; None where use is not known."""
        return self.seen.get(key, 0) if self.known else None

    def to_json(self) -> list[Any]:
        """As plain JSON, for the tape."""
        return [self.seen, self.others, self.samples, self.missed]

    @classmethod
    def from_json(cls, value: list[Any]) -> Use:
        """Read back what :meth:`to_json` wrote."""
        seen, others, samples, missed = value
        return cls(dict(seen), others, samples, missed)

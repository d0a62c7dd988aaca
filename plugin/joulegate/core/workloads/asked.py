"""What the spec of an object asks for, before its author's annotations are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from joulegate.core.workloads.demand import Group
from joulegate.core.workloads.reading import Manifest
from joulegate.core.workloads.surroundings import Surroundings


@dataclass(frozen=True, slots=True)
class Asked:
    """Groups of pods, the platform's limit of their time, and annotations of their template."""

    groups: tuple[Group, ...]
    deadline_ns: int | None = None
    suspended: bool = False
    open_ended: bool = False
    annotations: Mapping[str, str] = field(default_factory=dict)


Reader = Callable[[Manifest, Manifest, Surroundings], Asked]
"""Reads an object, given whole and its spec."""


def longest(deadlines: list[int | None]) -> int | None:
    """The time of parts that run side by side; None where one has no limit."""
    known = [deadline for deadline in deadlines if deadline is not None]
    return max(known) if known and len(known) == len(deadlines) else None


def shortest(*deadlines: int | None) -> int | None:
    """The limit that ends first, None where there is none."""
    return min((deadline for deadline in deadlines if deadline is not None), default=None)

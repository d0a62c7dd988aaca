"""What a run says of its own energy beside what the node meter's windows of its pod say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from joulegate.core.evidence import Reading, Readings
from joulegate.core.metering import Boundary
from joulegate.core.tallies import Fact, totals_of


@dataclass(frozen=True, slots=True)
class Opinion:
    """A record with the windows of its pod that touch its time, in mJ at the accelerators.

    Windows are cut at quarter-hours and where holds change, not where runs begin: ``start`` and ``end`` say what
    they cover. ``difference_mj`` is the record less the windows; None where the record measured nothing.
    """

    record_id: str
    charged: bool
    windows: int
    start: datetime
    end: datetime
    reported_mj: int | None
    metered_mj: int
    difference_mj: int | None


def opinions_of(facts: Iterable[Fact], readings: Readings) -> tuple[Opinion, ...]:
    """One row for each record whose pod a node meter saw, in the order of the records."""
    facts = list(facts)
    pods = {(fact.record.run.namespace, fact.record.run.pod_uid) for fact in facts if fact.record.run.pod_uid}
    by_pod: dict[tuple[str, str] | None, list[Reading]] = {}
    for reading in readings.held_by(pods):
        by_pod.setdefault(reading.pod, []).append(reading)
    found = []
    for fact in facts:
        run = fact.record.run
        own = by_pod.get((run.namespace, run.pod_uid), []) if run.pod_uid is not None else []
        beside = [each for each in own if each.end > fact.record.started_at and each.start < fact.record.ended_at]
        if beside:
            found.append(_opinion(fact, beside))
    return tuple(found)


def _opinion(fact: Fact, windows: Sequence[Reading]) -> Opinion:
    accelerators = [each for each in totals_of(fact.slices) if each.boundary is Boundary.ACCELERATOR]
    reported = accelerators[0].energy_mj if accelerators else None
    metered = sum(each.active_mj + each.idle_mj for each in windows)
    return Opinion(
        record_id=fact.record.record_id,
        charged=fact.charged,
        windows=len(windows),
        start=min(each.start for each in windows),
        end=max(each.end for each in windows),
        reported_mj=reported,
        metered_mj=metered,
        difference_mj=None if reported is None else reported - metered,
    )

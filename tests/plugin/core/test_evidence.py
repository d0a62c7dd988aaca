"""The energy of each GPU is balanced to the millijoule, and hours that nobody measured are counted."""

from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from joulegate.core.audit import AuditReport, Query, audit
from joulegate.core.evidence import Evidence, Reading, Readings, enrolments_of, event_of, reading_of
from joulegate.core.periods import Period, format_instant
from joulegate.core.scopes import Scope, ScopeKind
from joulegate.core.tallies import Tier
from tests.plugin.core.audited import NOON, fact, record

HOUR = timedelta(hours=1)
HOUR_NS = 3_600 * 10**9
DAY = Period(NOON - 12 * HOUR, NOON + 12 * HOUR)


def reading(begin: float, end: float, counter: tuple[int, int], active: int, idle: int = 0, **more: Any) -> Reading:
    told: dict[str, Any] = {
        "held": True,
        "tier": Tier.MEASURED,
        "device_uuid": "GPU-1",
        "accepted_at": NOON + 11 * HOUR,
    } | more
    return Reading(
        start=NOON + begin * HOUR,
        end=NOON + end * HOUR,
        counter_start_mj=counter[0],
        counter_end_mj=counter[1],
        active_mj=active,
        idle_mj=idle,
        **told,
    )


def enrolled(uuid: str = "GPU-1", begin: float = 0) -> tuple[Any, dict[str, Any]]:
    told = {"uuid": uuid, "model": "NVIDIA A100", "enrolled_at": format_instant(NOON + begin * HOUR)}
    return NOON, {"enrolled": told}


def report(*readings: Reading, devices: tuple[Any, ...] = (), query: Query | None = None) -> AuditReport:
    return audit(
        query or Query(DAY, None), [], (), "joulegate 0", Evidence(readings=Readings(readings), devices=devices)
    )


def test_two_pods_on_one_device_share_one_difference_of_its_counter() -> None:
    made = report(
        reading(0, 0.25, (100, 200), 30, 10),
        reading(0, 0.25, (100, 200), 40, 5),
        reading(0.25, 0.5, (200, 260), 0, 50, held=False),
        devices=(enrolled(),),
    )
    (row,) = made.balances
    assert (row.counter_mj, row.active_mj, row.idle_mj, row.unheld_mj, row.unattributed_mj) == (160, 70, 15, 50, 25)
    assert (row.measured_ns, row.expected_ns) == (HOUR_NS // 2, 11 * HOUR_NS)
    assert row.missing_ns == 11 * HOUR_NS - HOUR_NS // 2
    assert [hours.basis for hours in made.hours] == ["records of runs", "enrolled devices"]


def test_a_counter_that_began_again_is_no_negative_energy() -> None:
    (row,) = report(reading(0, 0.25, (10_000, 10_100), 100), reading(0.25, 0.5, (0, 40), 40)).balances
    assert (row.counter_mj, row.unattributed_mj) == (140, 0)


def test_a_device_that_never_answered_is_missing_and_not_zero_energy_measured() -> None:
    made = report(reading(0, 0.25, (0, 9), 9), devices=(enrolled(), enrolled("GPU-2", begin=1)))
    silent = made.balances[1]
    assert (silent.uuid, silent.windows, silent.measured_ns, silent.missing_ns) == ("GPU-2", 0, 0, 10 * HOUR_NS)


def test_more_shared_out_than_the_counter_moved_is_a_difference() -> None:
    made = report(reading(0, 0.25, (0, 10), 11))
    assert not made.recomputed
    assert "1 mJ more" in made.checks[-1].differences[0]


def test_estimated_time_is_not_measured_time() -> None:
    (row,) = report(reading(0, 0.25, (0, 10), 10, tier=Tier.ESTIMATED), devices=(enrolled(),)).balances
    assert (row.measured_ns, row.estimated_ns) == (0, HOUR_NS // 4)


def test_whole_devices_stand_in_reports_of_everything_only() -> None:
    query = Query(DAY, None, Scope(ScopeKind.MODEL, "digits"))
    assert report(reading(0, 0.25, (0, 10), 10), query=query).balances == ()
    assert report(reading(0, 0.25, (0, 10), 10), query=Query(DAY, "vision")).balances == ()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6)),
        min_size=1,
        max_size=12,
    )
)
def test_energy_balances_to_the_millijoule_whatever_the_order(parts: list[tuple[int, int, int, int]]) -> None:
    readings, counter = [], 0
    for place, (active, idle, unheld, rest) in enumerate(parts):
        end = counter + active + idle + unheld + rest
        span = (place / 4, (place + 1) / 4, (counter, end))
        readings += [reading(*span, active, idle), reading(*span, unheld, held=False)]
        counter = end
    made, turned = report(*readings), report(*reversed(readings))
    (row,) = made.balances
    assert row.counter_mj == counter == row.active_mj + row.idle_mj + row.unheld_mj + row.unattributed_mj
    assert row.unattributed_mj == sum(part[3] for part in parts)
    assert made.digest == turned.digest


def test_a_device_that_was_enrolled_again_was_expected_on_in_two_spans() -> None:
    first, again = enrolled()[1], enrolled(begin=5)[1]
    retired = {"retired": "GPU-1", "retired_at": format_instant(NOON + 2 * HOUR)}
    spans = [(each.begin, each.end) for each in enrolments_of([first, retired, again])]
    assert spans == [(NOON, NOON + 2 * HOUR), (NOON + 5 * HOUR, None)]


def test_a_correction_of_a_run_is_told_although_it_came_after_the_period() -> None:
    late = event_of("correction", NOON + 90 * HOUR, {"record_id": "record-a", "reason": "declared_twice"})
    other = event_of("correction", NOON + 91 * HOUR, {"record_id": "record-x", "reason": "declared_twice"})
    made = audit(Query(DAY, None), [fact(record("a", [1]))], (), "joulegate 0", Evidence(events=(late, other)))
    assert made.events == (late,)
    assert made.as_of == late.at


def test_a_window_is_read_as_it_is_kept() -> None:
    body = {
        "device_uuid": "GPU-1",
        "start": "2026-11-23T12:00:00Z",
        "end": "2026-11-23T12:15:00Z",
        "energy_start_mj": "100",
        "energy_end_mj": "200",
        "active_mj": "60",
        "idle_mj": "40",
        "pod_uid": None,
        "method": "replayed",
    }
    read = reading_of(body, NOON)
    assert (read.counter_end_mj - read.counter_start_mj, read.held, read.tier) == (100, False, Tier.REPLAYED)

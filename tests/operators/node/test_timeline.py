"""Dates never go back, whatever the wall clock does; quarter-hours are found on both clocks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from joulegate.clock import Instant
from joulegate.core.periods import quarter_of
from joulegate.core.units import NS_PER_SECOND
from joulegate_operators.node.timeline import Timeline

START = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def after(seconds: float, error_s: float = 0.0) -> Instant:
    return Instant(int(seconds * NS_PER_SECOND), START + timedelta(seconds=seconds + error_s))


def test_a_good_clock_gives_its_own_dates() -> None:
    timeline = Timeline(after(0))
    assert [timeline.observe(after(n)) for n in (1, 2, 3)] == [START + n * SECOND for n in (1, 2, 3)]
    assert timeline.steps == 0


def test_f6_a_clock_set_back_ten_minutes_is_waited_for_without_going_back() -> None:
    timeline = Timeline(after(0))
    timeline.observe(after(10))
    dates = [timeline.observe(after(10 + n, -600)) for n in range(1, 13_000)]
    assert all(a < b for a, b in pairwise(dates))
    assert timeline.steps == 1
    assert timeline.skew <= timedelta(milliseconds=500)


def test_f6_a_clock_set_forward_is_followed_at_once() -> None:
    timeline = Timeline(after(0))
    assert timeline.observe(after(10, 600)) == START + 610 * SECOND
    assert timeline.steps == 1


def test_every_quarter_hour_that_passed_is_found_on_both_clocks() -> None:
    timeline = Timeline(after(0))
    earlier = timeline.last
    timeline.observe(after(3_600 + 10))
    found = list(timeline.quarters(earlier))
    assert [cut.utc for cut in found] == [START + timedelta(minutes=15 * n) for n in (1, 2, 3, 4)]
    assert [cut.boottime_ns // NS_PER_SECOND for cut in found] == [900, 1_800, 2_700, 3_600]


@given(st.lists(st.tuples(st.integers(1, 2_000), st.integers(-1_000, 1_000)), min_size=1, max_size=40))
def test_f6_no_step_of_the_clock_makes_a_date_earlier_than_one_before(steps: list[tuple[int, int]]) -> None:
    timeline = Timeline(after(0))
    at, error = 0, 0
    before = timeline.last
    for seconds, step in steps:
        at, error = at + seconds, error + step
        date = timeline.observe(after(at, error))
        assert date >= before.utc
        for cut in timeline.quarters(before):
            assert quarter_of(cut.utc) == cut.utc
            assert before.boottime_ns <= cut.boottime_ns <= timeline.last.boottime_ns
        before = timeline.last

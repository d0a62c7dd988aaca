"""The parts of an interval, each for itself; together they are judged in test_metering.py."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from joulegate.core import uncertainty
from joulegate.core.uncertainty import Parts, duty_part, edge_part, gain_part, gap_part, student

SECOND = 1_000_000_000
LOOK = SECOND // 10
powers = st.lists(st.floats(0, 1_500_000), max_size=300)


@given(powers, st.integers(1, 100 * SECOND))
def test_a_sensor_that_always_looks_has_no_duty_part(series: list[float], duration_ns: int) -> None:
    assert duty_part(series, LOOK, duration_ns, 1.0) == 0


@given(powers, st.integers(1, 100 * SECOND), st.floats(0, 1))
def test_no_part_is_negative(series: list[float], duration_ns: int, seen: float) -> None:
    assert duty_part(series, LOOK, duration_ns, seen) >= 0


def test_a_constant_power_leaves_no_doubt_between_looks() -> None:
    assert duty_part([250_000.0] * 80, LOOK, 8 * SECOND, 0.25) == 0


def test_a_real_step_leaves_little_doubt() -> None:
    stepped = [60_000.0] * 40 + [200_000.0] * 40
    assert duty_part(stepped, LOOK, 8 * SECOND, 0.25) < 0.03 * 8 * 130_000


def test_unrest_that_comes_back_to_itself_is_no_real_step() -> None:
    """Looks that repeat after three: a beat that begins. The true mean may be anywhere between quiet and unrest."""
    looks = [40_000.0] * 40 + [70_000.0, 43_000.0, 98_000.0] * 13
    assert duty_part(looks, LOOK, 8 * SECOND, 0.25) > 8 * 5_000


def test_a_slow_swing_may_be_a_beat() -> None:
    """A triangle of 3.4 s between 60 and 180 W: the mean over 1 s may be any of its powers."""
    triangle = [60_000.0 + 120_000 * abs((at % 34) / 17 - 1) for at in range(100)]
    assert duty_part(triangle, LOOK, 1 * SECOND, 0.25) > 0.3 * 120_000
    assert duty_part(triangle, LOOK, 30 * SECOND, 0.25) < 0.1 * 30 * 120_000


def test_a_swing_that_was_seen_only_once_may_be_anywhere_in_its_range() -> None:
    ramp = [60_000.0 + 1_000 * at for at in range(80)]
    assert duty_part(ramp, LOOK, 8 * SECOND, 0.25) >= 8 * 39_000


def test_more_time_makes_the_mean_of_irregular_looks_better() -> None:
    looks = [100_000.0, 200_000.0, 180_000.0, 90_000.0, 160_000.0] * 40
    shares = [duty_part(looks, LOOK, seconds * SECOND, 0.25) / seconds for seconds in (1, 4, 16)]
    assert shares[0] > 1.5 * shares[1] > 2 * shares[2]


def test_one_look_says_nothing_about_the_rest() -> None:
    assert duty_part([100_000.0], LOOK, SECOND, 0.25) == 100_000
    assert duty_part([], LOOK, SECOND, 0.25) == 0


def test_the_gain_part_is_a_share_of_the_energy() -> None:
    assert gain_part(1_000_000, 0, calibrated=False) == 112_000
    assert gain_part(1_000_000, 10 * SECOND, calibrated=True) == 15_000


@given(st.integers(5_000, 60_000), st.integers(-5_000, 5_000), st.floats(0.97, 1.03))
def test_an_idle_board_that_is_five_watts_off_is_within_the_gain_part(true_mw: int, off_mw: int, gain: float) -> None:
    """The vendor's +/- 5 W beside an ordinary gain, over ten seconds; near idle a share of the energy says nothing."""
    shown_mj = round((gain * true_mw + off_mw) * 10)
    assume(shown_mj >= 0)
    assert abs(shown_mj - true_mw * 10) <= gain_part(shown_mj, 10 * SECOND, calibrated=False)


def test_under_load_the_offset_hardly_shows() -> None:
    assert gain_part(300_000 * 60, 60 * SECOND, calibrated=False) < 1.02 * gain_part(300_000 * 60, 0, calibrated=False)


def test_the_gain_is_student_s_interval_of_the_published_boards() -> None:
    """SC24's table: energy error against the external meter in per cent, one row a board."""
    errors = [-5.55, -3.0, -1.96, -2.7, -3.73, -5.27, -3.59, -7.93, 12.72, -7.02, 0.34, -0.36, -5.78, 0.73, -1.35]
    spread = (sum(error**2 for error in errors) / len(errors)) ** 0.5
    assert pytest.approx(spread * 2.131 / 100, abs=0.0005) == uncertainty.GAIN


def test_an_edge_errs_by_the_power_there_times_half_a_refresh() -> None:
    assert edge_part((300_000, LOOK // 2), (0, LOOK // 2)) == 15_000
    assert edge_part((300_000, LOOK // 2), (400_000, LOOK // 2)) == 25_000


def test_a_gap_is_anything_between_nothing_and_the_limit() -> None:
    assert gap_part(2 * SECOND, 400_000) == 400_000


def test_parts_combine_in_quadrature() -> None:
    assert Parts(2, 3, 6, 0).combined() == 7


def test_few_values_widen_their_mean() -> None:
    assert student(2) == 12.71
    assert student(11) > student(12) > student(1000) > 1.96

"""E(t): laws for any readings, and what each fault of a counter leads to."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.core.curve import EnergyCurve, How, Instrument, Reading
from joulegate.core.sensors import SENSORS, Calibration

MS = 1_000_000
SECOND = 1_000 * MS
TURING = Instrument(SENSORS["turing"], limit_mw=400_000)


def curve_of(readings: Sequence[Reading], instrument: Instrument = TURING, *, capacity: int = 1 << 17) -> EnergyCurve:
    curve = EnergyCurve(instrument, capacity)
    for reading in readings:
        curve.add(reading)
    curve.close()
    return curve


def counted(*pairs: tuple[int, int], power: int | None = None) -> list[Reading]:
    """Readings from (seconds, counter in J)."""
    return [Reading(at * SECOND, counter_mj=joules * 1000, instant_mw=power) for at, joules in pairs]


def hows(curve: EnergyCurve) -> list[tuple[How, str]]:
    return [(piece.how, piece.why) for piece in curve.pieces]


optional_energy = st.none() | st.integers(0, 10**9)
optional_power = st.none() | st.integers(0, 2_000_000)


@st.composite
def any_readings(draw: st.DrawFn) -> list[Reading]:
    """Readings at rising times; counters jump, stand still, run backwards, are missing."""
    at, readings = 0, []
    for gap in draw(st.lists(st.integers(1, 20 * SECOND), min_size=1, max_size=30)):
        at += gap
        readings.append(Reading(at, draw(optional_energy), draw(optional_power), draw(optional_power)))
    return readings


@given(any_readings(), st.lists(st.integers(-SECOND, 400 * SECOND), min_size=2, max_size=8, unique=True))
def test_windows_telescope_and_no_energy_is_negative_or_invented(readings: list[Reading], cuts: list[int]) -> None:
    curve = curve_of(readings)
    if curve.known_from_ns is None:
        return
    cuts.sort()
    energies = [curve.energy_at(cut) for cut in cuts]
    windows = [b - a for a, b in pairwise(energies)]
    assert min(windows) >= 0
    assert sum(windows) == energies[-1] - energies[0]
    highest = max((reading.power_mw or 0 for reading in readings), default=0)
    most_mw = max(highest, 2 * 400_000)  # 1.2 x the limit, and a refresh at either end
    assert windows[0] <= most_mw * (cuts[-1] - cuts[0] + 30 * SECOND) // SECOND


@given(any_readings(), st.permutations(range(0, 300, 25)))
def test_the_order_of_questions_does_not_make_time_run_backwards(readings: list[Reading], order: list[int]) -> None:
    curve = EnergyCurve(TURING, capacity=8)
    asked: dict[int, int] = {}
    questions = iter(order)
    for reading in readings:
        curve.add(reading)
        question = next(questions, None)
        if question is not None and curve.known_from_ns is not None:
            asked[question] = curve.energy_at(question * SECOND)
    curve.close()
    if curve.known_from_ns is None:
        return
    asked |= {question: curve.energy_at(question * SECOND) for question in questions}
    answers = [asked[question] for question in sorted(asked)]
    assert answers == sorted(answers)
    assert all(curve.energy_at(question * SECOND) == answer for question, answer in asked.items())


def test_a_counter_is_believed_to_the_millijoule() -> None:
    curve = curve_of(counted((1, 500), (2, 800), (3, 1000), (4, 1300)))
    assert curve.energy_at(4 * SECOND) - curve.energy_at(1 * SECOND) == 800_000 + 300_000 * 50 // 1000 - 15_000
    assert hows(curve) == [(How.COUNTER, "")]


def test_a_constant_power_integrates_to_power_times_time() -> None:
    curve = curve_of([Reading(at * 100 * MS, instant_mw=250_000) for at in range(51)])
    assert curve.energy_at(4 * SECOND) - curve.energy_at(1 * SECOND) == 750_000
    assert hows(curve) == [(How.POWER, "")]


def test_the_integral_of_power_is_put_back_by_the_lag_of_the_sensor() -> None:
    """A step from 100 to 300 W at 5 s that a contiguous sensor shows in steps of 100 ms, 100 ms late."""
    powers = [100_000 if at < 500 else 300_000 for at in range(1000)]
    late = [Reading((at * 10 + 100) * MS, instant_mw=powers[at // 10 * 10]) for at in range(1000)]
    curve = curve_of(late)
    assert curve.energy_at(6 * SECOND) - curve.energy_at(4 * SECOND) == pytest.approx(400_000, rel=0.03)


def test_a_counter_that_runs_backwards_is_filled_from_power() -> None:
    curve = curve_of(counted((1, 500), (2, 700), (3, 0), (4, 200), (5, 400), power=200_000))
    assert hows(curve) == [(How.COUNTER, ""), (How.POWER, "counter_backwards"), (How.COUNTER, "")]
    assert curve.energy_at(5 * SECOND) - curve.energy_at(1 * SECOND) == pytest.approx(800_000, rel=0.02)


def test_a_counter_that_runs_backwards_without_power_is_a_gap() -> None:
    curve = curve_of(counted((1, 500), (2, 700), (3, 0), (4, 200), (5, 400)))
    assert hows(curve) == [(How.COUNTER, ""), (How.GAP, "counter_backwards"), (How.COUNTER, "")]
    assert curve.energy_at(10 * SECOND) == 600_000 + 10_000


def test_a_counter_that_jumps_above_what_the_limit_allows_is_not_believed() -> None:
    curve = curve_of(counted((1, 500), (2, 700), (3, 900_000), (4, 900_200), power=200_000))
    assert hows(curve) == [(How.COUNTER, ""), (How.POWER, "counter_jump"), (How.COUNTER, "")]


def test_a_rise_that_the_limit_allows_is_believed() -> None:
    assert hows(curve_of(counted((1, 0), (2, 400), (3, 880)))) == [(How.COUNTER, "")]


def test_a_counter_that_stands_still_while_power_is_drawn_is_replaced_by_power() -> None:
    stuck = counted((1, 500), (2, 700), (3, 700), (4, 700), (5, 900), (6, 1100), power=200_000)
    curve = curve_of(stuck)
    assert (How.POWER, "counter_stuck") in hows(curve)
    assert curve.energy_at(6 * SECOND) - curve.energy_at(1 * SECOND) == pytest.approx(1_000_000, rel=0.05)


def test_a_counter_that_stands_still_without_power_is_a_gap() -> None:
    curve = curve_of(counted((1, 500), (2, 700), (3, 700), (4, 700), (5, 710), (6, 910)))
    assert hows(curve) == [(How.COUNTER, ""), (How.GAP, "counter_stuck"), (How.COUNTER, "")]


def test_a_counter_that_stands_still_to_the_end_is_a_gap() -> None:
    curve = curve_of(counted((1, 500), (2, 700), (3, 700), (4, 700), (5, 700)))
    assert hows(curve) == [(How.COUNTER, ""), (How.GAP, "counter_stuck")]


def test_a_counter_that_catches_up_has_missed_nothing() -> None:
    curve = curve_of(counted((1, 500), (2, 700), (3, 700), (4, 700), (5, 1300), (6, 1500)))
    assert hows(curve) == [(How.COUNTER, "")]


def test_a_counter_that_is_read_late_has_missed_nothing() -> None:
    assert hows(curve_of(counted((1, 500), (2, 700), (60, 12_300), (61, 12_500)))) == [(How.COUNTER, "")]


def test_power_that_is_read_too_seldom_leaves_a_gap() -> None:
    at = [*range(10), *range(20, 30)]
    curve = curve_of([Reading(second * SECOND, instant_mw=100_000) for second in at])
    assert hows(curve) == [(How.POWER, ""), (How.GAP, "no_readings"), (How.POWER, "")]
    assert curve.energy_at(30 * SECOND) == pytest.approx(1_800_000, rel=0.02)


def test_outside_its_readings_a_curve_is_a_gap() -> None:
    curve = curve_of([Reading(second * SECOND, instant_mw=100_000) for second in range(10, 20)])
    pieces = list(curve.pieces_between(0, 30 * SECOND))
    assert [(piece.how, piece.why) for _, _, piece in pieces] == [
        (How.GAP, "before_first_reading"),
        (How.POWER, ""),
        (How.GAP, "after_last_reading"),
    ]
    assert pieces[0][0] == 0
    assert pieces[-1][1] == 30 * SECOND
    assert all(before[1] == after[0] for before, after in pairwise(pieces))


def test_readings_without_any_figure_are_no_readings() -> None:
    curve = curve_of([Reading(1), Reading(2)])
    assert curve.known_from_ns is None
    with pytest.raises(ValueError, match="empty"):
        curve.energy_at(1)


def test_readings_go_forward_in_time() -> None:
    curve = curve_of([Reading(2 * SECOND, instant_mw=1)])
    with pytest.raises(ValueError, match="follows"):
        curve.add(Reading(1 * SECOND, instant_mw=1))


def test_a_calibrated_board_is_put_right() -> None:
    """A sensor that shows 0.95 x true + 2 W, at 300 W."""
    instrument = Instrument(SENSORS["turing"], calibration=Calibration(Fraction(95, 100), Fraction(2000)))
    shown = [Reading(at * 100 * MS, instant_mw=287_000) for at in range(100)]
    curve = curve_of(shown, instrument)
    assert curve.energy_at(8 * SECOND) - curve.energy_at(2 * SECOND) == pytest.approx(1_800_000, abs=1)


def test_a_calibrated_board_never_gives_energy_back() -> None:
    instrument = Instrument(SENSORS["turing"], calibration=Calibration(Fraction(1), Fraction(50_000)))
    curve = curve_of([Reading(at * 100 * MS, instant_mw=20_000) for at in range(100)], instrument)
    assert curve.energy_at(8 * SECOND) == 0


def test_memory_is_bounded_however_long_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("joulegate.core.curve.MOST_ANSWERS", 1000)
    curve = curve_of(counted(*((at, 200 * at) for at in range(20_000))), capacity=1000)
    assert len(curve._times) <= 1000
    for at in range(3000):
        curve.energy_at(at * SECOND)
    assert len(curve._fixed) == len(curve._asked) <= 1000
    assert curve.energy_at(19_000 * SECOND) - curve.energy_at(10 * SECOND) == pytest.approx(200_000 * 18_990, abs=1)

"""A board beside an external meter: gain and offset, or why there is no line."""

from random import Random

import pytest
from bench.boards import Board, truth_of
from bench.traces import NAMES, fitted, outside, sensor_trace

from joulegate.core.calibrating import fit
from joulegate.core.errors import InvalidInputError
from joulegate.core.sensors import NS_PER_MS, SENSORS
from joulegate.core.traces import Trace

LEVELS = (60_000.0, 250_000.0, 120_000.0, 320_000.0, 60_000.0)


def seen(powers: list[float], gain: float, offset_mw: float, sensor: str = "turing") -> tuple[Trace, Trace]:
    """What a board shows of a load, one value a millisecond, and what an external meter does."""
    truth, board = truth_of(powers), Board(SENSORS[sensor], 100.0, 37.0, gain, offset_mw)
    readings = board.powers(Random(1), truth, len(powers), 10.0)  # noqa: S311 -- a board, no secret
    times = tuple(reading.at_ns for reading in readings)
    shown = Trace("shown", times, {"instant_mw": tuple(reading.instant_mw or 0 for reading in readings)})
    every = range(0, len(powers), 5)
    return shown, Trace(
        "meter", tuple(at * NS_PER_MS for at in every), {"power_mw": tuple(int(powers[at]) for at in every)}
    )


@pytest.mark.parametrize(("gain", "offset_mw", "sensor"), [(0.95, -1_200, "turing"), (1.05, 2_000, "a100")])
def test_gain_and_offset_of_a_board_are_found(gain: float, offset_mw: float, sensor: str) -> None:
    powers = [level for level in LEVELS for _ in range(2_000)]
    found = fit(*seen(powers, gain, offset_mw, sensor), sensor=SENSORS[sensor])
    assert float(found.calibration.gain) == pytest.approx(gain, abs=0.005)
    assert float(found.calibration.offset_mw) == pytest.approx(offset_mw, abs=900)


def test_a_load_that_hardly_varies_fits_any_line_and_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="two loads or more"):
        fit(*seen([200_000.0] * 10_000, 0.95, 0))


def test_readings_that_have_nothing_to_do_with_the_meter_are_refused() -> None:
    powers = [level for level in LEVELS for _ in range(2_000)]
    shown, _ = seen(powers, 0.95, 0)
    _, other = seen(powers[::-1], 1, 0)
    moved = Trace("meter", tuple(at + 900 * NS_PER_MS for at in other.times_ns), other.columns)
    with pytest.raises(InvalidInputError, match="one clock"):
        fit(shown, moved)


def test_traces_that_have_no_time_in_common_are_refused() -> None:
    shown, true = seen([level for level in LEVELS for _ in range(500)], 0.95, 0)
    later = Trace("meter", tuple(at + 10**12 for at in true.times_ns), true.columns)
    with pytest.raises(InvalidInputError, match="in common"):
        fit(shown, later)


def test_a_load_that_beats_with_the_sensor_is_refused() -> None:
    """The A100 of the real traces looks a quarter of the time at a square wave near its refresh."""
    with pytest.raises(InvalidInputError, match="off any line"):
        fit(sensor_trace(NAMES[0]), outside(NAMES[0]))


def test_two_real_traces_of_one_board_agree() -> None:
    one, other = fitted(NAMES[2]), fitted(NAMES[3])
    assert float(one.gain) == pytest.approx(float(other.gain), abs=0.01)

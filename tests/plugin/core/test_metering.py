"""Measurements against the truth: real boards one by one, simulated boards as a population."""

from random import Random

import pytest
from bench.population import LOTS, Lot, drawn
from bench.traces import NAMES, fitted, last_ms, outside_truth, sensor_trace

from joulegate.core.curve import Instrument, Reading
from joulegate.core.metering import Boundary, Measurement, Method, measure_readings
from joulegate.core.sensors import NS_PER_MS, SENSORS, Calibration
from joulegate.core.traces import TraceMeter

STEP_MS = 125


def covers(found: Measurement, true_mj: float) -> bool:
    assert found.uncertainty is not None
    return found.uncertainty.lower_mj <= true_mj <= found.uncertainty.upper_mj


def half_width(found: Measurement) -> float:
    assert found.uncertainty is not None
    assert found.energy_mj
    return (found.uncertainty.upper_mj - found.uncertainty.lower_mj) / 2 / found.energy_mj


def meter_of(name: str, calibration: Calibration | None = None, sensor: str | None = None) -> TraceMeter:
    return TraceMeter(sensor_trace(name), calibration=calibration, sensor=SENSORS[sensor] if sensor else None)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_window_of_eight_seconds_of_a_real_board_is_covered(name: str) -> None:
    meter, truth = meter_of(name), outside_truth(name)
    for start in range(20, last_ms(meter.trace) - 8_000, STEP_MS):
        found = meter.measure(start * NS_PER_MS, (start + 8_000) * NS_PER_MS).measurement
        assert covers(found, truth(start, start + 8_000)), start
        assert half_width(found) <= 0.15, start
        assert found.method is Method.NVML_POWER_INTEGRAL
        assert found.boundary is Boundary.ACCELERATOR


@pytest.mark.slow
@pytest.mark.parametrize(("learned", "judged"), [NAMES[2:], NAMES[:1:-1]])
@pytest.mark.parametrize("sensor", [None, "ampere-instant"])
@pytest.mark.parametrize(("seconds", "aim"), [(5, 0.015), (8, 0.01)])
def test_a_board_calibrated_on_one_trace_is_right_on_the_other(
    learned: str, judged: str, sensor: str | None, seconds: int, aim: float
) -> None:
    meter, truth = meter_of(judged, fitted(learned), sensor), outside_truth(judged)
    for start in range(20, last_ms(meter.trace) - seconds * 1000, STEP_MS):
        end = start + seconds * 1000
        found = meter.measure(start * NS_PER_MS, end * NS_PER_MS).measurement
        assert found.energy_mj == pytest.approx(truth(start, end), rel=aim), start
        assert covers(found, truth(start, end)), start
        assert "calibrated" in found.flags


@pytest.mark.slow
@pytest.mark.parametrize("lot", LOTS, ids=lambda lot: lot.name)
def test_the_interval_covers_the_truth_for_95_of_100_boards(lot: Lot) -> None:
    random = Random(lot.name)  # noqa: S311 -- boards, not secrets
    draws = [drawn(random, lot) for _ in range(200)]
    assert all(draw.found.coverage == 1.0 for draw in draws)
    assert sum(draw.covered for draw in draws) >= 0.95 * len(draws)


def test_a_window_is_not_empty() -> None:
    with pytest.raises(ValueError, match="empty"):
        measure_readings([], 5, 5, Instrument(SENSORS["turing"]))


def test_without_readings_nothing_was_measured() -> None:
    found = measure_readings([], 0, 5, Instrument(SENSORS["turing"]))
    assert (found.energy_mj, found.method, found.uncertainty) == (None, Method.NOT_MEASURED, None)
    assert [segment.energy_mj for segment in found.segments] == [None]


def test_a_gap_widens_the_interval_upwards_only_by_what_the_limit_allows() -> None:
    whole = [Reading(at * 100 * NS_PER_MS, instant_mw=100_000) for at in range(101)]
    holed = [reading for at, reading in enumerate(whole) if not 40 < at < 60]
    instrument = Instrument(SENSORS["turing"], limit_mw=300_000, max_gap_ns=300 * NS_PER_MS)
    found = measure_readings(holed, 0, 10_000 * NS_PER_MS, instrument)
    assert found.uncertainty is not None
    assert found.energy_mj == pytest.approx(800_000, rel=0.01)
    assert found.uncertainty.gap_mj == pytest.approx(300_000, rel=0.01)
    assert found.uncertainty.lower_mj == pytest.approx(800_000, rel=0.05)
    assert found.uncertainty.upper_mj == pytest.approx(1_400_000, rel=0.05)

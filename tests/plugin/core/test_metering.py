"""Measurements against the truth: real boards one by one, simulated boards as a population."""

from bisect import bisect_left
from collections.abc import Callable
from fractions import Fraction
from itertools import accumulate
from pathlib import Path
from random import Random

import pytest
from bench.boards import LOADS, Board, Truth, truth_of

from joulegate.core.curve import Instrument, Reading
from joulegate.core.metering import Boundary, Measurement, Method, measure_readings
from joulegate.core.sensors import NS_PER_MS, SENSORS, Calibration
from joulegate.core.traces import TraceMeter, parse_trace

TRACES = Path(__file__).parents[2] / "traces"
REAL = ["a100_square", "a100_steps", "rtx3090_square", "rtx3090_steps"]
STEP_MS = 125


def outside_truth(name: str) -> Callable[[int, int], float]:
    """Energy in mJ between two times in ms, as the external meter saw it."""
    trace = parse_trace((TRACES / f"{name}.meter.csv").read_text(), name)
    times = [time // NS_PER_MS - 1 for time in trace.times_ns]
    energies = [0, *accumulate(power * 2 for power in trace.columns["power_mw"])]
    return lambda start, end: (energies[bisect_left(times, end)] - energies[bisect_left(times, start)]) / 1000


def covers(found: Measurement, true_mj: float) -> bool:
    assert found.uncertainty is not None
    return found.uncertainty.lower_mj <= true_mj <= found.uncertainty.upper_mj


def half_width(found: Measurement) -> float:
    assert found.uncertainty is not None
    assert found.energy_mj
    return (found.uncertainty.upper_mj - found.uncertainty.lower_mj) / 2 / found.energy_mj


def meter_of(name: str, calibration: Calibration | None = None, sensor: str | None = None) -> TraceMeter:
    trace = parse_trace((TRACES / f"{name}.sensor.csv").read_text(), name)
    return TraceMeter(trace, calibration=calibration, sensor=SENSORS[sensor] if sensor else None)


@pytest.mark.parametrize("name", REAL)
def test_every_window_of_eight_seconds_of_a_real_board_is_covered(name: str) -> None:
    meter, truth = meter_of(name), outside_truth(name)
    for start in range(20, meter.trace.times_ns[-1] // NS_PER_MS - 8_000, STEP_MS):
        found = meter.measure(start * NS_PER_MS, (start + 8_000) * NS_PER_MS).measurement
        assert covers(found, truth(start, start + 8_000)), start
        assert half_width(found) <= 0.15, start
        assert found.method is Method.NVML_POWER_INTEGRAL
        assert found.boundary is Boundary.ACCELERATOR


def fitted(name: str) -> Calibration:
    """Gain and offset by least squares over windows of 100 ms, the sensor's own length."""
    trace, truth = parse_trace((TRACES / f"{name}.sensor.csv").read_text(), name), outside_truth(name)
    lag = SENSORS["ampere-instant"].lag_ns // NS_PER_MS
    times = [time // NS_PER_MS for time in trace.times_ns]
    pairs = []
    for start in range(300, times[-1] - 300, 100):
        shown = trace.columns["instant_mw"][bisect_left(times, start + 50 + lag)]
        pairs.append((truth(start, start + 100) * 10, shown))
    mean_true, mean_shown = (sum(column) / len(pairs) for column in zip(*pairs, strict=True))
    gain = sum((t - mean_true) * (s - mean_shown) for t, s in pairs) / sum((t - mean_true) ** 2 for t, _ in pairs)
    return Calibration(Fraction(gain).limit_denominator(10**6), Fraction(round(mean_shown - gain * mean_true)))


@pytest.mark.parametrize(("learned", "judged"), [REAL[2:], REAL[:1:-1]])
@pytest.mark.parametrize("sensor", [None, "ampere-instant"])
@pytest.mark.parametrize(("seconds", "aim"), [(5, 0.015), (8, 0.01)])
def test_a_board_calibrated_on_one_trace_is_right_on_the_other(
    learned: str, judged: str, sensor: str | None, seconds: int, aim: float
) -> None:
    meter, truth = meter_of(judged, fitted(learned), sensor), outside_truth(judged)
    for start in range(20, meter.trace.times_ns[-1] // NS_PER_MS - seconds * 1000, STEP_MS):
        end = start + seconds * 1000
        found = meter.measure(start * NS_PER_MS, end * NS_PER_MS).measurement
        assert found.energy_mj == pytest.approx(truth(start, end), rel=aim), start
        assert covers(found, truth(start, end)), start
        assert "calibrated" in found.flags


Poll = Callable[[Board, Random, Truth, int], list[Reading]]


def drawn_window(random: Random, poll: Poll, sensors: list[str], seconds: int) -> tuple[Measurement, float]:
    """One measurement of a board and a load that are drawn at random, and the truth."""
    load = LOADS[random.choice(list(LOADS))]
    low = random.uniform(30_000, 120_000)
    length = seconds * 1000 + 3_700
    truth = truth_of(load(random, length, low, low + random.uniform(20_000, 400_000)))
    board = Board.drawn(random, SENSORS[random.choice(sensors)])
    start = random.randrange(1_500, 2_200)
    end = start + seconds * 1000
    instrument = Instrument(board.sensor)
    found = measure_readings(poll(board, random, truth, length), start * NS_PER_MS, end * NS_PER_MS, instrument)
    return found, truth.energy_mj(start, end)


@pytest.mark.parametrize(
    ("poll", "sensors", "seconds"),
    [
        (lambda b, r, t, n: b.powers(r, t, n, 20.0), ["a100", "turing", "volta", "gh200", "average-1s"], 5),
        (lambda b, r, t, n: b.powers(r, t, n, 10.0), ["a100", "turing", "volta", "gh200", "average-1s"], 8),
        (lambda b, r, t, n: b.powers(r, t, n, 100.0), ["a100", "turing", "gh200", "average-1s"], 20),
        (lambda b, r, t, n: b.counters(r, t, n, 100.0), ["a100", "turing", "volta", "gh200"], 8),
        (lambda b, r, t, n: b.counters(r, t, n, 1000.0), ["a100", "turing", "volta", "gh200"], 20),
    ],
    ids=["power 5 s", "power 8 s", "power at 10 Hz 20 s", "counter 8 s", "counter at 1 Hz 20 s"],
)
def test_the_interval_covers_the_truth_for_95_of_100_boards(poll: Poll, sensors: list[str], seconds: int) -> None:
    random, boards = Random(f"{seconds} {sensors}"), 200  # noqa: S311 -- boards, not secrets
    results = [drawn_window(random, poll, sensors, seconds) for _ in range(boards)]
    assert all(found.coverage == 1.0 for found, _ in results)
    assert sum(covers(found, true_mj) for found, true_mj in results) >= 0.95 * boards


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

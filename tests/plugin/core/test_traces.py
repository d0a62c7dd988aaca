"""Trace files: what is read, and what is refused with the line that is wrong."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.core.errors import InvalidInputError
from joulegate.core.metering import Method
from joulegate.core.sensors import SENSORS, parse_calibration
from joulegate.core.traces import as_json, candidates, measure_trace, parse_trace, update_period

TRACES = Path(__file__).parents[2] / "traces"
MS = 1_000_000


def constant(power: int = 100_000, *, column: str = "instant_mw", until: int = 5_000, every: int = 10) -> str:
    rows = (f"{at},{power + at // 100 % 2}" for at in range(0, until + 1, every))
    return "\n".join([f"t_ms,{column}", *rows])


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "header"),
        ("\n# only words\n", 1, "header"),
        ("a,b\n1,2\n", 1, "t_ms"),
        ("t_ms,volts\n1,2\n", 1, "none of the columns"),
        ("t_ms,power_mw,power_mw\n1,2,3\n", 1, "twice"),
        ("t_ms,power_mw\n", 1, "two readings"),
        ("t_ms,power_mw\n1,5\n", 2, "two readings"),
        ("t_ms,power_mw\n1,5\n3,5\n2,5\n", 4, "before"),
        ("t_ms,power_mw\n1,5\n1,5\n", 3, "repeats"),
        ("t_ms,power_mw\n1,5\n2,\n", 3, "missing"),
        ("t_ms,power_mw\n1,5\n,5\n", 3, "missing"),
        ("t_ms,power_mw\n1,5\n2\n", 3, "1 values where the header has 2"),
        ("t_ms,power_mw\n1,5\n2,5,5\n", 3, "3 values where the header has 2"),
        ("t_ms,power_mw\n1,5\n2,five\n", 3, "not a number"),
        ("t_ms,power_mw\n1,5\n2,nan\n", 3, "not a number"),
        ("t_ms,power_mw\n1,5\n2,inf\n", 3, "not a number"),
        ("t_ms,power_mw\n1,5\n2,0x10\n", 3, "not a number"),
        ("t_ms,power_mw\n1,5\n2,1e999\n", 3, "beyond"),
        ("t_ms,power_mw\n1,5\n2,1e999999999\n", 3, "not a number"),
        ("t_ms,power_mw\n1,5\n2,1_000\n", 3, "not a number"),
        ("t_ms,power_mw\n1,5\n2," + "9" * 5000 + "\n", 3, "not a number"),
        ("t_ms,power_mw\n1,5\n2,-5\n", 3, "negative"),
        ("t_ms,power_mw\n1,5\n2,99000000\n", 3, "beyond"),
        ("t_ms,energy_mj\n1,5\n2,-5\n", 3, "negative"),
        ("t_ms,energy_mj\n1,5\n2,1e17\n", 3, "beyond"),
        ("t_ms,power_mw\n1,5\n1e15,5\n", 3, "beyond"),
        ("# a\n\nt_ms,power_mw\n# b\n1,5\n1,5\n", 6, "repeats"),
        ("t_ms;power_mw\n1;5\n", 1, "t_ms"),
        ("\x00\x01", 1, "header"),
    ],
)
def test_a_trace_that_cannot_be_read_names_file_and_line(text: str, line: int, words: str) -> None:
    with pytest.raises(InvalidInputError, match=words) as refusal:
        parse_trace(text, "some.csv")
    assert refusal.value.field == f"some.csv:{line}"
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 200


@given(st.text(alphabet="t_mspower,\n0123456789.-eE#naif \r\x00"))
def test_whatever_the_text_is_it_is_read_or_refused(text: str) -> None:
    refused = None
    try:
        parse_trace("t_ms,power_mw\n" + text, "f")
    except InvalidInputError as error:
        refused = error.field or "nowhere"
    assert refused is None or refused.startswith("f:")


def test_comments_byte_order_mark_blanks_and_fractions_are_read() -> None:
    trace = parse_trace(
        "\ufeff# made by hand\r\nt_ms, other ,instant_mw\r\n-0.5,x,1\r\n\r\n# more\r\n 1.5 ,y,2.6\r\n", "f"
    )
    assert trace.times_ns == (-500_000, 1_500_000)
    assert trace.columns == {"instant_mw": (1, 3)}


def test_the_best_column_is_measured_unless_one_is_named() -> None:
    trace = parse_trace("t_ms,default_mw,average_mw,instant_mw,energy_mj\n1,1,1,1,1\n2,1,1,1,1\n", "f")
    assert trace.column(None) == "energy_mj"
    assert trace.column("average") == trace.column("average_mw") == "average_mw"
    with pytest.raises(InvalidInputError, match="power_mw"):
        trace.column("power_mw")
    assert parse_trace("t_ms,default_mw,average_mw,power_mw\n1,1,1,1\n2,1,1,1\n", "f").column(None) == "power_mw"


@pytest.mark.parametrize(("start", "end"), [(2000, 2000), (3000, 2000)])
def test_an_empty_window_is_refused(start: int, end: int) -> None:
    with pytest.raises(InvalidInputError, match="empty"):
        measure_trace(constant(), "f", start_ms=start, end_ms=end)


def test_a_window_beyond_the_trace_is_measured_where_the_trace_is() -> None:
    found = measure_trace(constant(), "f", start_ms=-5_000, end_ms=10_000).measurement
    assert found.duration_ns == 15_000 * MS
    assert found.coverage == pytest.approx(1 / 3, abs=0.01)
    assert found.energy_mj == pytest.approx(500_000, rel=0.02)
    assert found.uncertainty is not None
    assert found.uncertainty.upper_mj > 1_500_000
    assert found.uncertainty.lower_mj <= 508_000
    assert {"before_first_reading", "after_last_reading"} <= set(found.flags)


def test_a_window_outside_the_trace_is_not_measured_which_is_not_zero() -> None:
    found = measure_trace(constant(), "f", start_ms=20_000, end_ms=30_000).measurement
    assert (found.energy_mj, found.method, found.coverage, found.uncertainty) == (None, Method.NOT_MEASURED, 0.0, None)


def test_a_gap_is_left_out_and_may_hold_anything_up_to_the_highest_power() -> None:
    header, *rows = constant(until=10_000).splitlines()
    kept = [row for row in rows if not 4_000 < int(row.split(",")[0]) < 6_000]
    found = measure_trace("\n".join([header, *kept]), "f").measurement
    assert found.coverage == pytest.approx(0.8, abs=0.01)
    assert found.energy_mj == pytest.approx(800_000, rel=0.01)
    assert found.uncertainty is not None
    assert found.uncertainty.gap_mj >= 100_000
    assert found.uncertainty.lower_mj <= 800_000
    assert found.uncertainty.upper_mj > 1_000_000
    assert [segment.energy_mj is None for segment in found.segments] == [False, True, False]


def test_the_origin_of_time_does_not_matter() -> None:
    header, *rows = constant().splitlines()
    shift = 1_790_000_000_000
    moved = "\n".join([header, *(f"{int(row.split(',')[0]) + shift},{row.split(',')[1]}" for row in rows)])
    here = measure_trace(constant(), "f", start_ms=1_000, end_ms=4_000).measurement
    there = measure_trace(moved, "f", start_ms=1_000 + shift, end_ms=4_000 + shift).measurement
    assert (here.energy_mj, here.uncertainty) == (there.energy_mj, there.uncertainty)


def test_the_update_period_is_the_usual_time_between_changes() -> None:
    assert update_period([0, 10, 20, 30, 40, 50, 60, 70, 80], [1, 1, 2, 2, 3, 3, 4, 4, 5]) == 20
    assert update_period([0, 10, 20], [1, 1, 1]) is None


@pytest.mark.parametrize(
    ("name", "column", "sensors"),
    [
        ("a100_square", "instant_mw", {"gh200", "quadro-rtx-8000", "a100", "h100-instant", "turing"}),
        ("rtx3090_steps", "average_mw", {"average-1s"}),
        ("rtx3090_steps", "default_mw", {"average-1s"}),
    ],
)
def test_the_sensors_that_may_be_behind_a_column_are_tried(name: str, column: str, sensors: set[str]) -> None:
    trace = parse_trace((TRACES / f"{name}.sensor.csv").read_text(), name)
    names = {sensor.name for sensor in candidates(trace, column)}
    assert sensors <= names
    assert ("average-1s" in names) == ("average-1s" in sensors)
    assert not names & {"volta", "pascal"}


@pytest.mark.parametrize("period_ms", [50, 200])
def test_a_period_that_nobody_listed_is_taken_with_every_share_that_some_sensor_sees(period_ms: int) -> None:
    text = "\n".join(["t_ms,instant_mw", *(f"{at},{100_000 + at // period_ms % 7}" for at in range(0, 8_000, 10))])
    tried = candidates(parse_trace(text, "f"), "instant_mw")
    assert {sensor.period_ns for sensor in tried} == {period_ms * MS}
    assert {float(sensor.seen) for sensor in tried} == {0.2, 0.25, 0.5, 1.0}
    found = measure_trace(text, "f")
    assert found.assumed
    assert found.sensor.name == "unlisted"


def test_changes_that_are_rarer_than_any_sensor_are_the_loads() -> None:
    text = "\n".join(["t_ms,instant_mw", *(f"{at},{100_000 + at // 1_000}" for at in range(0, 8_000, 10))])
    periods = {sensor.period_ns // MS for sensor in candidates(parse_trace(text, "f"), "instant_mw")}
    assert periods == {20, 100}


def test_without_a_sensor_the_widest_interval_is_given() -> None:
    text = (TRACES / "a100_square.sensor.csv").read_text()
    assumed = measure_trace(text, "f", start_ms=1_000, end_ms=9_000)
    assert assumed.assumed
    assert "sensor_assumed" in assumed.measurement.flags
    assert assumed.measurement.uncertainty is not None
    for name in ("a100", "gh200", "turing"):
        named = measure_trace(text, "f", start_ms=1_000, end_ms=9_000, sensor=SENSORS[name])
        assert not named.assumed
        assert named.measurement.uncertainty is not None
        assert named.measurement.uncertainty.upper_mj <= assumed.measurement.uncertainty.upper_mj
        assert named.measurement.uncertainty.lower_mj >= assumed.measurement.uncertainty.lower_mj


def test_windows_of_a_trace_telescope() -> None:
    text = (TRACES / "rtx3090_steps.sensor.csv").read_text()
    cuts = [1_000, 2_345, 2_346, 7_000, 12_000]
    sensor = SENSORS["ampere-instant"]

    def energy(start: int, end: int) -> int:
        found = measure_trace(text, "f", start_ms=start, end_ms=end, sensor=sensor).measurement.energy_mj
        assert found is not None
        return found

    assert sum(energy(a, b) for a, b in pairwise(cuts)) == energy(cuts[0], cuts[-1])


def test_the_form_for_others_holds_whole_numbers_as_decimal_strings() -> None:
    text = (TRACES / "rtx3090_steps.sensor.csv").read_text()
    calibration = parse_calibration("0.95,1000")
    form = as_json(measure_trace(text, "f", start_ms=1_000, end_ms=9_000, calibration=calibration))
    assert json.loads(json.dumps(form)) == form
    assert set(form) >= {
        "energy_mj",
        "duration_ns",
        "method",
        "boundary",
        "coverage",
        "uncertainty",
        "segments",
        "flags",
    }
    assert form["duration_ns"] == "8000000000"
    assert form["method"] == "nvml_power_integral"
    assert form["boundary"] == "accelerator"
    assert form["coverage"] == 1.0
    assert isinstance(form["energy_mj"], str)
    assert isinstance(form["uncertainty"], dict)
    assert form["uncertainty"]["confidence"] == 0.95
    parts = ("lower_mj", "upper_mj", "gain_mj", "duty_mj", "edge_mj", "gap_mj")
    assert all(int(form["uncertainty"][part]) >= 0 for part in parts)
    assert form["flags"] == ["calibrated", "lag_corrected", "sensor_assumed"]


def test_a_window_that_was_not_measured_is_null() -> None:
    form = as_json(measure_trace(constant(), "f", start_ms=20_000, end_ms=30_000))
    assert form["energy_mj"] is None
    assert form["uncertainty"] is None


def test_a_counter_with_a_reset_is_split_and_filled_from_power() -> None:
    rows = ["t_ms,energy_mj,instant_mw"]
    for at in range(0, 10_001, 50):
        counter = (5_000_000 if at < 5_000 else 0) + at // 100 * 100 * 200
        rows.append(f"{at},{counter},200000")
    found = measure_trace("\n".join(rows), "f").measurement
    assert [segment.method for segment in found.segments] == [
        Method.NVML_COUNTER,
        Method.NVML_POWER_INTEGRAL,
        Method.NVML_COUNTER,
    ]
    assert found.method is Method.NVML_COUNTER_AND_POWER
    assert "counter_backwards" in found.flags
    assert found.coverage == 1.0
    assert found.energy_mj == pytest.approx(2_000_000, rel=0.02)
    assert sum(segment.energy_mj or 0 for segment in found.segments) == found.energy_mj

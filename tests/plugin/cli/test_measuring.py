"""`joulegate meter` gives one measurement with its interval, or one line."""

from pathlib import Path

import pytest

from tests.plugin.cli.conftest import Command

TRACE = Path(__file__).parents[3] / "plugin/joulegate/data/a100_square.meter.csv"


def test_meter_gives_one_measurement_with_the_parts_of_its_interval(joulegate: Command) -> None:
    found = joulegate("meter", str(TRACE), "--start-ms", "1000", "--end-ms", "9000", "--json").json
    assert found["duration_ns"] == "8000000000"
    assert int(found["uncertainty"]["lower_mj"]) < int(found["energy_mj"]) < int(found["uncertainty"]["upper_mj"])
    assert {"gain_mj", "duty_mj", "edge_mj", "gap_mj", "confidence"} <= set(found["uncertainty"])
    assert isinstance(found["coverage"], int | float)
    assert "interval" in joulegate("meter", str(TRACE)).out


@pytest.mark.parametrize(
    "words",
    [
        ("--sensor", "nobody"),
        ("--column", "nobody"),
        ("--calibration", "1"),
        ("--start-ms", "9", "--end-ms", "1"),
    ],
)
def test_meter_refuses_what_the_trace_does_not_have(joulegate: Command, words: tuple[str, ...]) -> None:
    done = joulegate("meter", str(TRACE), *words)
    assert done.code == 1
    assert done.err.count("\n") == 1

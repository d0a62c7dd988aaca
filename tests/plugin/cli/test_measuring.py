"""`joulegate meter` gives one measurement with its interval, or one line."""

from pathlib import Path

import pytest

from joulegate.core.sensors import parse_calibrations
from tests.plugin.cli.conftest import Command

TRACES = Path(__file__).parents[2] / "traces"
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


def test_calibrate_prints_the_row_that_the_runner_reads(joulegate: Command) -> None:
    shown, true = (str(TRACES / f"rtx3090_steps.{name}.csv") for name in ("sensor", "meter"))
    words = ("calibrate", shown, true, "--sensor", "ampere-instant", "--uuid", "GPU-1", "--by", "power lab")
    (row,) = parse_calibrations(joulegate(*words, "-o", "csv").out, "x").values()
    assert float(row.gain) == pytest.approx(0.951, abs=0.002)
    assert row.by == "power lab"
    assert "left over" in joulegate(*words).out
    refused = joulegate(*words[:-1], "a, b")
    assert (refused.code, refused.err.count("\n")) == (1, 1)


UNREADABLE = {
    "empty": (b"", 1),
    "binary": (bytes(range(256)), 2),
    "not_utf8": (b"t_ms,power_mw\n1,2\n2,\xff\xfe\n", 3),
    "utf16": ("t_ms,power_mw\n1,2\n".encode("utf-16"), 1),
    "wrong_header": (b"time,watts\n1,2\n", 1),
    "header_alone": (b"t_ms,power_mw\n", 1),
    "unsorted": (b"t_ms,power_mw\n1,5\n3,5\n2,5\n", 4),
    "duplicate": (b"t_ms,power_mw\n1,5\n1,5\n", 3),
    "missing": (b"t_ms,power_mw\n1,5\n2,\n", 3),
    "short": (b"t_ms,power_mw\n1,5\n2\n", 3),
    "not_a_number": (b"t_ms,power_mw\n1,5\n2,many\n", 3),
    "negative": (b"t_ms,power_mw\n1,5\n2,-5\n", 3),
    "absurd": (b"t_ms,power_mw\n1,5\n2,1e300\n", 3),
    "crlf": (b"\xef\xbb\xbft_ms,power_mw\r\n1,5\r\n2,x\r\n", 3),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_trace_that_cannot_be_read_is_one_line_with_file_and_line(
    joulegate: Command, tmp_path: Path, kind: str
) -> None:
    content, line = UNREADABLE[kind]
    bad = tmp_path / f"{kind}.csv"
    bad.write_bytes(content)
    good = str(TRACES / "rtx3090_steps.meter.csv")
    for words in (("meter", str(bad)), ("calibrate", str(bad), good), ("calibrate", good, str(bad))):
        done = joulegate(*words)
        assert (done.code, done.out) == (1, "")
        assert done.err.count("\n") == 1
        assert f"{bad}:{line}:" in done.err or f"{bad}:{line} " in done.err, done.err


def test_a_good_trace_from_windows_is_read(joulegate: Command, tmp_path: Path) -> None:
    trace = tmp_path / "w.csv"
    trace.write_bytes(b"\xef\xbb\xbf" + TRACE.read_bytes().replace(b"\n", b"\r\n"))
    assert joulegate("meter", str(trace), "--json").json == joulegate("meter", str(TRACE), "--json").json

"""How far measured energy is from the truth: ``python -m bench.accuracy``.

Writes the tables and pictures of docs/accuracy.md, and the figures behind them
as bench/results/accuracy.json. The same code and seeds give the same figures on
every machine.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from random import Random
from statistics import mean
from typing import Any, Final

from bench.page import percent, replace_block, table
from bench.pictures import Ratio, intervals
from bench.population import LOTS, Draw, drawn
from bench.traces import NAMES, fitted, last_ms, outside_truth, sensor_trace
from joulegate.core.charts import Bar, bars
from joulegate.core.metering import Measurement
from joulegate.core.sensors import NS_PER_MS, SENSORS
from joulegate.core.traces import COLUMNS, TraceMeter

ROOT: Final = Path(__file__).parent.parent
PAGE: Final = ROOT / "docs" / "accuracy.md"
PICTURES: Final = ROOT / "docs" / "pictures"
RESULTS: Final = ROOT / "bench" / "results"

BOARDS: Final = 1_000
_STEP_MS: Final = 125

Row = dict[str, Any]


def ratio(found: Measurement, true_mj: float, at_ms: int) -> Ratio:
    """Measurement and interval over the truth."""
    interval, energy_mj = found.uncertainty, found.energy_mj
    if interval is None or energy_mj is None:
        message = "nothing was measured"
        raise ValueError(message)
    return Ratio(at_ms / 1000, interval.lower_mj / true_mj, energy_mj / true_mj, interval.upper_mj / true_mj)


def windows(name: str, column: str, seconds: int) -> list[Ratio]:
    """Every window of this length of one trace, as its sensor were unknown."""
    meter, truth = TraceMeter(sensor_trace(name), column=column), outside_truth(name)
    starts = range(20, last_ms(meter.trace) - seconds * 1000, _STEP_MS)
    ends = [(start, start + seconds * 1000) for start in starts]
    return [ratio(meter.measure(a * NS_PER_MS, b * NS_PER_MS).measurement, truth(a, b), a) for a, b in ends]


def real(name: str, column: str, seconds: int) -> Row:
    """One row of the table of real boards; ``independent`` windows do not overlap."""
    ratios = windows(name, column, seconds)
    return {
        "trace": name,
        "column": column,
        "seconds": seconds,
        "windows": len(ratios),
        "independent": max(1, last_ms(sensor_trace(name)) // (seconds * 1000)),
        "covered": mean(r.low <= 1 <= r.high for r in ratios),
        "half_width": max((r.high - r.low) / 2 / r.value for r in ratios),
        "lowest_error": min(r.value for r in ratios) - 1,
        "highest_error": max(r.value for r in ratios) - 1,
    }


def calibrated(learned: str, judged: str, sensor: str | None, seconds: int) -> Row:
    """One row of the table of calibrated boards."""
    meter = TraceMeter(sensor_trace(judged), calibration=fitted(learned), sensor=SENSORS[sensor] if sensor else None)
    truth = outside_truth(judged)
    starts = range(20, last_ms(meter.trace) - seconds * 1000, _STEP_MS)
    ends = [(start, start + seconds * 1000) for start in starts]
    ratios = [ratio(meter.measure(a * NS_PER_MS, b * NS_PER_MS).measurement, truth(a, b), a) for a, b in ends]
    return {
        "learned": learned,
        "judged": judged,
        "sensor": sensor or "not named",
        "seconds": seconds,
        "largest_error": max(abs(r.value - 1) for r in ratios),
        "half_width": max((r.high - r.low) / 2 / r.value for r in ratios),
        "covered": mean(r.low <= 1 <= r.high for r in ratios),
    }


def summary(draws: Sequence[Draw]) -> Row:
    """Coverage and widths of a population."""
    return {
        "boards": len(draws),
        "covered": mean(draw.covered for draw in draws),
        "half_width": mean(draw.half_width for draw in draws),
        "error": mean(abs((draw.found.energy_mj or 0) / draw.true_mj - 1) for draw in draws),
    }


def measure() -> dict[str, Any]:
    """All figures."""
    columns = [(name, column) for name in NAMES for column in COLUMNS if column in sensor_trace(name).columns]
    draws = {lot.name: [drawn(random, lot) for random in [Random(lot.name)] for _ in range(BOARDS)] for lot in LOTS}
    by_load: dict[str, list[Draw]] = defaultdict(list)
    by_sensor: dict[str, list[Draw]] = defaultdict(list)
    for draw in (draw for lot in draws.values() for draw in lot):
        by_load[draw.load].append(draw)
        by_sensor[draw.sensor.name].append(draw)
    return {
        "real": [real(name, column, seconds) for name, column in columns for seconds in (1, 2, 5, 8)],
        "calibrated": [
            calibrated(learned, judged, sensor, seconds)
            for learned, judged in (NAMES[2:], NAMES[:1:-1])
            for sensor in (None, "ampere-instant")
            for seconds in (5, 8)
        ],
        "population": {name: summary(lot) for name, lot in draws.items()},
        "by_load": {name: summary(by_load[name]) for name in sorted(by_load)},
        "by_sensor": {name: summary(by_sensor[name]) for name in sorted(by_sensor)},
    }


def tables(found: dict[str, Any]) -> str:
    """The generated part of the page."""
    real_rows = [
        [
            row["trace"], f"`{row['column']}`", f"{row['seconds']} s", str(row["windows"]), str(row["independent"]),
            percent(row["covered"]), percent(row["half_width"]),
            f"{percent(row['lowest_error'], signed=True)} to {percent(row['highest_error'], signed=True)}",
        ]
        for row in found["real"]
    ]  # fmt: skip
    calibrated_rows = [
        [
            row["learned"], row["judged"], row["sensor"], f"{row['seconds']} s", percent(row["largest_error"]),
            percent(row["half_width"]), percent(row["covered"]),
        ]
        for row in found["calibrated"]
    ]  # fmt: skip

    def lots(rows: dict[str, Row]) -> list[list[str]]:
        keys = ("covered", "half_width", "error")
        return [[name, str(row["boards"]), *(percent(row[key]) for key in keys)] for name, row in rows.items()]

    heads = ["boards", "covered", "mean half-width", "mean error"]
    return "\n\n".join(
        [
            "### Real boards, sensor not named",
            "![measured over true, windows of 8 s](pictures/accuracy-real.svg)",
            table(
                ["trace", "column", "window", "windows", "independent", "covered", "widest half", "error"], real_rows
            ),
            "### Calibrated: fitted on one trace, judged on the other",
            table(
                ["fitted on", "judged on", "sensor", "window", "largest error", "widest half", "covered"],
                calibrated_rows,
            ),
            "### Simulated boards",
            "![coverage by load](pictures/accuracy-loads.svg)",
            table(["read", *heads], lots(found["population"])),
            table(["load", *heads], lots(found["by_load"])),
            table(["sensor", *heads], lots(found["by_sensor"])),
        ]
    )


def pictures(found: dict[str, Any]) -> dict[str, str]:
    """The pictures by name."""
    groups = [(name, windows(name, "instant_mw", 8)) for name in NAMES]
    loads = [
        Bar(name, Fraction(row["covered"]), percent(row["covered"]), best=row["covered"] >= 0.95)
        for name, row in found["by_load"].items()
    ]
    return {
        "accuracy-real": intervals("Measured over true energy, windows of 8 s", groups, "begin of the window"),
        "accuracy-loads": bars(
            "Intervals that hold the truth, by load",
            "Share of simulated boards whose 95 % interval holds the true energy, one bar a kind of load",
            loads,
        ),
    }


def main() -> None:
    """Measure and write."""
    found = measure()
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "accuracy.json").write_text(json.dumps(found, indent=1) + "\n")
    PICTURES.mkdir(exist_ok=True)
    for name, picture in pictures(found).items():
        (PICTURES / f"{name}.svg").write_text(picture)
    replace_block(PAGE, "python -m bench.accuracy", tables(found))
    print("\n".join(aims(found)))


def aims(found: dict[str, Any]) -> list[str]:
    """What was found beside what design asks of it."""
    eights = [row for row in found["real"] if row["seconds"] == 8]
    worst = {seconds: _largest(found["calibrated"], seconds) for seconds in (5, 8)}
    least = min(lot["covered"] for lot in found["population"].values())
    return [
        f"simulated boards covered: at least {percent(least)} of each population (aim 95 %)",
        (
            f"real boards, every 8 s window: {percent(min(row['covered'] for row in eights))} covered (aim 100 %), "
            f"widest half {percent(max(row['half_width'] for row in eights))} (aim 15 %)"
        ),
        f"calibrated: {percent(worst[5])} at 5 s (aim 1.5 %), {percent(worst[8])} at 8 s (aim 1 %)",
    ]


def _largest(rows: Sequence[Row], seconds: int) -> float:
    return max(float(row["largest_error"]) for row in rows if row["seconds"] == seconds)


if __name__ == "__main__":
    main()

"""``joulegate meter`` and ``joulegate calibrate``: the energy of a trace, and a board beside an outside meter."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated

import typer

from joulegate.cli.output import Format, JsonOption, OutputOption, chosen, show_facts
from joulegate.core import display
from joulegate.core.sensors import SENSORS

if TYPE_CHECKING:
    from joulegate.core.metering import Measurement
    from joulegate.core.traces import TraceMeasurement


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("meter")(meter)
    app.command("calibrate")(calibrate)


def meter(
    *,
    trace: Annotated[str, typer.Argument(metavar="TRACE.csv", help="The trace; - is stdin.")],
    start_ms: Annotated[str | None, typer.Option(help="Begin of the window, in the trace's own time.")] = None,
    end_ms: Annotated[str | None, typer.Option(help="End of the window.")] = None,
    column: Annotated[
        str | None, typer.Option(help="Column to measure: energy_mj, instant_mw, power_mw, average_mw or default_mw.")
    ] = None,
    calibration: Annotated[
        str | None, typer.Option(metavar="G,O", help="Reading = G x true + O (mW), from an external meter.")
    ] = None,
    sensor: Annotated[
        str | None,
        typer.Option(help=f"The sensor behind the readings: {', '.join(SENSORS)}. Without it the widest is assumed."),
    ] = None,
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Measure the energy of a trace of NVML's readings, or of a window of it."""
    from joulegate.cli.documents import read_text, shown_name
    from joulegate.core.sensors import parse_calibration, sensor_named
    from joulegate.core.traces import as_json as written
    from joulegate.core.traces import measure_trace

    form = chosen(output, as_json)
    options = {
        "start_ms": _milliseconds(start_ms, "--start-ms"),
        "end_ms": _milliseconds(end_ms, "--end-ms"),
    }
    result = measure_trace(
        read_text(trace),
        shown_name(trace),
        **options,
        column=column,
        calibration=parse_calibration(calibration) if calibration else None,
        sensor=sensor_named(sensor) if sensor else None,
    )
    show_facts(written(result), _facts(result), form)


def calibrate(
    *,
    readings: Annotated[str, typer.Argument(metavar="READINGS.csv", help="What the board showed: t_ms and powers.")],
    meter_trace: Annotated[
        str, typer.Argument(metavar="METER.csv", help="What an external meter saw: t_ms of the same clock, power_mw.")
    ],
    column: Annotated[str | None, typer.Option(help="Column of the readings.")] = None,
    sensor: Annotated[str | None, typer.Option(help=f"The sensor behind them: {', '.join(SENSORS)}.")] = None,
    uuid: Annotated[str, typer.Option(help="The board.")] = "UUID",
    by: Annotated[str, typer.Option(help="Who calibrated.")] = "NAME",
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Find a board's gain and offset from its readings and an external meter's, under two loads or more.

    The row that -o csv prints belongs into calibrations.csv in the home folder.
    """
    from datetime import UTC, datetime

    from joulegate.cli.documents import read_text, shown_name
    from joulegate.core.calibrating import fit
    from joulegate.core.sensors import calibration_row, sensor_named
    from joulegate.core.traces import parse_trace

    form = chosen(output, as_json)
    shown, true = (parse_trace(read_text(file), shown_name(file)) for file in (readings, meter_trace))
    found = fit(shown, true, column=column, sensor=sensor_named(sensor) if sensor else None)
    row = calibration_row(uuid, found.calibration, by, datetime.now(UTC).date().isoformat())
    more = [("windows", str(found.windows)), ("left over", f"{found.residual_mw / 1000:.1f} W (root mean square)")]
    show_facts(row, [*((name, text) for name, text in row.items()), *more], form)


def _milliseconds(text: str | None, option: str) -> Decimal | None:
    if text is None:
        return None
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or abs(number) > 10**15:
        raise typer.BadParameter(f"{text[:60]!r} is not a time in milliseconds", param_hint=option)
    return number


def _facts(result: TraceMeasurement) -> list[tuple[str, str]]:
    found, sensor = result.measurement, result.sensor
    facts = [
        ("energy", display.energy(found.energy_mj)),
        *_interval(found),
        ("duration", display.duration(found.duration_ns)),
        ("coverage", display.percent(found.coverage, digits=4)),
        ("method", found.method.value),
        ("boundary", found.boundary.value),
        ("column", result.column),
        ("sensor", f"{sensor.name}{' (assumed: the widest that fits)' if result.assumed else ''}"),
        ("sensor sees", f"{display.duration(sensor.window_ns)} of every {display.duration(sensor.period_ns)}"),
        ("lag corrected", display.duration(result.lag_ns)),
    ]
    return [*facts, ("flags", ", ".join(found.flags))] if found.flags else facts


def _interval(found: Measurement) -> list[tuple[str, str]]:
    parts = found.uncertainty
    if parts is None:
        return []
    between = display.energy_between(parts.lower_mj, parts.upper_mj)
    widths = {"gain": parts.gain_mj, "duty": parts.duty_mj, "edges": parts.edge_mj, "gaps": parts.gap_mj}
    return [
        ("interval", f"{between} at {display.percent(Fraction(parts.confidence))}"),
        ("made of", ", ".join(f"{name} {display.energy(mj)}" for name, mj in widths.items())),
    ]

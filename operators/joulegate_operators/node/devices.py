"""Devices as they stand on the tape, so that playing it gives the same energies."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from joulegate.core.sensors import SENSORS, Calibration
from joulegate.gpu import Device


def device_row(device: Device) -> list[Any]:
    """A device as JSON; its calibration is the last, where it has one."""
    row = [device.uuid, device.model, device.index, device.enforced_limit_mw, device.sensor.name, list(device.flags)]
    made = device.calibration
    return row if made is None else [*row, [str(made.gain), str(made.offset_mw), made.by, made.on]]


def device_from(row: Sequence[Any]) -> Device:
    """The reverse of :func:`device_row`."""
    uuid, model, index, limit, sensor, flags, *made = row
    calibrations = [Calibration(Fraction(gain), Fraction(offset_mw), by, on) for gain, offset_mw, by, on in made]
    return Device(uuid, model, index, limit, SENSORS[sensor], tuple(flags), *calibrations)

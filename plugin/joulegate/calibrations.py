"""The calibrations of this machine's boards: where they are kept, and which board has which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from joulegate.core.errors import UnavailableError
from joulegate.core.sensors import Calibration, parse_calibrations
from joulegate.gpu import Device
from joulegate.home import home, read_private


def calibrations(environment: Mapping[str, str]) -> dict[str, Calibration]:
    """The calibrations of boards that JOULEGATE_CALIBRATIONS or the home folder has; none where there is no file.

    Raises :class:`JoulegateError` where a file cannot be read.
    """
    named = environment.get("JOULEGATE_CALIBRATIONS")
    path = Path(named) if named else home(environment) / "calibrations.csv"
    text = read_private(path)
    if text is None and named:
        raise UnavailableError(f"there is no file {path}")
    return parse_calibrations(text or "", str(path))


def calibrated(devices: Sequence[Device], known: Mapping[str, Calibration]) -> tuple[Device, ...]:
    """The devices, each with its own calibration where there is one."""
    return tuple(replace(device, calibration=known.get(device.uuid)) for device in devices)

"""A device on the tape is the device that was, its calibration too."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction

import pytest

from joulegate.core.metering import NVML
from joulegate.core.sensors import Calibration
from joulegate.core.units import NS_PER_SECOND
from joulegate_operators.node.devices import device_from, device_row
from joulegate_operators.node.holds import DeviceHolds
from joulegate_operators.node.windows import Chain
from tests.operators.node.fleet import Board

START = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
MADE = Calibration(Fraction("0.8"), Fraction(-1180), "power lab", "2026-11-23")


@pytest.mark.parametrize("calibration", [None, MADE])
def test_a_device_comes_back_from_the_tape_as_it_was(calibration: Calibration | None) -> None:
    device = replace(Board("GPU-1").device(), calibration=calibration)
    assert device_from(json.loads(json.dumps(device_row(device)))) == device


def test_a_tape_of_before_calibrations_is_read() -> None:
    device = Board("GPU-1").device()
    assert device_from(device_row(device)[:6]) == device


def energy_mj(calibration: Calibration | None) -> int:
    board = Board("GPU-1")
    chain = Chain(replace(board.device(), calibration=calibration), NVML)
    for second in range(1, 12):
        chain.read(board.reading(second * NS_PER_SECOND))
        if second == 1:
            chain.cut(chain.known_from_ns or 0, START, DeviceHolds())
    return chain.energy_mj()


def test_windows_of_a_calibrated_board_hold_what_it_drew() -> None:
    shown, true = energy_mj(None), energy_mj(MADE)
    assert true == pytest.approx((shown + 1180 * 10) / 0.8, rel=0.02)

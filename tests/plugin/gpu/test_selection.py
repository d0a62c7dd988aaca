"""CUDA_VISIBLE_DEVICES in every form that CUDA takes: pure, and on boards of a scripted driver."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.core.errors import UnavailableError
from joulegate.core.sensors import SENSORS
from joulegate.gpu import Device
from joulegate.gpu.replay import ReplayReader
from joulegate.gpu.selection import parts_by, visible
from joulegate.gpu.sharing import Part, Parts
from tests.nvml.fleet import Fleet, Gpu, compile_library

CUT = "GPU-222"
SLICES = Parts(7, (Part("MIG-aa11-0", 1, 3), Part("MIG-ab22-0", 2, 3)))

FORMS = [
    (None, [0, 1, 2]),
    ("", []),
    ("-1", []),
    ("-1,0", []),
    ("NoDevFiles", []),
    ("none", []),
    ("1", [1]),
    (" 2 , 0 ", [2, 0]),
    ("0,0", [0]),
    ("0,7,1", [0]),
    ("0,-1,1", [0]),
    ("0,,1", [0]),
    ("0 1", []),
    ("0x1", []),
    ("²", []),
    ("9" * 5000, []),
    ("GPU-111", [1]),
    ("GPU-1, GPU-0", [1, 0]),
    ("GPU-1,2", [1, 2]),
    ("GPU-", []),
    ("gpu-111", []),
    ("MIG-aa11-0", [2]),
    ("MIG-ab", [2]),
    ("MIG-a", []),
    ("MIG-aa11-0,MIG-ab22-0", [2]),
    ("MIG-aa11-0,0", [2, 0]),
    ("MIG-cc33-0,0", []),
    (f"MIG-{CUT}/2/0", [2]),
    (f"MIG-{CUT}/1/0,MIG-{CUT}/2/0", [2]),
    (f"MIG-{CUT}/9/0", []),
    ("MIG-GPU-000/1/0", []),
    (f"MIG-{CUT}", []),
    (f"MIG-{CUT}/x/0", []),
]


def boards(*models: str) -> tuple[Device, ...]:
    names = models or ("board",) * 3
    return tuple(
        Device(f"GPU-{at}{at}{at}", name, at, None, SENSORS["turing"], ("mig",) if at == 2 else ())
        for at, name in enumerate(names)
    )


def parts_of(device: Device) -> Parts | None:
    return SLICES if device.uuid == CUT else None


def around(selection: str | None, **more: str) -> dict[str, str]:
    return more if selection is None else {"CUDA_VISIBLE_DEVICES": selection, **more}


@pytest.mark.parametrize(("selection", "indices"), FORMS)
def test_the_boards_are_chosen_as_cuda_does(selection: str | None, indices: list[int]) -> None:
    assert [device.index for device in visible(boards(), around(selection), parts_of)] == indices


def test_a_slice_stands_for_its_board_and_the_figure_says_that_it_is_cut() -> None:
    (device,) = visible(boards(), around("MIG-aa11-0"), parts_of)
    assert device.flags == ("mig",)


def test_an_index_among_boards_of_several_models_is_an_assumption_and_says_so() -> None:
    mixed = boards("slow", "fast", "slow")
    assert [device.flags for device in visible(mixed, around("0,GPU-1"))] == [("device_order_assumed",), ()]
    by_bus = around("0", CUDA_DEVICE_ORDER="PCI_BUS_ID")
    assert [device.flags for device in visible(mixed, by_bus)] == [()]
    assert [device.flags for device in visible(boards(), around("0"))] == [()]
    assert [device.flags for device in visible(mixed, {})] == [(), (), ("mig",)]


@given(st.text(alphabet="0123456789-,GPUMI/a ²", max_size=30))
def test_whatever_it_holds_boards_are_chosen_once_or_not_at_all(selection: str) -> None:
    chosen = visible(boards(), around(selection), parts_of)
    assert len({device.uuid for device in chosen}) == len(chosen)
    assert {device.uuid for device in chosen} <= {device.uuid for device in boards()}


def test_a_board_that_does_not_answer_has_no_slices_and_a_recording_none() -> None:
    class Lost(ReplayReader):
        def parts(self, device: Device) -> Parts | None:
            raise UnavailableError(f"{device.uuid} is lost")

        use = part_use = None

    lost, played = (kind.named("a100_square", "") for kind in (Lost, ReplayReader))
    assert parts_by(lost)(boards()[0]) is None
    assert parts_by(played)(boards()[0]) is None


@pytest.mark.nvml
def test_the_runner_measures_the_boards_that_the_command_may_use(tmp_path: Path) -> None:
    """Two boards and a cut one, of the same model; the record has those that are chosen, and no other."""
    name = "NVIDIA A100-SXM4-40GB"
    fleet = Fleet(
        [
            Gpu("GPU-aaaa", name, levels=[(0, 90_000)]),
            Gpu("GPU-bbbb", name, levels=[(0, 200_000)]),
            Gpu("GPU-cccc", name, levels=[(0, 300_000)], mig=True, parts=2),
        ]
    )
    environment = fleet.environment(compile_library(tmp_path), tmp_path)

    def measured(selection: str) -> list[dict[str, Any]]:
        mine = {**environment, "CUDA_VISIBLE_DEVICES": selection, "JOULEGATE_HOME": str(tmp_path / "home")}
        words = [sys.executable, "-m", "joulegate.run", "--", "sleep", "1"]
        done = subprocess.run(words, env=mine, check=False, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        (kept,) = (tmp_path / "home/spool").glob("*.json")
        devices: list[dict[str, Any]] = json.loads(kept.read_text())["devices"]
        kept.unlink()
        return devices

    assert [device["uuid"] for device in measured("1,0")] == ["GPU-bbbb", "GPU-aaaa"]
    assert [device["uuid"] for device in measured("GPU-b,7,0")] == ["GPU-bbbb"]
    assert measured("-1") == []
    for slices in ("MIG-00000002-0001", "MIG-GPU-cccc/1/0,MIG-GPU-cccc/2/0"):
        (device,) = measured(slices)
        (interval,) = device["intervals"]
        assert device["uuid"] == "GPU-cccc"
        assert "mig" in interval["flags"]
        assert int(interval["energy_mj"]) == pytest.approx(300_000 * interval_s(interval), rel=0.1)


def interval_s(interval: dict[str, Any]) -> float:
    """The length of an interval of a record in seconds."""
    begin, end = (datetime.fromisoformat(interval[name]) for name in ("start", "end"))
    return (end - begin).total_seconds()

"""The way through NVML, against a library that plays a script: the ordinary loader, the ordinary binding."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bench.meter import surroundings, watched

from tests.nvml import observe
from tests.nvml.fleet import ALL, Event, Fleet, Gpu, Kind, compile_library

pytestmark = pytest.mark.nvml

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_library(tmp_path_factory.mktemp("driver"))


@pytest.fixture(scope="module")
def old_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_library(tmp_path_factory.mktemp("old"), "SEVEN")


Seen = dict[str, Any]
Observe = Callable[..., Seen]


@pytest.fixture
def seen(library: Path, tmp_path: Path) -> Observe:
    """Measure a fleet for some seconds in a process of its own."""

    def run(fleet: Fleet, seconds: float, interval_ms: float = 100, driver: Path = library) -> Seen:
        command = [sys.executable, "-m", observe.__name__, str(seconds), str(interval_ms)]
        environment = fleet.environment(driver, tmp_path)
        done = subprocess.run(
            command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=seconds + 20
        )
        assert done.returncode == 0, done.stderr
        result: Seen = json.loads(done.stdout)
        return result

    return run


def error_of(fleet: Fleet, result: Seen, gpu: int) -> float:
    """Measured over true energy, less one."""
    true_mj = fleet.true_mj(gpu, result["start_ns"], result["end_ns"])
    measured: int = result["measurements"][gpu]["energy_mj"]
    return measured / true_mj - 1


def assert_covered(fleet: Fleet, result: Seen, gpu: int) -> None:
    uncertainty = result["measurements"][gpu]["uncertainty"]
    assert (
        uncertainty["lower_mj"] <= fleet.true_mj(gpu, result["start_ns"], result["end_ns"]) <= uncertainty["upper_mj"]
    )


def test_several_boards_are_measured_by_their_counters(seen: Observe) -> None:
    fleet = Fleet(
        [
            Gpu("GPU-0", levels=[(0, 60_000), (0, 200_000)], square=(104, 52)),
            Gpu(
                "GPU-1",
                name="NVIDIA A100-PCIE-40GB",
                window_ms=25,
                average=False,
                levels=[(0, 90_000), (1_500, 240_000)],
            ),
        ]
    )
    result = seen(fleet, 3)
    assert [device["uuid"] for device in result["devices"]] == ["GPU-0", "GPU-1"]
    assert [device["enforced_limit_mw"] for device in result["devices"]] == [350_000, 350_000]
    assert [device["sensor"]["name"] for device in result["devices"]] == ["ampere-instant", "a100"]
    for gpu in (0, 1):
        assert result["measurements"][gpu]["method"] == "nvml_counter"
        assert result["measurements"][gpu]["coverage"] == 1.0
        assert abs(error_of(fleet, result, gpu)) < 0.05
        assert_covered(fleet, result, gpu)
    assert result["cost"]["failures"] == 0


def test_a_driver_with_seven_symbols_is_enough(seen: Observe, old_library: Path) -> None:
    fleet = Fleet([Gpu("GPU-0")])
    result = seen(fleet, 1.5, driver=old_library)
    assert result["devices"][0]["enforced_limit_mw"] is None
    assert result["measurements"][0]["method"] == "nvml_counter"
    assert abs(error_of(fleet, result, 0)) < 0.08


def test_a_board_without_a_counter_is_measured_by_its_power_and_says_so(seen: Observe) -> None:
    fleet = Fleet([Gpu("GPU-0", counter=False, levels=[(0, 80_000), (1_200, 300_000)])])
    result = seen(fleet, 3)
    assert result["measurements"][0]["method"] == "nvml_power_integral"
    assert abs(error_of(fleet, result, 0)) < 0.05


def test_a_board_that_shows_nothing_is_not_measured_which_is_not_zero(seen: Observe) -> None:
    """As many virtual GPUs: neither counter nor power."""
    fleet = Fleet([Gpu("GPU-0", counter=False, average=False, scope=9, limit_mw=0)])
    measurement = seen(fleet, 0.5)["measurements"][0]
    assert measurement["energy_mj"] is None
    assert measurement["method"] == "not_measured"


def test_a_superchip_gives_its_power_at_module_scope_and_says_so(seen: Observe) -> None:
    fleet = Fleet([Gpu("GPU-0", name="NVIDIA GH200 480GB", counter=False, average=False, scope=1, window_ms=20)])
    result = seen(fleet, 2)
    assert "module_scope" in result["measurements"][0]["flags"]
    assert result["measurements"][0]["method"] == "nvml_power_integral"
    assert abs(error_of(fleet, result, 0)) < 0.05


def test_a_partitioned_board_is_measured_whole(seen: Observe) -> None:
    fleet = Fleet([Gpu("GPU-0", name="NVIDIA A100-SXM4-40GB", mig=True, window_ms=25)])
    result = seen(fleet, 1.5)
    assert "mig" in result["measurements"][0]["flags"]
    assert abs(error_of(fleet, result, 0)) < 0.08


def test_a_counter_that_is_reset_is_split_and_filled_from_power(seen: Observe) -> None:
    fleet = Fleet([Gpu("GPU-0")], [Event(Kind.RESET, 0, 2_500)])
    result = seen(fleet, 4)
    measurement = result["measurements"][0]
    assert "counter_backwards" in measurement["flags"]
    assert measurement["method"] == "nvml_counter_and_power"
    assert len(measurement["segments"]) == 3
    assert abs(error_of(fleet, result, 0)) < 0.05


def test_a_counter_that_jumps_is_not_believed(seen: Observe) -> None:
    fleet = Fleet([Gpu("GPU-0")], [Event(Kind.JUMP, 0, 2_500, 0, 5_000_000)])
    result = seen(fleet, 4)
    assert "counter_jump" in result["measurements"][0]["flags"]
    assert abs(error_of(fleet, result, 0)) < 0.05


def test_a_counter_that_stands_still_is_replaced_by_power(seen: Observe) -> None:
    fleet = Fleet([Gpu("GPU-0")], [Event(Kind.STUCK, 0, 2_000, 2_000)])
    result = seen(fleet, 5)
    assert "counter_stuck" in result["measurements"][0]["flags"]
    assert abs(error_of(fleet, result, 0)) < 0.05


def test_a_board_that_is_lost_and_comes_back_is_measured_again(seen: Observe) -> None:
    """Its counter went on meanwhile, so nothing is missing; the other board noticed nothing."""
    fleet = Fleet([Gpu("GPU-0"), Gpu("GPU-1")], [Event(Kind.LOST, 0, 2_000, 1_500)])
    result = seen(fleet, 6)
    assert "readings_failed" in result["measurements"][0]["flags"]
    assert result["measurements"][1]["flags"] == []
    assert abs(error_of(fleet, result, 0)) < 0.05
    assert abs(error_of(fleet, result, 1)) < 0.05
    assert "GPU-0" in result["failures"]


def test_a_board_that_is_lost_for_good_is_measured_as_far_as_it_was_there(seen: Observe) -> None:
    fleet = Fleet([Gpu("GPU-0")], [Event(Kind.LOST, 0, 3_000, 1e9)])
    result = seen(fleet, 5)
    measurement = result["measurements"][0]
    assert 0.2 < measurement["coverage"] < 0.8
    assert "after_last_reading" in measurement["flags"]
    assert measurement["segments"][-1]["energy_mj"] is None
    assert_covered(fleet, result, 0)


def test_a_driver_that_is_loaded_again_is_found_again(seen: Observe) -> None:
    fleet = Fleet([Gpu("GPU-0"), Gpu("GPU-1", counter=False)], [Event(Kind.RELOAD, ALL, 2_500, 1_000)])
    result = seen(fleet, 7)
    counted, integrated = result["measurements"]
    assert "counter_backwards" in counted["flags"]
    assert counted["segments"][-1]["method"] == "nvml_counter"
    assert integrated["segments"][-1]["method"] == "nvml_power_integral"
    for gpu in (0, 1):
        assert result["measurements"][gpu]["coverage"] < 1.0
        assert_covered(fleet, result, gpu)


def test_a_call_that_hangs_holds_up_its_own_board_only(seen: Observe) -> None:
    fleet = Fleet([Gpu("GPU-0", counter=False), Gpu("GPU-1", counter=False)], [Event(Kind.HANG, 0, 2_000, 2_500)])
    result = seen(fleet, 7)
    hung, other = result["measurements"]
    assert hung["coverage"] < 0.8
    assert hung["segments"][-1]["method"] == "nvml_power_integral"
    assert other["coverage"] == 1.0
    assert result["cost"]["longest_ns"] > 1_500_000_000
    assert_covered(fleet, result, 0)
    assert abs(error_of(fleet, result, 1)) < 0.05


def test_a_call_that_never_returns_does_not_keep_the_run_from_ending(seen: Observe) -> None:
    fleet = Fleet([Gpu("GPU-0"), Gpu("GPU-1")], [Event(Kind.HANG, 0, 1_500, 60_000)])
    result = seen(fleet, 3)
    assert result["end_ns"] - result["start_ns"] < 3_500_000_000
    assert result["measurements"][0]["coverage"] < 0.9
    assert result["measurements"][1]["coverage"] == 1.0


def test_without_the_library_the_reason_is_said(tmp_path: Path) -> None:
    code = "from joulegate.gpu import open_reader; open_reader()"
    environment = {"LD_LIBRARY_PATH": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert "UnavailableError: NVML" in done.stderr


@pytest.mark.parametrize(("replay", "source"), [("a100_square", "replayed"), ("", "")])
def test_a_machine_without_a_board_plays_a_recording_only_if_asked(
    library: Path, tmp_path: Path, replay: str, source: str
) -> None:
    code = "import sys; from joulegate.gpu import open_reader; print(open_reader(sys.argv[1]).source)"
    environment = Fleet([]).environment(library, tmp_path)
    command = [sys.executable, "-c", code, replay]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == source
    assert bool(source) or "NVML finds no GPU" in done.stderr


def test_what_is_measured_on_hardware_is_right_on_a_board_that_is_known(library: Path, tmp_path: Path) -> None:
    """The measurements of `pytest -m gpu`, on a scripted board whose load and period are known."""
    fleet = Fleet([Gpu("GPU-0", levels=[(0, 60_000), (0, 200_000)], square=(137, 60))])
    code = """
import json, sys
from contextlib import nullcontext
from pathlib import Path
from bench.gpu import measure_board, write
from joulegate.gpu.nvml import NvmlReader
with NvmlReader() as reader:
    found = measure_board(reader, reader.devices()[0], lambda *load: nullcontext(), seconds=2.0)
print(write(found, Path(sys.argv[1])))
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(
        command, env=fleet.environment(library, tmp_path), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    written = Path(done.stdout.strip())
    assert written.name == "gpu-nvidia-geforce-rtx-3090.json"
    found = json.loads(written.read_text())
    assert found["update_period_ms"]["instant_mw"] == pytest.approx(100, abs=15)
    assert found["update_period_ms"]["counter_mj"] == pytest.approx(100, abs=15)
    assert found["load"]["integral_over_counter"] == pytest.approx(1, abs=0.1)
    assert len(found["square_near_the_refresh"]) == 4
    assert found["counter_never_ran_backwards"]
    assert 0 < found["call_cost_us"]["median"] <= found["call_cost_us"]["longest"]


@pytest.mark.parametrize("tool", ["bare counter loop", "joulegate"])
def test_the_measurement_of_peers_knows_the_truth(library: Path, tmp_path: Path, tool: str) -> None:
    """The two tools of `python -m bench.meter` that need no other package."""
    fleet = Fleet([Gpu("GPU-0"), Gpu("GPU-1", levels=[(0, 60_000), (0, 240_000)], square=(137, 70))])
    environment = surroundings(fleet, library, tmp_path)
    (answer,) = watched(Path(sys.executable), fleet, environment, 4.0, [tool], ready_s=2.0)
    assert "failed" not in answer
    assert abs(answer["error"]) < 0.06
    assert 0 <= answer["cpu_s_an_hour"] < 400

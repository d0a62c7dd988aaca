"""On a machine with an NVIDIA GPU: a real load, measured in every way; writes bench/results/gpu-<model>.json."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from bench import cuda
from bench.gpu import measure_board, write

from joulegate.gpu.nvml import NvmlReader

ROOT = Path(__file__).parents[3]


@contextmanager
def products(seconds: float, on_ms: float, period_ms: float) -> Iterator[object]:
    """Matrix products on the first GPU, in a process that ends by itself."""
    command = [sys.executable, "-m", cuda.__name__, "0", *(str(value) for value in (seconds, on_ms, period_ms))]
    with subprocess.Popen(command, cwd=ROOT) as load:
        yield load
        assert load.wait(seconds + 20) == 0


@pytest.mark.gpu
@pytest.mark.timeout(240)
def test_a_real_board_is_measured_in_every_way() -> None:
    with NvmlReader() as reader:
        device = reader.devices()[0]
        found = measure_board(reader, device, products)
    write(found)
    assert found["counter_never_ran_backwards"]
    if found["load"]["integral_over_counter"] is not None:
        assert 0.8 < found["load"]["integral_over_counter"] < 1.25
    assert found["meter"][0]["share_of_a_core"] < 0.01

"""CodeCarbon beside a run: the real package, on scripted boards whose energy is known, and none of its traps."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from joulegate.spool import Spool
from tests.nvml.fleet import Fleet, Gpu, compile_library

BOARDS = [
    Gpu(f"GPU-{name}0000-0000-0000-0000-000000000000", levels=[(0, power)]) for name, power in (("a", 9e4), ("b", 3e5))
]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which(os.environ.get("CC", "cc").split()[0]) is None:
        pytest.skip("there is no C compiler")
    return compile_library(tmp_path_factory.mktemp("driver"))


def around(library: Path, folder: Path, *, with_nvidia_smi: bool = True) -> dict[str, str]:
    """A user who has settings of CodeCarbon that a record must not follow, and the second of two boards."""
    programs = folder / "bin"
    programs.mkdir()
    if with_nvidia_smi:
        (programs / "nvidia-smi").write_text("#!/bin/sh\nexit 0\n")
        (programs / "nvidia-smi").chmod(0o755)
    (folder / ".codecarbon.config").write_text(f"[codecarbon]\noutput_dir={folder}\nsave_to_file=true\ngpu_ids=0\n")
    return {
        **Fleet(BOARDS).environment(library, folder),
        "HOME": str(folder),
        "PATH": f"{programs}:/usr/bin:/bin",
        "JOULEGATE_HOME": str(folder / "home"),
        "JOULEGATE_CODECARBON": "FRA",
        "CODECARBON_SAVE_TO_FILE": "true",
        "CUDA_VISIBLE_DEVICES": "1",
    }


def recorded(environment: Mapping[str, str], folder: Path, *command: str) -> dict[str, Any]:
    """The record of a command."""
    words = [sys.executable, "-m", "joulegate.run", "--", *command]
    done = subprocess.run(words, env=environment, cwd=folder, check=False, capture_output=True, text=True, timeout=50)
    assert done.returncode == 3, done.stderr
    assert len(done.stderr.splitlines()) == 1, "one line on stderr, and it is ours"
    spool = Spool(folder / "home" / "spool")
    (name,) = spool.waiting()
    record: dict[str, Any] = json.loads((spool.folder / f"{name}.json").read_text())
    return record


def test_its_figure_of_the_same_board_stands_beside_ours_and_is_not_added(library: Path, tmp_path: Path) -> None:
    record = recorded(around(library, tmp_path), tmp_path, "sh", "-c", "sleep 3; exit 3")
    (device,), (opinion,) = record["devices"], record["opinions"]
    ours = sum(int(interval["energy_mj"]) for interval in device["intervals"])
    assert ours == pytest.approx(3 * 3e5, rel=0.1)
    assert opinion["tool"].startswith("codecarbon 3.3")
    length_s = int(opinion["duration_ns"]) / 1e9
    assert 2.5 < length_s < 8
    assert int(opinion["accelerator_mj"]) == pytest.approx(length_s * 3e5, rel=0.3)
    assert int(opinion["host_mj"]) > 0
    assert opinion["reason"] is None
    assert record["host"]["energy_mj"] != opinion["host_mj"]
    assert list(tmp_path.rglob("emissions*")) == []


def test_a_board_that_it_does_not_find_is_not_zero(library: Path, tmp_path: Path) -> None:
    """Without nvidia-smi on PATH it says 0 kWh."""
    environment = around(library, tmp_path, with_nvidia_smi=False)
    (opinion,) = recorded(environment, tmp_path, "sh", "-c", "sleep 1; exit 3")["opinions"]
    assert opinion["accelerator_mj"] is None
    assert "nvidia-smi" in opinion["reason"]


def test_a_country_that_it_does_not_know_is_no_opinion_and_the_run_goes_on(library: Path, tmp_path: Path) -> None:
    """Elsewhere it would take another one's."""
    environment = around(library, tmp_path) | {"JOULEGATE_CODECARBON": "Atlantis"}
    record = recorded(environment, tmp_path, "sh", "-c", "exit 3")
    (opinion,) = record["opinions"]
    assert (opinion["accelerator_mj"], opinion["host_mj"]) == (None, None)
    assert "Atlantis" in opinion["reason"]
    assert len(record["devices"]) == 1

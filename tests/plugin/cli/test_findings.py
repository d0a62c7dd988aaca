"""`joulegate doctor` in several situations: what can be measured, how far off it may be, what would improve it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from joulegate.cli.findings import Finding, accelerators, host
from tests.nvml.fleet import Event, Fleet, Gpu, Kind, compile_library
from tests.plugin.cli.conftest import Command

AWAY = {"LD_LIBRARY_PATH": "/nowhere"}


def zone(root: Path, *, readable: bool = True) -> Path:
    """One package of RAPL, as powercap shows it."""
    folder = root / "class/powercap/intel-rapl:0"
    folder.mkdir(parents=True)
    (folder / "name").write_text("package-0\n")
    (folder / "max_energy_range_uj").write_text("262143328850\n")
    if readable:
        (folder / "energy_uj").write_text("123456\n")
    else:
        (folder / "energy_uj").mkdir()  # tests may run as root, whom no mode keeps out
    return root


@pytest.mark.usefixtures("no_gpu")
def test_without_nvml_it_says_why_and_what_would_help() -> None:
    (found,) = accelerators({})
    assert not found.available
    assert found.detail.startswith("not measured: ")
    assert "driver" in found.improve[0] or "nvidia-ml-py" in found.improve[0]


def test_host_counters_that_may_not_be_read_need_rights(tmp_path: Path) -> None:
    found = host({}, zone(tmp_path, readable=False))
    assert not found.available
    assert any("CAP_PERFMON" in advice for advice in found.improve)
    assert any("JOULEGATE_HOST_MW" in advice for advice in found.improve)


def test_a_host_without_counters_may_be_declared(tmp_path: Path) -> None:
    assert "JOULEGATE_HOST_MW" in host({}, tmp_path).improve[-1]
    found = host({"JOULEGATE_HOST_MW": "250000"}, tmp_path)
    assert found.available
    assert "250000 mW" in found.detail
    assert "declared" in found.uncertainty


def test_a_declared_power_that_makes_no_sense_is_said(tmp_path: Path) -> None:
    for text in ("250W", "-1", "0", "9" * 40, "²"):
        found = host({"JOULEGATE_HOST_MW": text}, tmp_path)
        assert not found.available
        assert "JOULEGATE_HOST_MW" in found.detail


def test_a_host_whose_counters_can_be_read_needs_nothing(tmp_path: Path) -> None:
    found = host({}, zone(tmp_path))
    assert found.available
    assert "package-0" in found.detail
    assert "no interval is claimed" in found.uncertainty
    assert found.improve == ()


def test_a_finding_is_a_line_and_one_for_each_thing_to_know() -> None:
    lines = list(Finding("x", available=True, detail="is here", uncertainty="1 W", improve=("a", "b")).lines())
    assert [line["detail"] for line in lines] == ["is here", "how far off: 1 W", "better with: a", "better with: b"]
    assert [line["what"] for line in lines] == ["x", "", "", ""]


def test_the_table_is_for_people_and_the_json_has_every_part(joulegate: Command) -> None:
    table = joulegate("doctor").out
    assert table.splitlines()[0].split() == ["what", "here", "detail"]
    rows = joulegate("doctor", "--json").json
    assert all(set(row) == {"what", "available", "detail", "uncertainty", "improve"} for row in rows)
    assert {"host energy", "replay", "API"} <= {row["what"] for row in rows}


@pytest.mark.nvml
def test_every_board_says_how_far_off_it_may_be(tmp_path: Path) -> None:
    fleet = Fleet(
        [
            Gpu("GPU-known", levels=[(0, 200_000)]),
            Gpu("GPU-cut", "NVIDIA A100-SXM4-40GB", mig=True, window_ms=25),
            Gpu("GPU-new", "NVIDIA B900", counter=False),
            Gpu("GPU-virtual", "NVIDIA A40-8Q", counter=False, average=False, scope=9, limit_mw=0),
            Gpu("GPU-lost"),
        ],
        [Event(Kind.LOST, 4, 0, 1e9)],
    )
    home = tmp_path / "home"
    home.mkdir()
    calibrated = home / "calibrations.csv"
    calibrated.write_text("uuid,gain,offset_mw,by,on\nGPU-known,0.95,-1180,power lab,2026-11-23\n")
    environment = {
        **fleet.environment(compile_library(tmp_path), tmp_path),
        "JOULEGATE_HOME": str(home),
        "CUDA_VISIBLE_DEVICES": "GPU-known,GPU-cut",
    }

    def doctor(*more: str) -> str:
        code = "import sys; from joulegate.cli import main; sys.exit(main())"
        words = [sys.executable, "-c", code, "doctor", *more]
        return subprocess.run(
            words, env={**os.environ, **environment}, check=True, capture_output=True, text=True
        ).stdout

    rows = {row["what"].partition("(")[2].rstrip(")"): row for row in json.loads(doctor("--json"))}
    assert "calibrated by power lab on 2026-11-23" in rows["GPU-known"]["uncertainty"]
    assert rows["GPU-known"]["improve"] == []
    assert "of the whole board" in rows["GPU-cut"]["detail"]
    assert "joulegate calibrate" in rows["GPU-cut"]["improve"][0]
    assert "runs of 8 s or more" in rows["GPU-cut"]["improve"][1]
    assert "power only" in rows["GPU-new"]["detail"]
    assert "the widest is assumed" in rows["GPU-new"]["detail"]
    assert "hides it from runs" in rows["GPU-new"]["detail"]
    assert rows["GPU-virtual"]["available"] is False
    assert "not measured" in rows["GPU-virtual"]["detail"]
    assert "GPU-lost" not in rows
    assert "a steady 350 W: 11.4 % of 5 s, 11.3 % of 60 s" in rows["GPU-new"]["uncertainty"]

    calibrated.write_text("uuid,gain\n")
    assert "calibrations.csv:1" in doctor()

"""`make bench`: which lanes there are, and what is said of each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from bench import __main__ as runner

ROOT = Path(__file__).parents[2]


def test_a_lane_is_a_module_whose_main_takes_nothing() -> None:
    found = list(runner.lanes())
    assert {"accuracy", "meter", "prediction"} <= set(found)
    assert not {"cuda", "watch", "page", "__main__"} & set(found), "programs and drawers of lanes"


def test_a_lane_that_is_not_there_is_a_usage_error() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "nothing"], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "there is no lane nothing" in done.stderr


def test_a_lane_that_cannot_run_here_says_why_and_does_not_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    done = subprocess.run(
        [sys.executable, "-m", "bench", "meter"], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1].startswith("lane meter: not run, because there is no C compiler")

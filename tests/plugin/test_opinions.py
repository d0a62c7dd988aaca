"""A second opinion that cannot be had: the run is what it would have been, and the record says why."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from joulegate.opinions import SecondOpinion
from joulegate.spool import Spool


def test_without_the_package_the_run_goes_on_and_the_record_says_so(tmp_path: Path) -> None:
    if find_spec("codecarbon"):
        pytest.skip("CodeCarbon is installed here")
    environment = {**os.environ, "JOULEGATE_HOME": str(tmp_path), "JOULEGATE_CODECARBON": "FRA"}
    words = [sys.executable, "-m", "joulegate.run", "--", "sh", "-c", "exit 3"]
    done = subprocess.run(words, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 3
    spool = Spool(tmp_path / "spool")
    (name,) = spool.waiting()
    (opinion,) = json.loads((spool.folder / f"{name}.json").read_text())["opinions"]
    assert opinion["accelerator_mj"] is None
    assert "No module named 'codecarbon'" in opinion["reason"]


def test_nothing_is_started_or_said_where_nobody_asked(tmp_path: Path) -> None:
    code = "import sys, joulegate.run; assert not {'codecarbon', 'pandas'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    environment = {**os.environ, "JOULEGATE_HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-m", "joulegate.run", "--", "true"], env=environment, check=True)
    spool = Spool(tmp_path / "spool")
    (name,) = spool.waiting()
    assert "opinions" not in json.loads((spool.folder / f"{name}.json").read_text())


def test_a_program_that_cannot_be_started_is_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    opinion = SecondOpinion("FRA", [], os.environ)
    opinion.start()
    found = opinion.stop()
    assert (found.accelerator, found.host) == (None, None)
    assert found.reason == "cannot start it: No such file or directory"
    assert list(tmp_path.iterdir()) == []

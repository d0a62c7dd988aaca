"""Marked work: windows that hold the work only, with a runner and without one, and never an error of ours."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import joulegate
from joulegate.spool import Spool
from tests.plugin.api_double import Api


@pytest.fixture
def facts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a runner that measures around this process."""
    file = tmp_path / "facts.jsonl"
    file.touch()
    monkeypatch.setenv("JOULEGATE_FACTS_FILE", str(file))
    monkeypatch.setenv("JOULEGATE_RUN_ID", "around")
    return file


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No runner, and a recording to measure with."""
    monkeypatch.setenv("JOULEGATE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("JOULEGATE_REPLAY", "a100_square")
    return tmp_path / "home"


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def kept(home: Path) -> list[dict[str, Any]]:
    spool = Spool(home / "spool")
    return [json.loads((spool.folder / f"{name}.json").read_text()) for name in spool.waiting()]


def test_a_window_holds_the_block(facts: Path) -> None:
    with joulegate.work("fit", samples=10):
        time.sleep(0.05)
    (fact,) = lines(facts)
    assert (fact["name"], fact["unit"], fact["amount"], fact["repeats"]) == ("fit", "samples", 10, 1)
    assert 0.05e9 <= fact["end_ns"] - fact["start_ns"] < 5e9


def test_repeated_work_lasts_as_long_as_asked_and_holds_nothing_else(facts: Path) -> None:
    with joulegate.work("predict", samples=10) as work:
        time.sleep(0.5)
        done = -1
        for done in work.repeat(seconds=0.1):  # noqa: B007 -- used after the loop
            time.sleep(0.01)
        time.sleep(0.5)
    (fact,) = lines(facts)
    assert fact["repeats"] == done + 1
    assert 0.1e9 <= fact["end_ns"] - fact["start_ns"] < 0.5e9


def test_slow_work_is_done_once(facts: Path) -> None:
    with joulegate.work("predict", samples=1) as work:
        assert list(work.repeat(seconds=0)) == [0]
    assert [fact["repeats"] for fact in lines(facts)] == [1]


def test_each_loop_of_a_block_is_a_window_of_its_own(facts: Path) -> None:
    with joulegate.work("predict", samples=1) as work:
        for _ in range(2):
            for _ in work.repeat(seconds=0.01):
                pass
    first, second = lines(facts)
    assert first["end_ns"] <= second["start_ns"]


def test_quality_is_a_fact_of_its_own(facts: Path) -> None:
    with joulegate.work("predict", samples=4) as work:
        work.quality(accuracy=0.75, n=4)
        work.quality(loss=0.2, higher_is_better=False)
    accuracy, loss, _ = lines(facts)
    assert (accuracy["value"], accuracy["n"], accuracy["higher_is_better"]) == (0.75, 4, True)
    assert (loss["name"], loss["n"], loss["higher_is_better"]) == ("loss", None, False)


def test_work_that_fails_fails_as_it_would_and_leaves_no_window(facts: Path) -> None:
    with pytest.raises(ZeroDivisionError), joulegate.work("fit", samples=1):
        _ = 1 / 0
    assert lines(facts) == []


@pytest.mark.parametrize("amount", [{"samples": 1.5}, {"samples": -1}, {"samples": 1, "tokens": 2}, {"samples": None}])
def test_an_amount_that_is_none_is_said_and_does_not_stop_the_work(
    facts: Path, capsys: pytest.CaptureFixture[str], amount: dict[str, Any]
) -> None:
    done = False
    with joulegate.work("fit", **amount):
        done = True
    assert done
    assert lines(facts) == []
    assert "one amount, a whole number" in capsys.readouterr().err


@pytest.mark.parametrize("value", [float("nan"), "good", None])
def test_a_quality_that_is_no_number_is_said_and_does_not_stop_the_work(
    facts: Path, capsys: pytest.CaptureFixture[str], value: float
) -> None:
    with joulegate.work("fit", samples=1) as work:
        work.quality(accuracy=value)
    assert [fact["fact"] for fact in lines(facts)] == ["work"]
    assert "accuracy is not recorded" in capsys.readouterr().err


def test_a_file_that_is_gone_is_said_and_does_not_stop_the_work(
    facts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with joulegate.work("fit", samples=1):
        facts.unlink()
    assert "not recorded" in capsys.readouterr().err
    assert not facts.exists()


def test_processes_that_write_at_once_do_not_mix(facts: Path) -> None:
    program = "import joulegate\nfor n in range(50):\n  with joulegate.work('x' * 200, samples=n): pass"
    running = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(3)]
    assert [process.wait(timeout=30) for process in running] == [0, 0, 0]
    assert sorted(fact["amount"] for fact in lines(facts)) == sorted(list(range(50)) * 3)


@pytest.mark.usefixtures("no_gpu")
def test_without_a_runner_the_library_measures_and_keeps_a_record(
    alone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with joulegate.work("predict", kind="inference", model="mlp", variant="sparse", samples=10) as work:
        for _ in work.repeat(seconds=0.3):
            time.sleep(0.01)
        work.quality(accuracy=0.9, n=10)
    (record,) = kept(alone)
    (window,) = record["work"]
    assert (record["kind"], record["model"], record["variant"]) == ("inference", "mlp", "sparse")
    assert (record["source"], record["outcome"], record["run"]["step"]) == ("replayed", "succeeded", "predict")
    assert int(window["energy_mj"]) > 0
    assert record["quality"][0]["value"] == 0.9
    assert "replayed" in capsys.readouterr().err


def test_without_a_runner_failed_work_is_a_failed_record(alone: Path) -> None:
    with pytest.raises(ZeroDivisionError), joulegate.work("fit", samples=1):
        _ = 1 / 0
    (record,) = kept(alone)
    assert (record["outcome"], record["work"]) == ("failed", [])


def test_without_a_runner_the_record_is_sent(alone: Path, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOULEGATE_ADDRESS", api.address)
    with joulegate.work("fit", samples=1):
        pass
    assert len(api.records()) == 1
    assert kept(alone) == []


def test_a_kind_that_is_none_costs_the_record_and_not_the_work(alone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with joulegate.work("fit", kind="baking", samples=1):
        pass
    assert kept(alone) == []
    assert "no record: ValueError" in capsys.readouterr().err


def test_where_nothing_can_be_measured_or_kept_the_work_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("JOULEGATE_HOME", str(tmp_path / "file/below"))
    with joulegate.work("fit", samples=1) as work:
        work.quality(accuracy=1)
    assert (tmp_path / "file").exists()


def test_the_package_imports_nothing_of_the_meter_until_work_is_measured() -> None:
    heavy = {"joulegate.meter", "urllib.request", "pynvml"}
    program = f"import joulegate, sys; joulegate.work; print([m for m in sys.modules if m in {heavy}])"
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, env={**os.environ}
    )
    assert done.stdout == "[]\n"


def test_an_unknown_name_of_the_package_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'werk'"):
        _ = joulegate.werk

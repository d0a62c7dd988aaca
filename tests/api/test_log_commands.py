"""The log is kept by commands on the machine that has it."""

from __future__ import annotations

from pathlib import Path

import pytest

import joulegate_migrations
from joulegate.cli.program import run
from joulegate.core.checkpoints import read_key
from joulegate.core.log import EntryType
from joulegate.verification import Given, verify
from tests.api.running import Service, budget, record


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JOULEGATE_HOME", str(tmp_path))
    joulegate_migrations.upgrade(f"sqlite:///{tmp_path}/joulegate.db")
    return tmp_path


def test_a_key_is_made_once_and_rotated(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["log", "key"]) == 0
    first = capsys.readouterr().out.strip()
    assert read_key(first).name.startswith("joulegate/")
    assert run(["log", "key"]) == 0
    assert capsys.readouterr().out.strip() == first
    assert run(["log", "rotate"]) == 0
    second = capsys.readouterr().out.strip()
    assert run(["log", "key"]) == 0
    assert capsys.readouterr().out.split() == [second, first]


def test_a_loss_is_accepted_only_in_so_many_words(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["log", "recover"]) == 2
    assert "accept-loss" in capsys.readouterr().err
    assert run(["log", "recover", "--accept-loss"]) == 0
    assert "nothing was lost" in capsys.readouterr().out


def test_a_day_that_is_none_is_refused(home: Path) -> None:
    assert run(["log", "prune", "--before", "yesterday"]) == 2


def test_nothing_is_pruned_that_is_younger_than_ten_years(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["log", "prune"]) == 0
    assert "0 bodies" in capsys.readouterr().out


def test_what_is_pruned_is_told_of_and_verifies_as_pruned(service: Service, tmp_path: Path) -> None:
    keeper = service.context.keeper
    keeper.make_key("test")
    service.put("/v1/budgets/vision", budget())
    service.put("/v1/budgets/other", budget("other"))
    keeper.sign()
    now = service.store.log.backlog()[1]
    index, count = keeper.prune(now, "alice")
    assert (index, count) == (3, 2)  # two budgets; the key's entry stays
    assert [leaf.data is None for leaf in service.store.log.leaves(0, 3)].count(True) == 2
    service.post("/v1/records", record("r1"))
    made = service.post("/v1/reports", {"since": "2026-11-20T00:00:00Z", "until": "2026-11-21T00:00:00Z"}).json()
    path = tmp_path / "bundle.zip"
    path.write_bytes(service.get(f"/v1/reports/{made['id']}.bundle").content)
    verdict = verify(path, Given(str(keeper.keys()[0].verifier)))
    assert [check.faults for check in verdict.checks if not check.passed] == []
    assert (verdict.good, verdict.pruned) == (True, 2)
    assert service.store.log.bodies(EntryType.RETENTION)[0]["before_index"] == "3"

"""The end of a run: the record is kept first and sent second, and a sentence says what became of it."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from joulegate.core.records import EfficiencyRecord, HostEnergy, Kind, Run, RunOutcome, Source
from joulegate.delivery import deliver
from joulegate.spool import Spool
from tests.plugin.api_double import Api

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def record(record_id: str) -> EfficiencyRecord:
    run = Run(record_id)
    host = HostEnergy(None, "not_measured")
    return EfficiencyRecord(
        record_id, run, Kind.OTHER, None, None, NOW, NOW, RunOutcome.FAILED, (), host, Source.NVML, "joulegate/test"
    )


@pytest.fixture
def environment(tmp_path: Path, api: Api) -> dict[str, str]:
    return {"JOULEGATE_HOME": str(tmp_path), "JOULEGATE_ADDRESS": api.address}


def test_a_record_that_is_taken_is_sent_and_gone(environment: dict[str, str], tmp_path: Path, api: Api) -> None:
    assert deliver(record("a"), environment) == "record a sent"
    assert Spool(tmp_path / "spool").waiting() == ()
    assert api.records() == ["a"]


def test_a_record_that_is_refused_is_set_aside_and_said(environment: dict[str, str], tmp_path: Path, api: Api) -> None:
    api.will(422, {"code": "invalid_input", "detail": "kind: unknown"})
    said = deliver(record("a"), environment)
    assert "refused and kept in" in said
    assert "kind: unknown" in said
    assert (tmp_path / "spool/quarantine/a.json").exists()


def test_a_wrong_token_leaves_the_record_waiting_and_says_why(environment: dict[str, str], api: Api) -> None:
    api.will(401, {"code": "unauthenticated", "detail": "no such token"})
    said = deliver(record("a"), environment)
    assert "waits in" in said
    assert "no such token" in said


def test_an_api_that_takes_its_time_is_not_waited_for(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("joulegate.client.Client.post", lambda *_, **__: time.sleep(3))
    begun = time.monotonic()
    said = deliver(record("a"), environment, within_s=0.1)
    assert time.monotonic() - begun < 2.5
    assert "waits in" in said


def test_what_cannot_be_kept_is_sent_all_the_same(environment: dict[str, str], tmp_path: Path, api: Api) -> None:
    (tmp_path / "file").touch()
    assert deliver(record("a"), environment | {"JOULEGATE_HOME": str(tmp_path / "file/x")}) == "record a sent"
    assert api.records() == ["a"]


def test_what_can_neither_be_kept_nor_sent_is_in_the_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    away = {"JOULEGATE_HOME": str(tmp_path / "file/x"), "JOULEGATE_ADDRESS": "http://127.0.0.1:9"}
    said = deliver(record("a"), away, within_s=0.1)
    assert json.loads(said[said.index("{") :])["record_id"] == "a"

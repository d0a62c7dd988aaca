"""Instruments, embodied ranges and stale factors in the report: recomputed from the log, in columns of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from joulegate.verification import Given, verify
from tests.api.reports.test_bundle import bundle_of, key_of, reported
from tests.api.running import FACTORS, PRICES, SITES, Service, record
from tests.api.test_market import INSTRUMENT


@pytest.fixture
def bought(sqlite_service: Service) -> Service:
    """A priced record, a factor of long ago, and a certificate for less than was used."""
    service = sqlite_service
    service.context.keeper.make_key("test")
    row: dict[str, Any] = {**FACTORS["rows"][0], "data_until": "2024-01-01T00:00:00Z"}
    old = {"rows": [row]}
    for kind, body in (("factors", old), ("prices", PRICES), ("sites", SITES)):
        assert service.put(f"/v1/{kind}", body).status_code == 201
    sent = record("r1")
    sent["run"]["site"] = "default"
    assert service.post("/v1/records", sent).status_code == 201
    assert service.put("/v1/instruments", {"rows": [INSTRUMENT | {"energy_mj": "1000"}]}).status_code == 201
    return service


def document(service: Service, report_id: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(service.get(f"/v1/reports/{report_id}.json").content)
    return read


def test_instruments_and_embodied_ranges_are_recomputed_from_the_log(bought: Service, tmp_path: Path) -> None:
    made = reported(bought, life_years=5)
    path = bundle_of(bought, made["id"], tmp_path / "bundle.zip")
    verdict = verify(path, Given(key_of(bought)))
    assert [(check.name, check.faults) for check in verdict.checks if not check.passed] == []
    assert verdict.good


def test_a_report_tells_what_was_covered_what_is_stale_and_what_a_board_embodies(bought: Service) -> None:
    made = reported(bought, life_years=5)
    told = document(bought, made["id"])
    assert told["market"]["covered_mj"] == "1000"
    assert told["market"]["uses"][0]["instrument"]["evidence"] == INSTRUMENT["evidence"]
    (stale,) = told["stale"]
    assert (stale["zone"], stale["data_until"]) == ("DE", "2024-01-01T00:00:00Z")
    (board,) = told["embodied"]
    assert len(board["sources"]) == 2
    assert int(board["low_share_ug"]) < int(board["high_share_ug"])


def test_a_part_of_the_whole_says_nothing_of_instruments(bought: Service) -> None:
    assert "market" not in document(bought, reported(bought, namespace="vision")["id"])


def test_an_instrument_that_came_later_is_not_in_an_earlier_report(bought: Service) -> None:
    before = reported(bought)
    more = INSTRUMENT | {"name": "GO 2", "energy_mj": "2000"}
    assert bought.put("/v1/instruments", {"rows": [more]}).status_code == 201
    assert document(bought, before["id"])["market"]["covered_mj"] == "1000"
    assert document(bought, reported(bought)["id"])["market"]["covered_mj"] == "3000"

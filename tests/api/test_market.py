"""Instruments over HTTP, and carbon in columns: by location, by instruments and residual mix, embodied as a range."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.api.running import FACTORS, VALID, Service, priced, record

INSTRUMENT: dict[str, Any] = {
    "kind": "certificate",
    "name": "GO 2026-17",
    "zone": "DE",
    "energy_mj": "40000000",
    "ug_per_kwh": "0",
    "evidence": "cancellation statement 7",
    **VALID,
    "valid_from": "2026-11-20T00:00:00Z",
    "valid_to": "2026-11-21T00:00:00Z",
}
DAY = "/v1/market?since=2026-11-20T00:00:00Z&until=2026-11-21T00:00:00Z"


def residual() -> dict[str, Any]:
    body = copy.deepcopy(FACTORS)
    body["rows"][0] |= {"basis": "market", "mix": "residual", "ug_per_kwh": "700000000"}
    return body


def with_record(service: Service) -> int:
    """One record at a site with PUE 1.2; returns its energy at the facility's meter in mJ."""
    priced(service)
    body = record()
    body["run"]["site"] = "default"
    sent = service.post("/v1/records", body)
    assert sent.status_code == 201, sent.text
    return int(body["devices"][0]["intervals"][0]["energy_mj"]) * 12 // 10


def test_an_instrument_is_added_once_and_logged_with_its_evidence(service: Service) -> None:
    added = service.put("/v1/instruments", {"rows": [INSTRUMENT]})
    assert (added.status_code, added.json()["added"]) == (201, 1)
    assert service.put("/v1/instruments", {"rows": [INSTRUMENT]}).json()["repeated"] == 1
    (row,) = service.get("/v1/instruments").json()["rows"]
    assert {name: row[name] for name in INSTRUMENT} == INSTRUMENT
    other = INSTRUMENT | {"energy_mj": "1"}
    assert service.put("/v1/instruments", {"rows": [other]}).status_code == 409, "a correction needs a new version"


@pytest.mark.parametrize(
    "fields", [{"energy_mj": "0"}, {"kind": "promise"}, {"evidence": ""}, {"valid_to": "2026-11-19T00:00:00Z"}]
)
def test_an_instrument_that_covers_nothing_or_shows_nothing_is_refused(
    sqlite_service: Service, fields: dict[str, str]
) -> None:
    assert sqlite_service.put("/v1/instruments", {"rows": [INSTRUMENT | fields]}).status_code == 422
    assert sqlite_service.get("/v1/instruments").json() == {"rows": []}


def test_columns_stand_beside_each_other_and_are_never_added(sqlite_service: Service) -> None:
    facility = with_record(sqlite_service)
    found = sqlite_service.get(DAY).json()
    assert found["market"]["carbon_ug"] is None, "the location-based factor does not stand in"
    assert found["market"]["unknown_mj"] == str(facility)
    assert found["location_ug"] == str(round(facility * 400_000_000 / 3_600_000_000))
    half = INSTRUMENT | {"energy_mj": str(facility // 2)}
    sqlite_service.put("/v1/instruments", {"rows": [half]})
    again = sqlite_service.get(DAY).json()
    assert again["location_ug"] == found["location_ug"]
    assert (again["market"]["covered_mj"], again["market"]["unknown_mj"]) == (half["energy_mj"], str(facility // 2))
    (range_,) = again["embodied"]
    assert [source["publisher"].split(",")[0] for source in range_["sources"]] == ["Falk", "Boavizta"]
    assert "low_share_ug" in range_
    assert range_["low_share_ug"] is None
    with_life = sqlite_service.get(f"{DAY}&life_years=5").json()["embodied"][0]
    assert 0 < int(with_life["low_share_ug"]) < int(with_life["high_share_ug"])


def test_the_residual_mix_prices_what_instruments_do_not_cover(sqlite_service: Service) -> None:
    sqlite_service.put("/v1/factors", residual())
    facility = with_record(sqlite_service)
    found = sqlite_service.get(DAY).json()["market"]
    assert (found["residual_mj"], found["unknown_mj"]) == (str(facility), "0")
    assert found["carbon_ug"] == str(round(facility * 700_000_000 / 3_600_000_000))


def test_water_is_by_the_sites_wue_and_unknown_without_one(sqlite_service: Service) -> None:
    facility = with_record(sqlite_service)
    before = sqlite_service.get(DAY).json()
    assert (before["water_ul"], before["water_unknown"]) == (None, 1)
    wet = {**VALID, "name": "wet", "zone": "DE", "pue_ppm": 1_200_000, "pue_category": "2", "wue_ul_per_kwh": "1800000"}
    assert sqlite_service.put("/v1/sites", {"rows": [wet]}).status_code == 201
    sent = record("r2")
    sent["run"] |= {"uid": "run-2", "site": "wet"}
    sent["devices"][0]["uuid"] = "GPU-2"
    assert sqlite_service.post("/v1/records", sent).status_code == 201
    after = sqlite_service.get(DAY).json()
    accelerators = facility * 10 // 12
    assert (after["water_ul"], after["water_unknown"]) == (str(round(accelerators * 1_800_000 / 3_600_000_000)), 1)


def test_a_period_is_of_whole_quarter_hours(sqlite_service: Service) -> None:
    for bad in (
        "since=2026-11-20T00:01:00Z&until=2026-11-21T00:00:00Z",
        "since=2026-11-21T00:00:00Z&until=2026-11-20T00:00:00Z",
    ):
        assert sqlite_service.get(f"/v1/market?{bad}").status_code == 422

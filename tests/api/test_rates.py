"""Rates over HTTP: sets of dated rows with their sources, added and never edited."""

import copy
from typing import Any

import pytest

from tests.api.running import FACTORS, PRICES, SITES, Service

SETS: dict[str, dict[str, Any]] = {"factors": FACTORS, "prices": PRICES, "sites": SITES}


def changed(body: dict[str, Any], **fields: object) -> dict[str, Any]:
    copied = copy.deepcopy(body)
    copied["rows"][0] |= fields
    return copied


@pytest.mark.parametrize("kind", SETS)
def test_a_set_is_added_once_and_listed_with_its_source(service: Service, kind: str) -> None:
    assert service.get(f"/v1/{kind}").json() == {"rows": []}, "nothing is seeded"
    added = service.put(f"/v1/{kind}", SETS[kind])
    assert (added.status_code, added.json()["added"]) == (201, 1)
    again = service.put(f"/v1/{kind}", SETS[kind])
    assert (again.status_code, again.json()["added"], again.json()["repeated"]) == (200, 0, 1)
    (row,) = service.get(f"/v1/{kind}").json()["rows"]
    assert {name: row[name] for name in SETS[kind]["rows"][0]} == SETS[kind]["rows"][0]


@pytest.mark.parametrize(
    ("kind", "fields"),
    [("factors", {"ug_per_kwh": "1"}), ("prices", {"micros_per_unit": "1"}), ("sites", {"pue_ppm": 1_100_000})],
)
def test_a_row_is_corrected_by_a_newer_version_only(service: Service, kind: str, fields: dict[str, object]) -> None:
    service.put(f"/v1/{kind}", SETS[kind])
    other = changed(SETS[kind], **fields)
    assert service.put(f"/v1/{kind}", other).status_code == 409
    other["rows"][0]["reference"]["version"] = "2026-2"
    assert service.put(f"/v1/{kind}", other).status_code == 201
    assert len(service.get(f"/v1/{kind}").json()["rows"]) == 2


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("factors", {"ug_per_kwh": -1}),
        ("factors", {"ug_per_kwh": 1.5}),
        ("factors", {"ug_per_kwh": str(10**11)}),
        ("factors", {"basis": "guess"}),
        ("factors", {"valid_to": "2019-01-01T00:00:00Z"}),
        ("factors", {"reference": None}),
        ("factors", {"reference": {"dataset": "d"}}),
        ("factors", {"g_per_kwh": 400}),
        ("prices", {"currency": "Euro"}),
        ("prices", {"rule": "both"}),
        ("prices", {"micros_per_unit": "0.2"}),
        ("sites", {"pue_ppm": 900_000}),
        ("sites", {"pue_ppm": "1200000"}),
        ("sites", {"zone": ""}),
    ],
)
def test_a_set_with_a_bad_row_is_refused_as_a_whole(
    sqlite_service: Service, kind: str, fields: dict[str, object]
) -> None:
    before = sqlite_service.fingerprint()
    good = copy.deepcopy(SETS[kind])
    good["rows"].append(changed(SETS[kind], **fields)["rows"][0])
    refused = sqlite_service.put(f"/v1/{kind}", good)
    assert refused.status_code == 422
    assert all(fault["field"].startswith("rows.1") for fault in refused.json()["errors"])
    assert sqlite_service.fingerprint() == before


@pytest.mark.parametrize("kind", SETS)
def test_an_empty_set_is_no_set(sqlite_service: Service, kind: str) -> None:
    assert sqlite_service.put(f"/v1/{kind}", {"rows": []}).status_code == 422


def test_a_price_book_pays_for_energy_or_for_time_never_both(sqlite_service: Service) -> None:
    both = changed(PRICES)
    both["rows"].append(changed(PRICES, rule="gpu_hours")["rows"][0])
    refused = sqlite_service.put("/v1/prices", both)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "rows.1.rule")
    assert sqlite_service.get("/v1/prices").json() == {"rows": []}


def test_prices_that_differ_in_hours_or_ownership_stand_side_by_side(sqlite_service: Service) -> None:
    book = changed(PRICES, from_hour=22, to_hour=6)
    book["rows"] += changed(PRICES, from_hour=6, to_hour=22)["rows"] + changed(PRICES, ownership="owned")["rows"]
    assert sqlite_service.put("/v1/prices", book).json()["added"] == 3
    wrong = changed(PRICES, from_hour=22)
    assert sqlite_service.put("/v1/prices", wrong).json()["errors"][0]["field"] == "rows.0.from_hour"

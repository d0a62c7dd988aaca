"""Predictions over HTTP: quantiles, what they stand on, and what they would cost."""

import pytest

from tests.api.running import Service, job, priced, record

HOUR_MJ = 400 * 3_600_000


def test_without_history_the_nameplate_is_what_a_prediction_stands_on(service: Service) -> None:
    priced(service)
    found = service.post("/v1/predictions", job(gpus=2)).json()
    assert (found["basis"], found["n"], found["accelerators"]) == ("prior", 0, "2")
    assert found["duration_ns"] == str(3_600 * 10**9)
    assert found["energy"]["p90_mj"] == str(2 * HOUR_MJ)
    # 0.8 kWh at PUE 1.2, 400 g and 0.20 EUR a kWh
    assert (found["carbon"]["p90_ug"], found["cost"]["p90_micros"]) == ("384000000", "192000")
    assert found["cost"]["currency"] == "EUR"
    assert int(found["energy"]["p50_mj"]) < int(found["energy"]["p90_mj"])
    assert found["references"]


def test_what_nothing_prices_is_null(sqlite_service: Service) -> None:
    found = sqlite_service.post("/v1/predictions", job()).json()
    assert found["energy"]["p50_mj"] is not None
    assert found["carbon"] == {"p50_ug": None, "p90_ug": None}
    assert found["cost"] == {"p50_micros": None, "p90_micros": None, "currency": None}


def test_runs_that_were_measured_are_what_the_next_one_is_predicted_from(service: Service) -> None:
    for number in range(4):
        service.post("/v1/records", record(f"r{number}"))
    found = service.post("/v1/predictions", job(duration=None)).json()
    assert (found["basis"], found["n"]) == ("history", 4)
    assert found["duration_ns"] == str(300 * 10**9)
    assert 55_000_000 < int(found["energy"]["p50_mj"]) < 65_000_000


@pytest.mark.parametrize(
    ("manifest", "code"),
    [
        (job(gpus=0), "invalid_input"),
        (job(gpus="x"), "undecidable"),
        ({"apiVersion": "apps/v1", "kind": "Deployment"}, "undecidable"),
        ({"kind": "Job"}, "undecidable"),
        (job(duration="365d"), "invalid_input"),
        (job(namespace=7), "undecidable"),  # type: ignore[arg-type] # as somebody may write it
    ],
)
def test_what_cannot_be_predicted_says_why(sqlite_service: Service, manifest: dict[str, object], code: str) -> None:
    refused = sqlite_service.post("/v1/predictions", manifest)
    assert (refused.status_code, refused.json()["code"]) == (422, code)


def test_a_prediction_is_for_a_namespace_that_the_token_reaches(sqlite_service: Service) -> None:
    assert sqlite_service.post("/v1/predictions", job(), by="vision-reader").status_code == 200
    assert sqlite_service.post("/v1/predictions", job(namespace="speech"), by="vision-reader").status_code == 403

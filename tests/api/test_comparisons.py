"""Comparisons over HTTP: the newest record of each variant, figures for the same work, words and a picture."""

from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.api.running import Service, priced, record


def evaluation(variant: str, energy_mj: int, accuracy: float, number: int = 0, **more: Any) -> dict[str, Any]:
    """A record that predicted 1,000 samples ten times in five seconds."""
    parts = {"confidence": "0.95", "gain_mj": energy_mj // 10, "duty_mj": 0, "edge_mj": energy_mj // 100, "gap_mj": 0}
    work = {
        "name": "predict",
        "unit": "samples",
        "amount": 1_000,
        "repeats": 10,
        "start": "2026-11-20T08:01:00Z",
        "end": "2026-11-20T08:01:05Z",
        "energy_mj": str(energy_mj),
        "uncertainty": {"lower_mj": energy_mj * 9 // 10, "upper_mj": energy_mj * 11 // 10, **parts},
    }
    quality = {"name": "accuracy", "value": accuracy, "n": 1_000, "higher_is_better": True}
    fields = {"variant": variant, "kind": "evaluation", "work": [work], "quality": [quality]}
    fields |= {"started_at": f"2026-11-20T07:0{number}:00Z"}
    return record(f"{variant}-{number}", **(fields | more))


@pytest.fixture
def compared(sqlite_service: Service) -> Service:
    priced(sqlite_service)
    for body in (
        evaluation("original", 3_600_000, 0.98),
        evaluation("distilled", 1_200_000, 0.96),
        evaluation("quantised", 7_200_000, 0.97),
    ):
        assert sqlite_service.post("/v1/records", body).status_code == 201
    return sqlite_service


def test_variants_stand_side_by_side_with_their_front(compared: Service) -> None:
    found = compared.post("/v1/comparisons", {"variants": ["original", "distilled", "quantised"]}).json()
    assert (found["per"], found["unit"], found["quality"]) == (1_000, "samples", "accuracy")
    assert found["front"] == ["original", "distilled"]
    original, distilled, quantised = found["variants"]
    assert original["energy_mj"] == "360000"
    # 0.1 Wh of the accelerator a thousand samples, x 1.2 x 400 g and 0.20 EUR a kWh
    assert (original["carbon_ug"], original["cost_micros"], original["currency"]) == ("48000", "24", "EUR")
    assert original["energy_interval_mj"] == {"lower": "324000", "upper": "396000"}
    assert [each["finding"] for each in found["variants"]] == ["baseline", "cheaper", "dearer"]
    assert (distilled["on_front"], quantised["on_front"]) == (True, False)
    assert quantised["energy_ratio"] == "2"
    assert "dearer on this hardware" in quantised["words"]


def test_the_picture_is_an_svg_that_names_every_variant(compared: Service) -> None:
    found = compared.post("/v1/comparisons", {"variants": ["original", "distilled"]}).json()
    picture = ET.fromstring(found["svg"])  # noqa: S314 -- of our own making
    assert picture.tag.endswith("svg")
    assert {"original", "distilled"} <= {text.strip() for text in picture.itertext()}


def test_the_newest_finished_run_of_a_variant_is_the_one_that_counts(compared: Service) -> None:
    compared.post("/v1/records", evaluation("original", 1_800_000, 0.9, number=5))
    compared.post("/v1/records", evaluation("original", 1, 0.1, number=7, outcome="failed"))
    (original,) = compared.post("/v1/comparisons", {"variants": ["original"]}).json()["variants"]
    assert original["record_id"] == "original-5"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"variants": ["original", "nobody"]}, 404),
        ({"variants": []}, 422),
        ({"variants": ["original", "original"]}, 422),
        ({"variants": ["original"], "work": "training"}, 422),
        ({"variants": ["original"], "per": 0}, 422),
        ({"variants": ["original"], "model": "another"}, 404),
        ({}, 422),
    ],
)
def test_what_cannot_be_compared_says_why(compared: Service, body: dict[str, Any], status: int) -> None:
    refused = compared.post("/v1/comparisons", body)
    assert refused.status_code == status
    assert refused.json()["detail"]


def test_records_that_one_may_not_see_are_not_compared(compared: Service) -> None:
    hidden = evaluation("hidden", 1, 0.9, run={"uid": "u", "namespace": "speech"})
    assert compared.post("/v1/records", hidden).status_code == 201
    assert compared.post("/v1/comparisons", {"variants": ["hidden"]}).status_code == 200
    assert compared.post("/v1/comparisons", {"variants": ["hidden"]}, by="vision-reader").status_code == 404

"""The routes of admission: an answer for every uid, none without a side effect that it should not have, at any rate."""

import asyncio
import gzip
import json
from collections import Counter
from typing import Any

import httpx2
import pytest

from tests.api.running import Service, budget, job, over_http, priced, review, token_of, verdict_of

REVIEWS = 300
ROOM = 10
ENERGY_MJ = 400 * 3_600_000  # a board's nameplate for an hour


def test_every_review_with_a_uid_is_answered_with_that_uid(sqlite_service: Service) -> None:
    sqlite_service.put("/v1/budgets/vision", budget())
    good = json.dumps(review(job(), uid="the-uid")).encode()
    for raw in (
        good,
        good.replace(b'"CREATE"', b'"CREATE", "operation": "DELETE"'),
        good.replace(b'"train"', b"[" * 5_000 + b"]" * 5_000),
        good.replace(b'"train"', b"-Infinity"),
        good.replace(b'"containers"', b'"boxes"'),
        good.replace(b'"vision"', b"17"),
        json.dumps({"apiVersion": "v9", "kind": "x", "request": {"uid": "the-uid"}}).encode(),
    ):
        answered = sqlite_service.post("/v1/admission/validate", raw)
        assert answered.status_code == 200, answered.text
        body = answered.json()
        assert (body["apiVersion"], body["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
        assert body["response"]["uid"] == "the-uid"
        assert answered.headers["content-type"] == "application/json"


@pytest.mark.parametrize("timeout", ["?timeout=3s", ""])
def test_the_api_server_adds_its_timeout_to_the_address(sqlite_service: Service, timeout: str) -> None:
    assert sqlite_service.post(f"/v1/admission/validate{timeout}", review(job())).status_code == 200


def test_what_has_no_uid_or_no_end_is_refused(sqlite_service: Service) -> None:
    def status(raw: bytes, **headers: str) -> int:
        return sqlite_service.post("/v1/admission/validate", raw, headers=headers).status_code

    assert status(b"{}") == 400
    assert status(b"") == 400
    assert status(b'{"request": {"uid": "u", "object": "' + b"x" * (8 << 20) + b'"}}') == 413
    assert status(json.dumps(review(job())).encode(), **{"Content-Type": "text/yaml"}) == 415
    assert status(gzip.compress(json.dumps(review(job())).encode()), **{"Content-Encoding": "gzip"}) == 415


def test_a_large_review_is_read(sqlite_service: Service) -> None:
    large = job()
    large["metadata"]["annotations"]["note"] = "x" * (4 << 20)
    assert verdict_of(sqlite_service.post("/v1/admission/validate", review(large)))["reason"] == "NoBudget"


def test_a_token_that_does_not_reach_the_namespace_decides_nothing_there(sqlite_service: Service) -> None:
    sqlite_service.put("/v1/budgets/vision", budget(scope={"namespaces": ["vision", "speech"]}))
    before = sqlite_service.fingerprint()
    answered = sqlite_service.post("/v1/admission/validate", review(job(), namespace="speech"), by="vision-member")
    assert verdict_of(answered)["reason"] == "NotPermitted"
    manifest = job(namespace="speech")
    assert sqlite_service.post("/v1/admission/preview", manifest, by="vision-reader").status_code == 403
    assert sqlite_service.fingerprint() == before


def test_a_preview_is_the_verdict_with_its_prediction_and_nothing_else(service: Service) -> None:
    priced(service)
    service.put("/v1/budgets/vision", budget(limits={"energyKwh": "1", "carbonKg": "1"}))
    before = service.fingerprint()
    refused = service.post("/v1/admission/preview", job(gpus=8, duration="6h")).json()
    allowed = service.post("/v1/admission/preview", job(uid=None)).json()
    assert service.fingerprint() == before
    assert (refused["allowed"], refused["reason"]) == (False, "EstimateExceedsAvailable")
    assert (allowed["allowed"], allowed["hold"]) == (True, None)
    prediction = allowed["prediction"]
    assert prediction["energy"]["p90_mj"] == str(ENERGY_MJ)
    assert int(prediction["energy"]["p50_mj"]) < ENERGY_MJ
    assert prediction["carbon"]["p90_ug"] == str(ENERGY_MJ * 12 * 400_000_000 // 10 // 3_600_000_000)
    assert prediction["references"][0]["licence"] == "CC-BY-4.0"


def test_a_preview_of_any_manifest_is_a_verdict(sqlite_service: Service) -> None:
    sqlite_service.put("/v1/budgets/vision", budget())
    manifest = {"apiVersion": "ray.io/v1", "kind": "RayCluster", "metadata": {"namespace": "vision"}, "spec": {}}
    answered = sqlite_service.post("/v1/admission/preview", manifest)
    assert (answered.status_code, answered.json()["reason"]) == (200, "Undecidable")
    assert answered.json()["prediction"] is None


def test_decisions_are_counted(sqlite_service: Service) -> None:
    sqlite_service.put("/v1/budgets/vision", budget())
    sqlite_service.post("/v1/admission/validate", review(job()))
    sqlite_service.post("/v1/admission/validate", review(job(gpus=0)))
    text = sqlite_service.get("/metrics").text
    assert 'joulegate_admission_decisions_total{outcome="allow",reason="WithinBudget"} 1' in text
    assert 'joulegate_admission_decisions_total{outcome="allow",reason="NoAccelerator"} 1' in text
    assert "joulegate_admission_duration_seconds_count 2" in text


async def send_all(address: str, reviews: list[dict[str, Any]]) -> list[httpx2.Response]:
    """Every review at once, each on a connection of its own."""
    limits = httpx2.Limits(max_connections=len(reviews))
    headers = {"Authorization": f"Bearer {token_of('operator')}"}
    async with httpx2.AsyncClient(base_url=address, limits=limits, timeout=50, headers=headers) as client:
        return list(await asyncio.gather(*(client.post("/v1/admission/validate", json=each) for each in reviews)))


@pytest.mark.slow
def test_three_hundred_reviews_at_once_are_all_answered_and_overspend_nothing(service: Service) -> None:
    room_kwh = f"{ROOM * ENERGY_MJ / 3_600_000_000:g}"
    service.put("/v1/budgets/vision", budget(limits={"energyKwh": room_kwh}))
    reviews = [review(job(uid=f"uid-{n}", name=f"train-{n}"), uid=f"review-{n}") for n in range(REVIEWS)]
    with over_http(service.app) as address:
        answers = asyncio.run(send_all(address, reviews))
        again = asyncio.run(send_all(address, reviews))
    assert [answer.json()["response"]["uid"] for answer in answers] == [f"review-{n}" for n in range(REVIEWS)]
    verdicts = [verdict_of(answer) for answer in answers]
    assert Counter(verdict["reason"] for verdict in verdicts) == {
        "WithinBudget": ROOM,
        "BudgetExhausted": REVIEWS - ROOM,
    }
    balance = service.get("/v1/budgets/vision/balance").json()["energy"]
    assert (balance["pending"], balance["available"]) == (str(ROOM * ENERGY_MJ), "0")
    assert [verdict_of(answer)["allowed"] for answer in again] == [verdict["allowed"] for verdict in verdicts]

"""The operator's part over HTTP: holds asked for, confirmed and released; lists as evidence; adoption."""

from datetime import timedelta
from typing import Any

import pytest

from joulegate.core.log import EntryType
from joulegate_api.store import inventories
from tests.api.running import Service, budget, job, review, verdict_of

DEMAND: dict[str, Any] = {
    "kind": "training",
    "groups": [{"accelerators": "1", "gpu_model": "NVIDIA-A100-SXM4-80GB"}],
    "model": "resnet",
    "declared_ns": str(3_600 * 10**9),
}
HOUR_MJ = 400 * 3_600_000


def asked(**more: Any) -> dict[str, Any]:
    return {"resource": "jobs", "namespace": "vision", "name": "train", "demand": DEMAND} | more


def listed(*objects: dict[str, Any], begun_at: str, complete: bool = True) -> dict[str, Any]:
    return {"begun_at": begun_at, "complete": complete, "objects": list(objects)}


def seen(uid: str = "uid-1", **more: Any) -> dict[str, Any]:
    return {"uid": uid, "namespace": "vision", "name": "train"} | more


def energy(service: Service, name: str = "vision") -> dict[str, str]:
    found: dict[str, str] = service.get(f"/v1/budgets/{name}/balance").json()["energy"]
    return found


def now(service: Service) -> str:
    found: str = service.get("/v1/budgets/vision/balance").json()["as_of"]
    return found


def test_a_hold_is_asked_for_confirmed_and_released(service: Service) -> None:
    service.put("/v1/budgets/vision", budget())
    made = service.post("/v1/holds/uid-1/request", asked(), by="operator")
    assert (made.status_code, made.json()["allowed"], made.json()["reason"]) == (200, True, "WithinBudget")
    assert energy(service)["pending"] == str(HOUR_MJ)
    assert service.post("/v1/holds/uid-1/request", asked(), by="operator").json()["hold"] == made.json()["hold"]
    confirmed = service.post("/v1/holds/uid-1/confirm", {}, by="operator").json()["holds"]
    assert [(row["part"], row["state"], row["claims"][0]["held"]["mj"]) for row in confirmed] == [
        (0, "confirmed", str(HOUR_MJ))
    ]
    released = service.post("/v1/holds/uid-1/release", {}, by="operator").json()["holds"]
    assert released[0]["state"] in ("released", "closed")
    assert energy(service)["pending"] == "0"


def test_the_verdict_is_that_of_admission(service: Service) -> None:
    service.put("/v1/budgets/vision", budget(limits={"energyKwh": "0.5"}))
    held = verdict_of(service.post("/v1/admission/validate", review(job())))
    again = service.post("/v1/holds/uid-1/request", asked(), by="operator").json()
    assert {key: again[key] for key in held} == held
    refused = service.post("/v1/holds/uid-2/request", asked(name="other"), by="operator")
    assert (refused.status_code, refused.json()["allowed"]) == (200, False)
    assert (refused.json()["budget"], refused.json()["fits"]) == ("vision", str(100 * 3_600_000))


def test_a_list_confirms_expires_ends_and_adopts(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventories, "KEPT_WITHIN", timedelta(0))
    service.put("/v1/budgets/vision", budget(limits={"energyKwh": "1"}))
    for uid in ("uid-1", "uid-2"):
        service.post(f"/v1/holds/{uid}/request", asked(name=uid), by="operator")
    running = seen("uid-9", name="found", demand=DEMAND, pods=[{"uid": "pod-9", "node": "n1"}])
    first = service.put(
        "/v1/inventories/local/jobs", listed(seen("uid-1"), running, begun_at=now(service)), by="operator"
    )
    assert first.json() == {
        "confirmed": ["uid-1"],
        "expired": ["uid-2"],
        "ended": [],
        "shrunk": [],
        "adopted": ["uid-9"],
        "unadmitted": [],
        "unadmitted_usage": [],
        "rebound": [],
    }
    adopted = service.get("/v1/holds?root_uid=uid-9").json()["holds"][0]
    assert (adopted["state"], adopted["origin"], adopted["verdict"]["reason"]) == ("confirmed", "adopted", "Adopted")
    last = service.put("/v1/inventories/local/jobs", listed(begun_at=now(service)), by="operator").json()
    assert last["ended"] == ["uid-1", "uid-9"]
    assert energy(service)["pending"] == "0"


def test_a_list_in_parts_proves_what_is_not_there_with_its_last_part(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inventories, "KEPT_WITHIN", timedelta(0))
    service.put("/v1/budgets/vision", budget(limits={"energyKwh": "10"}))
    for uid in ("uid-1", "uid-2", "uid-3"):
        service.post(f"/v1/holds/{uid}/request", asked(name=uid), by="operator")
    begun_at, parts = now(service), {"parts": 2}
    path = "/v1/inventories/local/jobs"
    first = service.put(path, listed(seen("uid-1"), begun_at=begun_at) | parts | {"part": 0}, by="operator").json()
    assert (first["confirmed"], first["expired"]) == (["uid-1"], [])
    last = service.put(path, listed(seen("uid-2"), begun_at=begun_at) | parts | {"part": 1}, by="operator").json()
    assert (last["confirmed"], last["expired"], last["ended"]) == (["uid-2"], ["uid-3"], [])
    beyond = service.put(path, listed(begun_at=begun_at) | parts | {"part": 2}, by="operator")
    assert (beyond.status_code, beyond.json()["errors"][0]["field"]) == (422, "part")


def test_a_list_with_a_smaller_demand_gives_the_difference_back(service: Service) -> None:
    service.put("/v1/budgets/vision", budget())
    eight = DEMAND | {"groups": [{"accelerators": "8", "gpu_model": "H100"}]}
    service.post("/v1/holds/uid-1/request", asked(demand=eight), by="operator")
    before = int(energy(service)["pending"])
    two = DEMAND | {"groups": [{"accelerators": "2", "gpu_model": "H100"}]}
    pods = [{"uid": "pod-1", "node": "n1", "demand": two, "terminating": True}]
    found = service.put(
        "/v1/inventories/local/jobs", listed(seen("uid-1", demand=two, pods=pods), begun_at=now(service)), by="operator"
    )
    assert found.json()["shrunk"] == ["uid-1"]
    assert before * 0.24 < int(energy(service)["pending"]) < before * 0.26


def test_what_cannot_be_adopted_is_named_with_its_reason(sqlite_service: Service) -> None:
    sqlite_service.put("/v1/budgets/vision", budget())
    idle = DEMAND | {"groups": []}
    objects = [seen("a"), seen("b", demand=idle), seen("c", demand=DEMAND | {"suspended": True})]
    found = sqlite_service.put("/v1/inventories/local/jobs", listed(*objects, begun_at=now(sqlite_service))).json()
    assert [row["uid"] for row in found["unadmitted"]] == ["a", "b", "c"]
    assert found["adopted"] == []


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/holds/nobody/confirm", {}, 404),
        ("/v1/holds/nobody/release", {}, 404),
        ("/v1/holds/nobody/release", {"ended_at": "2199-01-01T00:00:00Z"}, 422),
        ("/v1/holds/uid-1/request", asked(origin="extended"), 422),
        ("/v1/holds/uid-1/request", asked(extension="e1"), 422),
        ("/v1/holds/nobody/request", asked(origin="extended", extension="e1"), 404),
        ("/v1/holds/uid-1/request", asked(demand=DEMAND | {"groups": [{"accelerators": "1/0"}]}), 422),
        ("/v1/holds/uid-1/request", asked(demand=DEMAND | {"groups": [{"accelerators": "0"}]}), 422),
        ("/v1/holds/uid-1/request", asked(demand=DEMAND | {"kind": "fun"}), 422),
        ("/v1/holds/uid-1/request", asked(sudo=True), 422),
    ],
)
def test_what_breaks_a_rule_is_refused(sqlite_service: Service, path: str, body: dict[str, Any], status: int) -> None:
    sqlite_service.put("/v1/budgets/vision", budget())
    before = sqlite_service.fingerprint()
    assert sqlite_service.post(path, body, by="operator").status_code == status
    assert sqlite_service.fingerprint() == before


def test_holds_are_listed_page_by_page_for_who_may_see_them(sqlite_service: Service) -> None:
    sqlite_service.put("/v1/budgets/vision", budget())
    for number in range(3):
        sqlite_service.post(f"/v1/holds/uid-{number}/request", asked(name=f"job-{number}"))
    sqlite_service.post("/v1/holds/secret/request", asked(namespace="secret", name="x"))
    first = sqlite_service.get("/v1/holds?limit=2&namespace=vision").json()
    rest = sqlite_service.get(f"/v1/holds?namespace=vision&limit=2&cursor={first['cursor']}").json()
    assert [row["root_uid"] for row in first["holds"] + rest["holds"]] == ["uid-2", "uid-1", "uid-0"]
    assert rest["cursor"] is None
    own = sqlite_service.get("/v1/holds", by="vision-reader").json()["holds"]
    assert {row["namespace"] for row in own} == {"vision"}
    assert sqlite_service.get("/v1/holds?namespace=secret", by="vision-reader").status_code == 403
    assert len(sqlite_service.get("/v1/holds?budget=vision").json()["holds"]) == 3
    assert sqlite_service.get("/v1/holds?state=confirmed").json()["holds"] == []


OPEN: dict[str, Any] = {**DEMAND, "kind": "inference", "declared_ns": None, "open_ended": True}
DAY_MJ = 24 * HOUR_MJ


def test_open_ended_work_is_held_as_far_as_the_horizon_of_its_budget(service: Service) -> None:
    service.put("/v1/budgets/vision", budget(limits={"energyKwh": "100"}, horizon="2d"))
    made = service.post("/v1/holds/uid-1/request", asked(demand=OPEN), by="operator").json()
    assert made["allowed"]
    assert 0 < int(energy(service)["pending"]) <= 2 * DAY_MJ
    assert service.post("/v1/holds/uid-1/request", asked(demand=OPEN), by="operator").json()["hold"] == made["hold"]


def test_a_renewal_begins_where_the_hold_ends_and_is_held_even_beyond_the_limit(service: Service) -> None:
    service.put("/v1/budgets/vision", budget(limits={"energyKwh": "0.5"}))
    hourly = {**OPEN, "declared_ns": str(3_600 * 10**9)}
    assert service.post("/v1/holds/uid-1/request", asked(demand=hourly), by="operator").json()["allowed"]
    more = {"origin": "renewed", "extension": "uid-1:renewed:1", "starts_at": "2027-01-05T00:07:00Z"}
    told = service.post("/v1/holds/uid-1/request", asked(demand=hourly, **more), by="operator").json()
    again = service.post("/v1/holds/uid-1/request", asked(demand=hourly, **more), by="operator").json()
    assert again["hold"] == told["hold"], "the same renewal is made once"
    rows = service.get("/v1/holds?root_uid=uid-1").json()["holds"]
    assert [claim["period_start"] for claim in rows[0]["claims"]] == ["2027-01-01T00:00:00Z"]
    wrong = service.post("/v1/holds/uid-1/request", asked(starts_at="2027-01-05T00:07:00Z"), by="operator")
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "starts_at")


def entries(service: Service) -> list[dict[str, Any]]:
    return service.store.log.bodies(EntryType.UNADMITTED_USAGE)


def test_what_came_to_be_unadmitted_between_two_lists_is_an_entry_and_is_charged(service: Service) -> None:
    service.put("/v1/budgets/vision", budget())
    first = now(service)
    old = seen("old", demand=DEMAND, created_at="2026-01-01T00:00:00Z")
    told = service.put("/v1/inventories/local/jobs", listed(old, begun_at=first), by="operator").json()
    assert (told["adopted"], told["unadmitted_usage"]) == (["old"], []), "what was there before is adopted"
    later = now(service)
    objects = [
        old,
        seen("new", name="new", demand=DEMAND, created_at=later),
        seen("odd", name="odd", demand=None, created_at=later),
        seen("waits", name="waits", demand={**DEMAND, "suspended": True}, created_at=later),
        seen("elsewhere", name="elsewhere", namespace="language", demand=DEMAND, created_at=later),
    ]
    told = service.put("/v1/inventories/local/jobs", listed(*objects, begun_at=later), by="operator").json()
    assert told["unadmitted_usage"] == ["new", "odd"]
    kept = {body["root_uid"]: body for body in entries(service)}
    assert {uid: (body["held"], body["reason"]) for uid, body in kept.items()} == {
        "new": (True, None),
        "odd": (False, "its demand is not known"),
    }
    assert energy(service)["pending"] == str(2 * HOUR_MJ)
    last = now(service)
    told = service.put("/v1/inventories/local/jobs", listed(*objects, begun_at=last), by="operator").json()
    assert told["unadmitted_usage"] == []
    assert len(entries(service)) == 2


def test_what_runs_is_held_in_a_budget_that_binds_it_later_once_and_in_no_other_twice(service: Service) -> None:
    service.put("/v1/budgets/vision", budget())
    assert service.post("/v1/holds/uid-1/request", asked(), by="operator").json()["allowed"]
    listed_once = seen(demand=DEMAND)
    told = service.put("/v1/inventories/local/jobs", listed(listed_once, begun_at=now(service)), by="operator").json()
    assert told["rebound"] == []
    service.put("/v1/budgets/late", budget("late", limits={"energyKwh": "0"}))
    for expected in (["uid-1"], [], []):
        told = service.put(
            "/v1/inventories/local/jobs", listed(listed_once, begun_at=now(service)), by="operator"
        ).json()
        assert told["rebound"] == expected
        assert energy(service)["pending"] == str(HOUR_MJ)
        assert (energy(service, "late")["pending"], energy(service, "late")["available"]) == (
            str(HOUR_MJ),
            str(-HOUR_MJ),
        )
    service.context.compared.clear()  # another process has not compared yet
    told = service.put("/v1/inventories/local/jobs", listed(listed_once, begun_at=now(service)), by="operator").json()
    assert told["rebound"] == []
    assert [row["origin"] for row in service.get("/v1/holds").json()["holds"]] == ["adopted", "admitted"]

"""Records over HTTP: taken once, priced here, shown to those who may see them."""

from typing import Any

import pytest

from joulegate.core.periods import parse_instant
from joulegate.wire import RecordBody, record_of
from joulegate_api.bodies import Body
from joulegate_api.records import content_hash
from tests.api.running import REFERENCE, Service, budget, priced, record


def test_a_record_is_priced_by_quarter_hour_with_its_references(service: Service) -> None:
    priced(service)
    assert service.put("/v1/budgets/vision", budget()).status_code == 201
    taken = service.post("/v1/records", record())
    assert taken.status_code == 201
    # 60 kJ is 1/60 kWh: x 1.2 x 400 g = 8 g, x 1.2 x 0.20 EUR = 0.004 EUR.
    assert taken.json()["footprint"] == {
        "energy_mj": "60000000",
        "carbon_location_ug": "8000000",
        "carbon_market_ug": None,
        "cost_micros": "4000",
        "currency": "EUR",
    }
    (part,) = taken.json()["slices"]
    assert part["rates"]["location"]["reference"] == REFERENCE
    assert part["rates"]["market"] is None
    balance = service.get("/v1/budgets/vision/balance?at=2026-11-20T08:00:00Z").json()
    assert balance["energy"]["posted"] == "60000000"


def test_a_record_without_factors_is_kept_and_its_carbon_is_unknown(service: Service) -> None:
    footprint = service.post("/v1/records", record()).json()["footprint"]
    assert footprint["energy_mj"] == "60000000"
    assert footprint["carbon_location_ug"] is None
    assert footprint["cost_micros"] is None
    assert service.get("/v1/records/r1").json()["unpriced_slices"] == 1


def test_energy_that_was_not_measured_stays_null(service: Service) -> None:
    body = record()
    body["devices"][0]["intervals"][0] |= {"energy_mj": None, "method": "not_measured", "coverage": 0}
    priced(service)
    assert service.post("/v1/records", body).json()["footprint"]["energy_mj"] is None


def test_a_repeat_changes_nothing_and_gets_the_same_answer(service: Service) -> None:
    first = service.post("/v1/records", record())
    before = service.fingerprint()
    body = record()
    body["devices"][0]["intervals"][0]["energy_mj"] = 60_000_000  # a number says what the string says
    again = service.post("/v1/records", dict(reversed(body.items())))
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json() | {"repeat": True}
    assert service.fingerprint() == before


def test_the_same_id_with_other_content_is_a_conflict(service: Service) -> None:
    service.post("/v1/records", record())
    before = service.fingerprint()
    other = service.post("/v1/records", record(software="another"))
    assert (other.status_code, other.json()["code"]) == (409, "conflict")
    assert service.fingerprint() == before


def test_the_hash_of_a_record_is_of_what_it_says() -> None:
    def hash_of(body: dict[str, Any]) -> str:
        import json  # noqa: PLC0415 -- beside its one use

        return content_hash(record_of(Body(RecordBody).read(json.dumps(body).encode())))

    assert hash_of(record()) == hash_of(dict(reversed(record().items())))
    assert hash_of(record()) != hash_of(record(outcome="failed"))


def changed(*path: str | int, to: object) -> dict[str, Any]:
    body: Any = record()
    inside = body
    for step in path[:-1]:
        inside = inside[step]
    inside[path[-1]] = to
    return dict(body)


INTERVAL = ("devices", 0, "intervals", 0)
ONE = record()["devices"][0]["intervals"][0]
LATER = ONE | {"start": "2026-11-20T08:04:00Z", "end": "2026-11-20T08:06:00Z"}
PARTS = {"confidence": "0.95", "gain_mj": 0, "duty_mj": 0, "edge_mj": 0, "gap_mj": 0}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (changed("ended_at", to="2026-11-20T07:00:00Z"), "ended_at"),
        (changed(*INTERVAL, "end", to="2026-11-20T08:00:00Z"), "devices.0.intervals.0.end"),
        (changed(*INTERVAL, "end", to="2026-11-20T08:15:01Z"), "devices.0.intervals.0"),
        (changed(*INTERVAL, "method", to="not_measured"), "devices.0.intervals.0.energy_mj"),
        (
            changed(*INTERVAL, "uncertainty", to={"lower_mj": 2, "upper_mj": 1, **PARTS}),
            "devices.0.intervals.0.uncertainty.upper_mj",
        ),
        (changed("devices", 0, "intervals", to=[ONE, LATER]), "devices.0.intervals"),
        (changed("devices", to=[record()["devices"][0]] * 2), "devices.1.uuid"),
        (changed(*INTERVAL, "energy_mj", to=-1), "devices.0.intervals.0.energy_mj"),
        (changed(*INTERVAL, "energy_mj", to=True), "devices.0.intervals.0.energy_mj"),
        (changed(*INTERVAL, "energy_mj", to=1.5), "devices.0.intervals.0.energy_mj"),
        (changed(*INTERVAL, "energy_mj", to="10 J"), "devices.0.intervals.0.energy_mj"),
        (changed(*INTERVAL, "energy_mj", to=str(10**13 + 1)), "devices.0.intervals.0.energy_mj"),
        (changed(*INTERVAL, "energy_kwh", to="1"), "devices.0.intervals.0.energy_kwh"),
        (changed(*INTERVAL, "coverage", to=1.1), "devices.0.intervals.0.coverage"),
        (changed(*INTERVAL, "method", to="guessed"), "devices.0.intervals.0.method"),
        (changed("kind", to="mining"), "kind"),
        (changed("outcome", to="maybe"), "outcome"),
        (changed("source", to=None), "source"),
        (changed("record_id", to="a/b"), "record_id"),
        (changed("record_id", to=7), "record_id"),
        (changed("record_id", to="x" * 129), "record_id"),
        (changed("started_at", to="1999-01-01T00:00:00Z"), "started_at"),
        (changed("started_at", to="2026-11-20T08:00:00+01:00"), "started_at"),
        (changed("run", "namespace", to=""), "run.namespace"),
        (changed("run", "attempt", to=0), "run.attempt"),
        (changed("price_micros", to="1"), "price_micros"),
        (changed("quality", to=[{"name": "accuracy", "value": "high"}]), "quality.0.value"),
        *(({name: part for name, part in record().items() if name != missing}, missing) for missing in record()
          if missing != "model"),
    ],
)  # fmt: skip
def test_a_record_that_breaks_a_rule_is_refused_by_field_and_nothing_is_kept(
    sqlite_service: Service, body: dict[str, Any], field: str
) -> None:
    before = sqlite_service.fingerprint()
    refused = sqlite_service.post("/v1/records", body)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_input")
    assert field in [fault["field"] for fault in refused.json()["errors"]]
    assert sqlite_service.fingerprint() == before


def test_a_sender_writes_only_where_its_token_reaches(sqlite_service: Service) -> None:
    def post(**run: str) -> int:
        body = record(run={"uid": "u", "namespace": "vision"} | run)
        return sqlite_service.post("/v1/records", body, by="vision-member").status_code

    assert post() == 201
    assert post(namespace="speech") == 403
    assert post(cluster="other") == 403
    assert post(site="where-power-is-green") == 403


def test_records_are_listed_newest_first_page_by_page(service: Service) -> None:
    for number in range(5):
        body = record(f"r{number}", started_at=f"2026-11-20T0{number}:00:00Z")
        assert service.post("/v1/records", body).status_code == 201
    found, path = [], "/v1/records?limit=2"
    while path:
        page = service.get(path).json()
        found += [listed["record_id"] for listed in page["records"]]
        path = f"/v1/records?limit=2&cursor={page['cursor']}" if page["cursor"] else ""
    assert found == ["r4", "r3", "r2", "r1", "r0"]
    since = service.get("/v1/records?since=2026-11-20T03:00:00Z&model=resnet").json()["records"]
    assert [listed["record_id"] for listed in since] == ["r4", "r3"]
    assert parse_instant(since[0]["accepted_at"], "accepted_at").year >= 2026


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=1001", "limit=x", "since=yesterday", "kind=x", "namspace=a", "cursor=%00", "cursor=zzz",
     "limit=1&limit=2"],
)  # fmt: skip
def test_a_query_that_breaks_a_rule_is_refused(sqlite_service: Service, query: str) -> None:
    assert sqlite_service.get(f"/v1/records?{query}").status_code in (400, 422)


def test_a_run_is_the_sum_of_its_records(service: Service) -> None:
    priced(service)
    run = {"uid": "the-run", "namespace": "vision"}
    for number in range(3):
        service.post("/v1/records", record(f"r{number}", run=run))
    found = service.get("/v1/runs/the-run").json()
    assert len(found["records"]) == 3
    assert found["footprint"]["energy_mj"] == "180000000"


def test_what_one_may_not_see_is_not_there(sqlite_service: Service) -> None:
    sqlite_service.post("/v1/records", record("seen"))
    sqlite_service.post("/v1/records", record("hidden", run={"uid": "run-hidden", "namespace": "speech"}))

    def status(path: str) -> int:
        return sqlite_service.get(path, by="vision-reader").status_code

    assert (status("/v1/records/seen"), status("/v1/records/hidden")) == (200, 404)
    assert (status("/v1/runs/run-seen"), status("/v1/runs/run-hidden")) == (200, 404)
    assert status("/v1/records?namespace=speech") == 403
    listed = sqlite_service.get("/v1/records", by="vision-reader").json()["records"]
    assert [one["record_id"] for one in listed] == ["seen"]

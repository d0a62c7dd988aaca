"""Deciding: what is governed, whose child it is, repeats and growth, and never an allowance by accident."""

from collections.abc import Mapping
from typing import Any

import pytest

from joulegate.core.errors import UnavailableError
from joulegate_api.admission.reading import Review
from joulegate_api.store import HoldRequest
from tests.api.running import Service, budget, job, review, verdict_of

KWH = 3_600_000_000
CONTROLLER = "system:serviceaccount:kube-system:job-controller"


def decide(service: Service, of: Mapping[str, Any] | None, **request: Any) -> dict[str, Any]:
    return verdict_of(service.post("/v1/admission/validate", review(of, **request)))


def bind(service: Service, **spec: Any) -> None:
    assert service.put("/v1/budgets/vision", budget(**spec)).status_code == 201


def pending(service: Service) -> int:
    return int(service.get("/v1/budgets/vision/balance").json()["energy"]["pending"])


def test_a_job_that_fits_is_allowed_and_held(service: Service) -> None:
    bind(service)
    verdict = decide(service, job())
    assert (verdict["outcome"], verdict["reason"], verdict["budget"]) == ("allow", "WithinBudget", "vision")
    assert (verdict["basis"], verdict["n"]) == ("prior", 0)
    assert verdict["hold"]
    # nameplate 400 W for one hour is the p90, and p90 is what is held
    assert verdict["asked"] == str(400 * 3_600 * 1_000) == str(pending(service))


def test_a_job_that_does_not_fit_is_refused_and_the_same_with_less_is_allowed(service: Service) -> None:
    bind(service)
    refused = decide(service, job(gpus="8", duration="6h"))
    assert (refused["outcome"], refused["reason"], refused["unit"]) == ("deny", "EstimateExceedsAvailable", "mj")
    assert int(refused["asked"]) == 8 * 6 * 400 * 3_600_000
    assert int(refused["fits"]) == int(refused["available"]) == 10 * KWH
    assert pending(service) == 0
    assert decide(service, job(gpus="8", duration="3h", uid="less-time"))["allowed"]
    assert not decide(service, job(gpus="8", duration="3h", uid="other", name="no-more-room"))["allowed"]


def test_a_repeat_gets_the_same_answer_and_one_hold(service: Service) -> None:
    bind(service)
    first = decide(service, job(gpus=2))
    before = service.fingerprint()
    assert decide(service, job(gpus=2), uid="another-call") == first
    assert decide(service, job(gpus=1, duration="30m"), uid="a-smaller-one") == first
    assert service.fingerprint() == before


def test_growth_is_decided_by_its_difference(service: Service) -> None:
    bind(service)
    decide(service, job(gpus=1, duration="10h"))
    grown = decide(service, job(gpus=2, duration="10h"), operation="UPDATE", oldObject=job(gpus=1, duration="10h"))
    assert grown["allowed"]
    assert int(grown["asked"]) == 4_000 * 3_600_000
    assert pending(service) == 8_000 * 3_600_000
    refused = decide(service, job(gpus=4, duration="10h"), operation="UPDATE", oldObject=job(gpus=2, duration="10h"))
    assert (refused["allowed"], refused["reason"]) == (False, "GrowthRefused")


def test_a_dry_run_decides_and_writes_nothing(service: Service) -> None:
    bind(service)
    before = service.fingerprint()
    assert decide(service, job(), dryRun=True)["allowed"]
    assert not decide(service, job(gpus=64, duration="24h"), dryRun=True)["allowed"]
    assert decide(service, job(uid=None, name=""), dryRun=True)["allowed"]
    assert service.fingerprint() == before


@pytest.mark.parametrize(
    ("of", "request_fields", "reason"),
    [
        (job(gpus=0), {}, "NoAccelerator"),
        ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}, {}, "NoAccelerator"),
        (job(gpus=800, suspend=True), {}, "HeldLater"),
        (job(gpus=800), {"operation": "DELETE"}, "NoAccelerator"),
        (job(gpus=800), {"operation": "CONNECT"}, "NoAccelerator"),
        (job(gpus=800), {"operation": "UPDATE", "subResource": "status"}, "NoAccelerator"),
        (job(gpus=800), {"namespace": "kube-system"}, "NoBudget"),
        (job(gpus=800), {"namespace": "unbound"}, "NoBudget"),
        (job(gpus=800), {"operation": "UPDATE", "oldObject": job(gpus=800)}, "Adopted"),
    ],
)
def test_what_asks_for_nothing_more_is_allowed(
    sqlite_service: Service, of: dict[str, Any], request_fields: dict[str, Any], reason: str
) -> None:
    bind(sqlite_service)
    verdict = decide(sqlite_service, of, **request_fields)
    assert (verdict["allowed"], verdict["reason"]) == (True, reason)


def test_a_suspended_job_is_decided_when_it_starts(sqlite_service: Service) -> None:
    bind(sqlite_service)
    assert decide(sqlite_service, job(suspend=True))["reason"] == "HeldLater"
    started = decide(sqlite_service, job(), operation="UPDATE", oldObject=job(suspend=True))
    assert (started["reason"], started["hold"] is None) == ("WithinBudget", False)


def test_labels_of_running_work_may_change_when_nothing_is_left(sqlite_service: Service) -> None:
    bind(sqlite_service, limits={"energyKwh": "0"})
    changed = decide(sqlite_service, job(), operation="UPDATE", oldObject=job())
    assert changed["allowed"]
    deleted = job(gpus=2)
    deleted["metadata"]["deletionTimestamp"] = "2026-11-20T08:00:00Z"
    assert decide(sqlite_service, deleted, operation="UPDATE", oldObject=job())["allowed"]


def child(owner: str = "uid-1", gpus: int = 1) -> dict[str, Any]:
    template = job(gpus)["spec"]["template"]["spec"]
    owners = [{"apiVersion": "batch/v1", "kind": "Job", "name": "train", "uid": owner, "controller": True}]
    metadata = {"generateName": "train-", "uid": f"pod-of-{owner}", "namespace": "vision", "ownerReferences": owners}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template}


def test_pods_of_an_admitted_job_pass_while_its_controller_makes_them(sqlite_service: Service) -> None:
    bind(sqlite_service, limits={"energyKwh": "0.5"})
    assert decide(sqlite_service, job())["allowed"]
    made = {"userInfo": {"username": CONTROLLER}}
    for _ in range(3):  # a replacement is no growth
        verdict = decide(sqlite_service, child(), **made)
        assert (verdict["allowed"], verdict["reason"]) == (True, "AdmittedOwner")
    assert not decide(sqlite_service, child())["allowed"], "alice only says that the Job owns it"
    assert not decide(sqlite_service, child("never-admitted"), **made)["allowed"]
    assert decide(sqlite_service, child(gpus=2), **made)["reason"] == "GrowthRefused"


@pytest.mark.parametrize(
    "of",
    [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {}},
        {"apiVersion": "example.com/v1", "kind": "Anything", "metadata": {"name": "d"}},
        job(gpus="a few"),
        job(duration="soon"),
        job(duration="100d"),
        {**job(), "spec": {}},
        {},
        None,
    ],
)
def test_what_cannot_be_resolved_is_decided_by_the_budget(sqlite_service: Service, of: dict[str, Any] | None) -> None:
    bind(sqlite_service)
    verdict = decide(sqlite_service, of)
    assert (verdict["allowed"], verdict["reason"], verdict["budget"]) == (False, "Undecidable", "vision")
    sqlite_service.put("/v1/budgets/vision", budget(whenUndecidable="Allow"))
    verdict = decide(sqlite_service, of)
    assert (verdict["allowed"], verdict["reason"]) == (True, "Undecidable")


def test_an_unknown_board_is_undecidable(sqlite_service: Service) -> None:
    bind(sqlite_service)
    odd = job()
    odd["spec"]["template"]["spec"]["nodeSelector"]["nvidia.com/gpu.product"] = "NVIDIA-Z9000"
    assert decide(sqlite_service, odd)["reason"] == "Undecidable"


def test_a_demand_without_model_or_time_stands_on_defaults_and_says_so(sqlite_service: Service) -> None:
    bind(sqlite_service)
    plain = job(duration=None)
    del plain["spec"]["template"]["spec"]["nodeSelector"]
    verdict = decide(sqlite_service, plain)
    assert (verdict["basis"], verdict["asked"]) == ("default", str(700 * 4 * 3_600_000))


def test_a_unit_that_nothing_prices_is_unpriceable(service: Service) -> None:
    bind(service, limits={"energyKwh": "10", "carbonKg": "1"})
    verdict = decide(service, job())
    assert (verdict["allowed"], verdict["reason"], verdict["unit"], verdict["asked"]) == (
        False,
        "Unpriceable",
        "ug",
        None,
    )


def test_the_quantile_of_the_budget_is_what_is_held(sqlite_service: Service) -> None:
    bind(sqlite_service, holdQuantile="0.5")
    low = int(decide(sqlite_service, job(), dryRun=True)["asked"])
    sqlite_service.put("/v1/budgets/vision", budget(holdQuantile="0.95"))
    high = int(decide(sqlite_service, job(), dryRun=True)["asked"])
    assert high > low


@pytest.mark.parametrize(
    ("enforcement", "outcome", "allowed"),
    [("Deny", "deny", False), ("Queue", "queue", False), ("Warn", "warn", True), ("Audit", "allow", True)],
)
def test_the_enforcement_says_what_becomes_of_too_much(
    sqlite_service: Service, enforcement: str, outcome: str, *, allowed: bool
) -> None:
    bind(sqlite_service, enforcement=enforcement, limits={"energyKwh": "0.1"})
    answered = sqlite_service.post("/v1/admission/validate", review(job()))
    verdict = verdict_of(answered)
    assert (verdict["outcome"], verdict["allowed"]) == (outcome, allowed)
    assert answered.json()["response"]["allowed"] == allowed
    if enforcement in ("Warn", "Queue"):
        assert answered.json()["response"]["warnings"]


@pytest.mark.parametrize(("unbudgeted", "outcome"), [("Allow", "allow"), ("Warn", "warn"), ("Deny", "deny")])
def test_work_that_no_budget_binds_is_treated_as_configured(
    sqlite_url: str, tmp_path: Any, unbudgeted: str, outcome: str
) -> None:
    from joulegate_api.store import Store  # noqa: PLC0415 -- this test alone opens its own

    store = Store.open(sqlite_url)
    service = Service(store, tmp_path, unbudgeted=unbudgeted)
    for of in (job(), {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}}):
        verdict = decide(service, of)
        assert (verdict["outcome"], verdict["reason"]) == (outcome, "NoBudget")
    store.close()


def test_a_kind_that_the_author_adds_binds_more_and_never_less(sqlite_service: Service) -> None:
    bind(sqlite_service, scope={"namespaces": ["vision"], "kinds": ["training"]}, limits={"energyKwh": "0"})
    other = budget("tuning", scope={"namespaces": ["vision"], "kinds": ["fine-tuning"]}, limits={"energyKwh": "0"})
    sqlite_service.put("/v1/budgets/tuning", other)
    tuned = job()
    tuned["metadata"]["annotations"]["joulegate.io/kind"] = "fine-tuning"
    assert decide(sqlite_service, job())["budget"] == "vision"
    assert decide(sqlite_service, tuned)["budget"] == "tuning", "the first by name of those that leave nothing"
    sqlite_service.call("DELETE", "/v1/budgets/tuning")
    assert decide(sqlite_service, tuned)["budget"] == "vision", "the annotation takes nothing away"


def test_a_budget_that_selects_by_labels_that_are_not_known_cannot_be_decided(sqlite_service: Service) -> None:
    selecting = {"namespaceSelector": {"matchLabels": {"team": "vision"}}}
    bind(sqlite_service, scope=selecting)
    assert decide(sqlite_service, job())["reason"] == "Undecidable"
    by_name = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "vision"}}}
    sqlite_service.put("/v1/budgets/vision", budget(scope=by_name))
    assert decide(sqlite_service, job())["reason"] == "WithinBudget"
    assert decide(sqlite_service, job(uid="of-speech"), namespace="speech")["reason"] == "NoBudget"


def test_an_object_without_a_uid_is_known_by_its_name(sqlite_service: Service) -> None:
    bind(sqlite_service)
    first = decide(sqlite_service, job(uid=None))
    assert decide(sqlite_service, job(uid=None), uid="again") == first
    assert decide(sqlite_service, job(uid=None, name="another"))["hold"] != first["hold"]
    nameless = job(uid=None)
    del nameless["metadata"]["name"]
    assert decide(sqlite_service, nameless)["reason"] == "Undecidable"


def test_objects_that_only_say_how_they_will_be_named_do_not_replace_each_other(sqlite_service: Service) -> None:
    bind(sqlite_service)
    for number in range(3):
        unnamed = job(uid=f"uid-{number}")
        del unnamed["metadata"]["name"]
        unnamed["metadata"]["generateName"] = "train-"
        assert decide(sqlite_service, unnamed)["allowed"]
    assert pending(sqlite_service) == 3 * 400 * 3_600_000


def test_a_new_object_of_the_same_name_takes_the_place_of_the_old_one(sqlite_service: Service) -> None:
    bind(sqlite_service)
    for number in range(3):
        assert decide(sqlite_service, job(uid=f"uid-{number}"))["allowed"]
    assert pending(sqlite_service) == 400 * 3_600_000


def test_what_nobody_could_decide_is_an_entry_too(service: Service) -> None:
    bind(service)
    verdict = decide(service, job(gpus="a few", name="odd"))
    (noted,) = service.store.journal.newest(5)
    assert (noted.namespace, noted.resource, noted.name) == ("vision", "jobs.batch", "odd")
    assert noted.verdict.reason.value == verdict["reason"] == "Undecidable"
    assert verdict["as_of"] is not None
    decide(service, job(gpus="a few"), dryRun=True)
    assert len(service.store.journal.newest(5)) == 1, "a rehearsal is no decision"


def test_law_11_what_is_allowed_without_a_hold_is_an_entry_once(service: Service) -> None:
    bind(service)
    running = job(name="ran before", uid="uid-0")
    decide(service, job(gpus=0, name="no board"))
    decide(service, job(suspend=True, name="waits"))
    decide(service, running, operation="UPDATE", oldObject=running)
    decide(service, job())
    decide(service, child(), userInfo={"username": CONTROLLER})
    told = [(each.name, each.verdict.reason.value) for each in service.store.journal.newest(9)]
    assert sorted(told) == [
        ("", "AdmittedOwner"),
        ("no board", "NoAccelerator"),
        ("ran before", "Adopted"),
        ("train", "WithinBudget"),
        ("waits", "HeldLater"),
    ]
    waits, none = job(suspend=True, name="waits"), job(gpus=0, name="no board")
    for same in (waits, none, child()):
        decide(service, same, operation="UPDATE", oldObject=same, userInfo={"username": CONTROLLER})
    decide(service, none, operation="DELETE")
    decide(service, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}})
    assert len(service.store.journal.newest(9)) == 5, "repeats, deletions and what is not governed are no decisions"


def test_history_is_what_predictions_stand_on(sqlite_service: Service) -> None:
    from tests.api.running import record  # noqa: PLC0415 -- beside its one use

    bind(sqlite_service)
    assert decide(sqlite_service, job(uid="before"))["basis"] == "prior"
    for number in range(3):
        assert sqlite_service.post("/v1/records", record(f"r{number}")).status_code == 201
    verdict = decide(sqlite_service, job(uid="after"))
    assert (verdict["basis"], verdict["n"]) == ("history", 3)


@pytest.mark.parametrize("error", [UnavailableError("down"), RuntimeError("a slip"), KeyError("x"), ValueError("y")])
@pytest.mark.parametrize("place", ["budgets.list", "rates.book", "ledger.decide", "records.history"])
def test_whatever_fails_on_the_way_of_a_decision_never_allows(
    sqlite_service: Service, monkeypatch: pytest.MonkeyPatch, place: str, error: Exception
) -> None:
    bind(sqlite_service)
    decide(sqlite_service, job(uid="so that budgets are remembered"))
    room, method = place.split(".")

    def fail(*_: object, **__: object) -> None:
        raise error

    sqlite_service.context.history.forget()
    monkeypatch.setattr(getattr(sqlite_service.store, room), method, fail)
    verdict = decide(sqlite_service, job(uid="asked while it is broken"))
    assert (verdict["allowed"], verdict["reason"]) == (False, "Undecidable")
    assert "slip" not in str(verdict)


def test_a_verdict_that_cannot_be_noted_is_still_the_answer(
    sqlite_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    bind(sqlite_service)

    def fail(*_: object, **__: object) -> None:
        raise UnavailableError("down")

    monkeypatch.setattr(sqlite_service.store.ledger, "note", fail)
    assert decide(sqlite_service, job(gpus="a few"))["reason"] == "Undecidable"


def test_with_nothing_known_at_all_the_answer_is_no(sqlite_service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise UnavailableError("down")

    monkeypatch.setattr(sqlite_service.store.budgets, "list", fail)
    monkeypatch.setattr(sqlite_service.store.budgets, "remembered", fail)
    assert decide(sqlite_service, job())["outcome"] == "deny"


def test_the_request_names_what_was_asked(sqlite_service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    bind(sqlite_service)
    asked: list[HoldRequest] = []
    ledger = sqlite_service.store.ledger
    real = ledger.decide

    def watched(request: HoldRequest, *, dry_run: bool = False) -> Any:
        asked.append(request)
        return real(request, dry_run=dry_run)

    monkeypatch.setattr(ledger, "decide", watched)
    decide(sqlite_service, job(name="train"))
    (request,) = asked
    assert (request.cluster, request.root_uid, request.resource) == ("local", "uid-1", "jobs.batch")
    assert (request.namespace, request.name, request.subject) == ("vision", "train", "alice")


def test_a_review_is_nothing_but_its_uid_until_it_is_read() -> None:
    assert Review("u").fault is None
    assert Review("u").new is None

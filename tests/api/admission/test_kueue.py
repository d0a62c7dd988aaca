"""What Kueue manages: kept from it while a budget is exhausted, held when it lets work go, and never refused then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from joulegate_api.store import Store
from tests.api.admission.test_deciding import bind, decide, pending
from tests.api.admission.test_gating import patch
from tests.api.running import Service, job
from tests.plugin.core.workloads.test_gates import patched

KUEUE = {"username": "system:serviceaccount:kueue-system:kueue-controller-manager"}


def test_what_kueue_lets_go_always_passes_and_is_held(sqlite_service: Service) -> None:
    bind(sqlite_service, limits={"energyKwh": "0"})
    waiting = job(suspend=True)
    assert decide(sqlite_service, waiting)["reason"] == "HeldLater"
    told = decide(sqlite_service, job(), operation="UPDATE", oldObject=waiting, userInfo=KUEUE)
    assert (told["allowed"], told["reason"]) == (True, "Adopted")
    assert "let this work go" in told["warnings"][0]
    assert pending(sqlite_service) == 400 * 3_600_000
    other, waits = job(uid="uid-2", name="other"), job(uid="uid-2", name="other", suspend=True)
    assert not decide(sqlite_service, other, operation="UPDATE", oldObject=waits)["allowed"], "nobody else does"


def test_kueue_lets_go_what_nobody_can_size(sqlite_service: Service) -> None:
    bind(sqlite_service)
    of, waiting = job(parallelism="many"), job(suspend=True, parallelism="many")
    told = decide(sqlite_service, of, operation="UPDATE", oldObject=waiting, userInfo=KUEUE)
    assert (told["allowed"], told["reason"]) == (True, "Undecidable")
    assert not decide(sqlite_service, of, operation="UPDATE", oldObject=waiting)["allowed"], "nobody else does"


def test_kueue_lets_go_what_no_budget_binds(sqlite_url: str, tmp_path: Path) -> None:
    store = Store.open(sqlite_url)
    closed = Service(store, tmp_path, unbudgeted="Deny")
    with closed.client:
        assert decide(closed, job(), operation="UPDATE", oldObject=job(suspend=True), userInfo=KUEUE)["allowed"]
        assert not decide(closed, job(), operation="UPDATE", oldObject=job(suspend=True))["allowed"]
    store.close()


def queued(**spec: Any) -> dict[str, Any]:
    made = job(suspend=True, **spec)
    made["metadata"]["labels"] = {"kueue.x-k8s.io/queue-name": "team"}
    return made


@pytest.mark.parametrize("enforcement", ["Deny", "Queue"])
def test_what_kueue_manages_is_kept_from_it_while_a_budget_is_exhausted(service: Service, enforcement: str) -> None:
    bind(service, enforcement=enforcement, limits={"energyKwh": "0"})
    before = service.fingerprint()
    kept = patched(queued(), patch(service, queued()))
    assert kept["metadata"]["annotations"]["kueue.x-k8s.io/admission-gated-by"] == "joulegate.io/budget"
    assert kept["spec"] == queued()["spec"], "its own switch is left to Kueue"
    assert service.fingerprint() == before


@pytest.mark.parametrize("kwh", ["0.1", "10"])
def test_what_kueue_manages_is_left_alone_while_anything_is_left(sqlite_service: Service, kwh: str) -> None:
    bind(sqlite_service, limits={"energyKwh": kwh})
    assert patch(sqlite_service, queued()) == []


def test_a_budget_that_keeps_nothing_out_keeps_nothing_from_kueue(sqlite_service: Service) -> None:
    bind(sqlite_service, enforcement="Warn", limits={"energyKwh": "0"})
    assert patch(sqlite_service, queued()) == []

"""Windows come from the meter of their node, once; what cannot be is kept apart; a day adds up to the pods."""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from joulegate.client import Client
from joulegate.core.metering import Boundary, Method
from joulegate.core.periods import QUARTER
from joulegate.tokens import Role, format_row
from joulegate.windows import WindowBody
from joulegate_operators.node.shipping import Shipper
from joulegate_operators.node.wal import WindowLog
from tests.api.running import Service, over_http, principal, record, token_of
from tests.operators.node import day

NODE = "node:node-1"
GPU = "GPU-1"


@pytest.fixture
def node(service: Service) -> Service:
    """The service, with the tokens of the meters of two nodes; GPU-1 is enrolled on the first."""
    path = service.settings.tokens_path
    rows = [principal(f"node:node-{n}", Role.METER) for n in (1, 2)]
    path.write_text(path.read_text() + "".join(format_row(row) + "\n" for row in rows))
    assert service.post("/v1/devices", device(), by=NODE).status_code == 201
    return service


def device(**more: Any) -> dict[str, Any]:
    body = {"cluster": "local", "node": "node-1", "uuid": GPU, "model": "NVIDIA A100"}
    return body | {"enforced_limit_mw": "400000", "enrolled_at": "2026-11-20T00:00:00Z"} | more


def window(seq: int, **more: Any) -> dict[str, Any]:
    body = {
        "window_seq": seq,
        "device_uuid": GPU,
        "start": f"2026-11-20T08:{seq:02}:00Z",
        "end": f"2026-11-20T08:{seq + 1:02}:00Z",
        "energy_start_mj": str(6_000_000 * seq),
        "energy_end_mj": str(6_000_000 * (seq + 1)),
        "active_mj": "5000000",
        "idle_mj": "1000000",
        "allocated_gpu_ns": "60000000000",
        "method": "nvml_counter",
        "boundary": "accelerator",
        "coverage": 1.0,
        "pod_uid": "uid-a",
        "namespace": "vision",
        "pod": "train-0",
        "container": "main",
    }
    return body | more


def batch(*windows: dict[str, Any], seq: int | None = None) -> dict[str, Any]:
    return {
        "incarnation": "node-uid:log-uuid",
        "seq": windows[0]["window_seq"] if seq is None else seq,
        "windows": list(windows),
    }


def sent(service: Service, *windows: dict[str, Any], by: str = NODE) -> Any:
    answered = service.post("/v1/windows", batch(*windows), by=by)
    assert answered.status_code == 200, answered.text
    return answered.json()


def test_windows_are_taken_once_and_the_answer_says_up_to_where(node: Service) -> None:
    assert sent(node, window(0), window(1)) == {"accepted_seq": 1, "quarantined": []}
    before = node.fingerprint()
    assert sent(node, window(0), window(1)) == {"accepted_seq": 1, "quarantined": []}
    assert node.fingerprint() == before
    assert sent(node, window(3))["accepted_seq"] == 1
    assert sent(node, window(2))["accepted_seq"] == 3


def test_a_request_without_windows_asks_for_the_mark(node: Service) -> None:
    sent(node, window(0))
    answered = node.post("/v1/windows", {**batch(window(0)), "windows": [], "seq": 1}, by=NODE)
    assert answered.json() == {"accepted_seq": 0, "quarantined": []}


def test_t6_only_a_meter_posts_windows_and_only_of_its_own_node(node: Service) -> None:
    for other in ("member", "admin", "meter", "operator"):
        assert node.post("/v1/windows", batch(window(0)), by=other).status_code == 403
    foreign = sent(node, window(0), by="node:node-2")
    assert foreign["quarantined"] == [{"window_seq": 0, "reason": "is of a device of another node"}]
    assert node.post("/v1/windows", batch(window(1)), by=NODE).status_code == 409


def test_t6_a_meter_enrols_devices_of_its_own_node_only(node: Service) -> None:
    assert node.post("/v1/devices", device(uuid="GPU-2", node="node-2"), by=NODE).status_code == 403
    assert node.post("/v1/devices", device(), by=NODE).status_code == 200
    assert node.post("/v1/devices", device(retired_at="2026-11-21T00:00:00Z"), by=NODE).status_code == 422
    retired = device(retired_at="2026-11-21T00:00:00Z")
    del retired["enrolled_at"]
    assert node.post("/v1/devices", retired, by=NODE).status_code == 201


def test_t6_a_meter_neither_retires_nor_takes_over_a_device_that_another_node_has(node: Service) -> None:
    sent(node, window(0))
    stolen = device(node="node-2", enrolled_at="2026-11-20T08:02:00Z")
    assert node.post("/v1/devices", stolen, by="node:node-2").status_code == 409
    retired = device(node="node-2", retired_at="2026-11-20T08:02:00Z")
    del retired["enrolled_at"]
    assert node.post("/v1/devices", retired, by="node:node-2").status_code == 409
    assert sent(node, window(1))["quarantined"] == []


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"device_uuid": "GPU-9"}, "is of a device that is not enrolled"),
        ({"energy_end_mj": "60000000"}, "has more energy than its device can draw"),
        ({"active_mj": "6000000"}, "has more energy than its device drew"),
        ({"end": "2026-11-20T08:16:00Z"}, "is not cut at quarter-hours"),
    ],
)
def test_t6_the_implausible_is_kept_apart_with_its_reason(node: Service, wrong: dict[str, Any], reason: str) -> None:
    answered = sent(node, window(0, **wrong), window(1))
    assert answered == {"accepted_seq": 1, "quarantined": [{"window_seq": 0, "reason": reason}]}


def test_two_windows_of_one_subject_do_not_overlap(node: Service) -> None:
    sent(node, window(0))
    again = window(1) | {"start": window(0)["start"]}
    assert "overlaps" in sent(node, again)["quarantined"][0]["reason"]


def test_a_folded_window_stands_for_its_numbers(node: Service) -> None:
    folded = window(0, replaces=[2], end="2026-11-20T08:03:00Z", energy_end_mj="18000000")
    beside = window(1, pod_uid="uid-b")
    assert sent(node, folded, beside)["accepted_seq"] == 2
    assert sent(node, folded, beside) == {"accepted_seq": 2, "quarantined": []}
    assert sent(node, window(3))["accepted_seq"] == 3


def withhold(service: Service, *numbers: int) -> Any:
    body = {"incarnation": "node-uid:log-uuid", "seq": 0, "windows": [], "withheld": list(numbers)}
    answered = service.post("/v1/windows", body, by=NODE)
    assert answered.status_code == 200, answered.text
    return answered.json()


def test_a_number_whose_window_the_meter_keeps_back_counts_and_the_window_may_still_come(node: Service) -> None:
    sent(node, window(0))
    assert sent(node, window(2))["accepted_seq"] == 0
    assert withhold(node, 1) == {"accepted_seq": 2, "quarantined": []}
    before = node.fingerprint()
    assert withhold(node, 1)["accepted_seq"] == 2
    assert node.fingerprint() == before
    assert sent(node, window(1)) == {"accepted_seq": 2, "quarantined": []}
    assert sent(node, window(1)) == {"accepted_seq": 2, "quarantined": []}
    drawn = "SELECT sum(active_mj + idle_mj) FROM windows"
    with node.store._database.read() as connection:
        assert int(connection.execute(text(drawn)).scalar_one()) == 3 * 6_000_000
    other = window(1, active_mj="1")
    assert sent(node, other)["quarantined"] == [{"window_seq": 1, "reason": "has the number of another window"}]


def test_a_folded_window_that_was_kept_back_still_stands_for_its_numbers(node: Service) -> None:
    assert withhold(node, 0, 1, 2)["accepted_seq"] == 2
    folded = window(0, replaces=[1, 2], end="2026-11-20T08:03:00Z", energy_end_mj="18000000")
    assert sent(node, folded) == {"accepted_seq": 2, "quarantined": []}
    assert sent(node, window(3))["accepted_seq"] == 3


def test_a_gap_is_taken_and_energy_without_measurement_is_refused(node: Service) -> None:
    gap = {"active_mj": None, "idle_mj": None, "method": "not_measured", "coverage": 0.0}
    assert sent(node, window(0, **gap, energy_end_mj="0"))["accepted_seq"] == 0
    invented = window(1, method="not_measured")
    assert node.post("/v1/windows", batch(invented), by=NODE).status_code == 422


def reported(service: Service, record_id: str, **run: Any) -> Any:
    """Take a record of the run's own over the first five minutes of windows; as it is shown then."""
    body = record(record_id, run={"uid": f"run-{record_id}", "namespace": "vision", **run})
    assert service.post("/v1/records", body).status_code == 201
    shown = service.get(f"/v1/records/{record_id}").json()
    (again,) = service.get(f"/v1/runs/run-{record_id}").json()["records"]
    assert again["node_meter"] == shown["node_meter"]
    return shown


def test_where_a_node_meter_runs_its_windows_are_charged_and_the_difference_is_shown(node: Service) -> None:
    before = reported(node, "before", pod_uid="uid-a")
    assert (before["charged"], before["node_meter"]) == (True, None)
    sent(node, *(window(seq) for seq in range(6)))
    shown = reported(node, "after", pod_uid="uid-a")
    assert (shown["charged"], shown["self_reported"]) == (False, True)
    assert shown["node_meter"] == {
        "start": "2026-11-20T08:00:00Z",
        "end": "2026-11-20T08:05:00Z",
        "windows": 5,
        "energy_mj": "30000000",
        "difference_mj": "30000000",
        "difference_percent": 100.0,
    }


def test_a_run_is_compared_with_the_windows_of_its_own_pod_only(node: Service) -> None:
    sent(node, window(0), window(1, pod_uid="uid-b", namespace="speech"))
    assert reported(node, "foreign", pod_uid="uid-b")["node_meter"] is None, "the pod of another namespace"
    assert reported(node, "without")["node_meter"] is None
    assert reported(node, "unknown", pod_uid="uid-z")["node_meter"] is None


def test_what_a_run_did_not_measure_is_not_compared_as_if_it_were_nothing(node: Service) -> None:
    sent(node, window(0))
    body = record("gap", run={"uid": "run-gap", "namespace": "vision", "pod_uid": "uid-a"})
    body["devices"][0]["intervals"][0] |= {"energy_mj": None, "method": "not_measured", "coverage": 0.0}
    assert node.post("/v1/records", body).status_code == 201
    found = node.get("/v1/records/gap").json()["node_meter"]
    assert (found["energy_mj"], found["difference_mj"], found["difference_percent"]) == ("6000000", None, None)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_f3_a_day_of_8_gpus_with_56_slices_is_caught_up_with_within_ten_minutes(node: Service, tmp_path: Path) -> None:
    log = WindowLog(tmp_path / "windows", "node-uid")
    for gpu in range(8):
        assert node.post("/v1/devices", device(uuid=f"GPU-{gpu}-"), by=NODE).status_code == 201
    for quarter in range(96):
        log.append([of_slice(quarter, gpu, part) for gpu in range(8) for part in range(7)], {})
    begun = time.monotonic()
    with over_http(node.app) as address:
        shipper = Shipper(lambda: Client(address, token_of(NODE)), log, day.Now())
        assert shipper.ship(), shipper.error
    assert time.monotonic() - begun < 600
    assert (log.accepted, shipper.quarantined) == (96 * 56 - 1, 0)
    log.close()


def of_slice(quarter: int, gpu: int, part: int) -> WindowBody:
    """A quarter-hour of one of seven pods that share a board of 140 W."""
    start = datetime(2026, 11, 20, tzinfo=UTC) + quarter * QUARTER
    return WindowBody(
        window_seq=0,
        device_uuid=f"GPU-{gpu}-",
        start=start,
        end=start + QUARTER,
        energy_start_mj=quarter * 126_000_000,
        energy_end_mj=(quarter + 1) * 126_000_000,
        active_mj=15_000_000,
        idle_mj=3_000_000,
        allocated_gpu_ns=900 * 10**9 // 7,
        method=Method.NVML_COUNTER,
        boundary=Boundary.ACCELERATOR,
        coverage=1.0,
        pod_uid=f"uid-{gpu}-{part}",
        namespace="vision",
        pod=f"serve-{gpu}-{part}",
        container="main",
    )


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_day_of_100_pods_reaches_the_api_and_each_pod_has_what_it_truly_drew(node: Service, tmp_path: Path) -> None:
    with over_http(node.app) as address:
        truth = day.live(tmp_path / "node", address, token_of(NODE))
    drawn: Counter[str] = Counter()
    nobody = 0
    with node.store._database.read() as connection:
        for uid, energy_mj in connection.execute(
            text("SELECT pod_uid, sum(active_mj + idle_mj) FROM windows GROUP BY pod_uid")
        ):
            if uid is None:
                nobody = int(energy_mj)
            else:
                drawn[uid] = int(energy_mj)
        query = "SELECT max(energy_end_mj) - min(energy_start_mj) FROM windows GROUP BY device_uuid"
        spans = connection.execute(text(query)).scalars().all()
    assert len(drawn) == 100
    assert sum(drawn.values()) + nobody == sum(spans)
    for uid, true_mj in truth.by_pod.items():
        assert drawn[uid] == pytest.approx(true_mj, rel=0.02), uid

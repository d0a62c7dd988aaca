"""Admission on a real API server: refused, allowed, scaled, replaced, rotated, and away."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.admitting import CONFIGURATION, REGISTRATION, Admitting, admitting, may
from tests.cluster.api import Api, Object, RefusedError, eventually
from tests.cluster.controlplane import ControlPlane
from tests.cluster.node import joined
from tests.cluster.programs import Clients
from tests.cluster.test_chart import bound

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("crds")]

A100 = "NVIDIA-A100-SXM4-80GB"
HOUR = {"joulegate.io/expected-duration": "1h"}
BOARD_HOUR_MJ = 400 * 3_600_000  # nameplate power of an A100, which is the p90 of a run that nothing is known of


@pytest.fixture(scope="module")
def gate(
    control_plane: ControlPlane, api: Api, tools: Clients, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Admitting]:
    editors = bound("edit", "alice")
    api.apply(editors)
    with (
        joined(control_plane, api, "gpu-0", 8, {"nvidia.com/gpu.product": A100}),
        admitting(control_plane, api, tools, tmp_path_factory.mktemp("admitting")) as made,
    ):
        yield made
    api.delete(editors)


@pytest.fixture
def alice(api: Api) -> Api:
    return api.as_user("alice", "system:authenticated")


@pytest.fixture
def closed(api: Api, gate: Admitting, namespace: str) -> str:
    """A namespace with a budget of 1 kWh, two and a half hours of one board, that refuses what nobody decides."""
    gate.bind(namespace, namespace, "1")
    source = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    api.patch(source, {"metadata": {"labels": {"joulegate.io/when-undecidable": "deny"}}})
    return namespace


def pod_spec(gpus: object = 1, **more: Any) -> Object:
    container = {"name": "main", "image": "train", "resources": {"limits": {"nvidia.com/gpu": gpus}}}
    return {"restartPolicy": "Never", "containers": [container if gpus else {"name": "main", "image": "x"}], **more}


def work(kind: str, namespace: str, spec: Object, name: str = "work", **metadata: Any) -> Object:
    versions = {"Pod": "v1", "Job": "batch/v1", "CronJob": "batch/v1"}
    whole = {"name": name, "namespace": namespace, "annotations": HOUR, **metadata}
    return {"apiVersion": versions.get(kind, "apps/v1"), "kind": kind, "metadata": whole, "spec": spec}


def job(namespace: str, gpus: object = 1, name: str = "work", **spec: Any) -> Object:
    return work("Job", namespace, {"template": {"spec": pod_spec(gpus)}, **spec}, name)


def deployment(namespace: str, replicas: int, gpus: object = 1, **pod: Any) -> Object:
    labels = {"app": "served"}
    template = {"metadata": {"labels": labels}, "spec": pod_spec(gpus, **pod) | {"restartPolicy": "Always"}}
    return work(
        "Deployment", namespace, {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    )


def running(api: Api, namespace: str) -> set[str]:
    """Uids of pods that run."""
    pods = api.all("v1", "Pod", namespace)
    return {
        each["metadata"]["uid"]
        for each in pods
        if each["status"].get("phase") == "Running" and "deletionTimestamp" not in each["metadata"]
    }


def test_a_job_that_does_not_fit_is_refused_and_a_smaller_one_runs(
    api: Api, alice: Api, gate: Admitting, closed: str
) -> None:
    with pytest.raises(RefusedError, match="exceeded quota: budget") as refused:
        alice.create(job(closed, gpus=4))
    assert (refused.value.status, refused.value.reason) == (429, "TooManyRequests")
    assert "would have fitted" in str(refused.value)
    assert gate.pending(closed) == 0
    alice.create(job(closed, gpus=2))
    assert gate.pending(closed) == 2 * BOARD_HOUR_MJ
    eventually(lambda: running(api, closed), saying="the pod of the admitted Job runs")
    assert gate.pending(closed) == 2 * BOARD_HOUR_MJ, "its pod is held with it"


def test_a_dry_run_decides_and_writes_nothing(alice: Api, gate: Admitting, closed: str, tools: Clients) -> None:
    assert may(alice, job(closed, gpus=2))
    assert not may(alice, job(closed, gpus=4))
    done = subprocess.run(
        [str(tools.kubectl), f"--kubeconfig={gate.plane.kubeconfig}", "create", "--dry-run=server", "-f", "-"],
        input=json.dumps(job(closed, gpus=4)),
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "TooManyRequests" in done.stderr
    assert gate.pending(closed) == 0


def test_a_deployment_grows_by_its_scale_only_as_far_as_the_budget_goes(
    api: Api, alice: Api, gate: Admitting, closed: str
) -> None:
    made = alice.create(deployment(closed, 1))
    eventually(lambda: len(running(api, closed)) == 1)
    with pytest.raises(RefusedError, match="GrowthRefused"):
        alice.patch(made, {"spec": {"replicas": 3}}, "scale")
    with pytest.raises(RefusedError, match="GrowthRefused"):
        alice.patch(made, {"spec": {"replicas": 3}})
    alice.patch(made, {"spec": {"replicas": 2}}, "scale")
    eventually(lambda: len(running(api, closed)) == 2)
    assert gate.pending(closed) == 2 * BOARD_HOUR_MJ


def test_a_pod_that_replaces_another_is_never_refused(api: Api, alice: Api, gate: Admitting, closed: str) -> None:
    alice.create(deployment(closed, 2))
    eventually(lambda: len(running(api, closed)) == 2)
    before = running(api, closed)
    gate.bind(closed, closed, "0")
    assert not may(alice, job(closed, gpus=1))
    for each in api.all("v1", "Pod", closed):
        api.delete(each)
    eventually(lambda: len(running(api, closed) - before) == 2, saying="both pods were replaced")


def test_the_certificate_is_rotated_while_it_serves(alice: Api, gate: Admitting, closed: str) -> None:
    before = gate.serial()
    gate.plane.serving_pair("admission")
    eventually(lambda: gate.serial() != before, saying="the new certificate is served")
    assert may(alice, job(closed, gpus=1))
    assert not may(alice, job(closed, gpus=4))


def test_with_the_api_gone_closed_refuses_open_admits_and_pods_are_replaced(
    api: Api, alice: Api, gate: Admitting, closed: str
) -> None:
    source = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"{closed}-open"}}
    api.create(source)
    alice.create(deployment(closed, 1))
    before = eventually(lambda: running(api, closed))
    gate.stop(signal.SIGKILL)
    try:
        with pytest.raises(RefusedError, match="failed calling webhook"):
            alice.create(job(closed, name="refused"))
        api.create(job(f"{closed}-open", name="admitted"))
        alice.create(work("Pod", closed, pod_spec(0), "without-boards"), dryRun="All")
        api.create(work("Pod", "kube-system", pod_spec(1), "system"), dryRun="All")
        for each in api.all("v1", "Pod", closed):
            api.delete(each)
        eventually(lambda: running(api, closed) - before, saying="the pod was replaced with the API gone")
    finally:
        gate.start()
        api.delete(source)
    assert not may(alice, job(closed, gpus=4))


def test_the_label_that_closes_a_namespace_is_the_operators(api: Api, gate: Admitting, closed: str) -> None:
    assert gate.webhooks
    api.apply(bound("cluster-admin", "root"))
    source = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": closed}}
    with pytest.raises(RefusedError, match="set by Joulegate's operator only"):
        api.as_user("root").patch(source, {"metadata": {"labels": {"joulegate.io/when-undecidable": None}}})
    api.as_user("root").patch(source, {"metadata": {"labels": {"team": "vision"}}})


def test_the_configuration_is_what_was_decided(api: Api, gate: Admitting) -> None:
    assert gate.webhooks
    named = {"apiVersion": REGISTRATION, "kind": CONFIGURATION, "metadata": {"name": "joulegate"}}
    entries = {each["name"]: each for each in api.read(named)["webhooks"]}
    policies = {name: each["failurePolicy"] for name, each in entries.items()}
    assert policies == {
        "closed.joulegate.io": "Fail",
        "open.joulegate.io": "Ignore",
        "children.joulegate.io": "Ignore",
    }
    assert {each["sideEffects"] for each in entries.values()} == {"NoneOnDryRun"}
    assert {each["timeoutSeconds"] for each in entries.values()} <= {2, 3}

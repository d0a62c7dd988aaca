"""Whole workloads run on the fake node: the real scheduler places them and the real controllers see them end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.api import Api, Object, RefusedError, eventually
from tests.cluster.controlplane import ControlPlane
from tests.cluster.node import FAILS, RUNS_FOR, FakeNode, joined

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def node(control_plane: ControlPlane, api: Api) -> Iterator[FakeNode]:
    """A node with four GPUs."""
    labels = {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB"}
    with joined(control_plane, api, "gpu-1", 4, labels) as made:
        yield made


def job(namespace: str, name: str, gpus: int, **annotations: str) -> Object:
    container = {"name": "main", "image": "nothing", "resources": {"limits": {"nvidia.com/gpu": str(gpus)}}}
    marks = {key.replace("_", "-"): value for key, value in annotations.items()}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "backoffLimit": 0,
            "template": {
                "metadata": {"annotations": {f"tests.joulegate.io/{key}": value for key, value in marks.items()}},
                "spec": {"restartPolicy": "Never", "containers": [container]},
            },
        },
    }


def finished(api: Api, source: Object) -> set[str]:
    conditions = api.read(source)["status"].get("conditions", [])
    return {each["type"] for each in conditions if each["status"] == "True"} & {"Complete", "Failed"}


def test_the_annotations_are_those_that_the_tests_write() -> None:
    assert {RUNS_FOR, FAILS} == {"tests.joulegate.io/runs-for", "tests.joulegate.io/fails"}


def test_a_job_runs_for_its_time_and_completes(api: Api, node: FakeNode, namespace: str) -> None:
    made = api.create(job(namespace, "short", 4, runs_for="0.5"))
    assert eventually(lambda: api.all("v1", "Pod", namespace, fieldSelector="status.phase=Running"))
    assert eventually(lambda: finished(api, made)) == {"Complete"}
    (pod,) = api.all("v1", "Pod", namespace)
    assert (pod["spec"]["nodeName"], pod["status"]["phase"]) == (node.name, "Succeeded")


def test_a_job_that_fails_has_failed(api: Api, node: FakeNode, namespace: str) -> None:
    made = api.create(job(namespace, "failing", 1, runs_for="0", fails="yes"))
    assert eventually(lambda: finished(api, made)) == {"Failed"}


def test_what_asks_for_more_gpus_than_are_free_waits(api: Api, node: FakeNode, namespace: str) -> None:
    first = api.create(job(namespace, "first", 3))
    eventually(lambda: api.all("v1", "Pod", namespace, fieldSelector="status.phase=Running"))
    second = api.create(job(namespace, "second", 2, runs_for="0"))
    waiting = eventually(lambda: api.all("v1", "Pod", namespace, fieldSelector="status.phase=Pending"))
    assert waiting[0]["metadata"]["name"].startswith("second")
    api.delete(first)
    assert eventually(lambda: finished(api, second)) == {"Complete"}


def test_the_node_may_not_act_for_another(node: FakeNode) -> None:
    with pytest.raises(RefusedError, match="not allowed to modify node"):
        node.api.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "gpu-2"}})

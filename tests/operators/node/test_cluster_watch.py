"""Pods, claims and the kubelet over real connections: list, watch, a past that is gone, a server that is away."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from joulegate.core.errors import UnavailableError
from joulegate_operators.kube import connect
from joulegate_operators.node.allocation import Place
from joulegate_operators.node.claims import NodeClaims, served_version
from joulegate_operators.node.pod_resources import Claimed, PodResources
from joulegate_operators.node.pods import NodePods
from tests.operators.node.doubles import Cluster, Kubelet, kubeconfig, pod_object


def until(true: Callable[[], object], within_s: float = 10.0) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def address(cluster: Cluster) -> Iterator[str]:
    with cluster.serving() as address:
        yield address


@pytest.fixture
def pods(cluster: Cluster, address: str, tmp_path: Path) -> Iterator[NodePods]:
    pods = NodePods(connect(kubeconfig(tmp_path, address)), "node-1")
    yield pods
    pods.informer.stop()


def test_a_pod_made_again_under_its_name_is_known_by_its_new_uid(cluster: Cluster, pods: NodePods) -> None:
    cluster.put(pod_object("uid-a", "job-0"))
    pods.informer.start()
    until(lambda: pods.snapshot().uid_of("vision", "job-0") == "uid-a")
    cluster.put(pod_object("uid-a", "job-0", phase="Failed"))
    until(lambda: pods.snapshot().uid_of("vision", "job-0") == "")
    cluster.remove("uid-a")
    cluster.put(pod_object("uid-b", "job-0"))
    until(lambda: pods.snapshot().uid_of("vision", "job-0") == "uid-b")
    assert pods.snapshot().uid_of("vision", "other") is None
    assert set(cluster.selectors) == {"spec.nodeName=node-1"}


def test_a_watch_whose_past_is_gone_begins_with_a_new_list(cluster: Cluster, pods: NodePods) -> None:
    pods.informer.start()
    until(pods.informer.synced.is_set)
    cluster.events += [{"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "1"}}}]
    cluster.pods["uid-a"] = pod_object("uid-a", "job-0")  # missed by the watch
    cluster.events += [{"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "2"}}}]
    cluster.compact()
    until(lambda: pods.snapshot().uid_of("vision", "job-0") == "uid-a")


def test_a_server_that_is_away_is_asked_again_and_what_was_known_stays(cluster: Cluster, tmp_path: Path) -> None:
    with cluster.serving() as address:
        cluster.put(pod_object("uid-a", "job-0"))
        pods = NodePods(connect(kubeconfig(tmp_path, address)), "node-1")
        pods.informer.start()
        until(pods.informer.synced.is_set)
    until(lambda: pods.informer.error)
    assert pods.snapshot().uid_of("vision", "job-0") == "uid-a"
    pods.informer.stop()


def test_without_a_way_to_the_cluster_it_is_said() -> None:
    with pytest.raises(UnavailableError, match="no way to the cluster"):
        connect(Path("/nowhere/kubeconfig"))


@pytest.mark.parametrize("version", ["v1", "v1beta2", "v1beta1", None])
def test_the_newest_served_version_of_resource_slices_is_found(
    cluster: Cluster, address: str, tmp_path: Path, version: str | None
) -> None:
    cluster.resource_version = version
    assert served_version(connect(kubeconfig(tmp_path, address))) == version


def test_a_claimed_device_is_found_in_the_newest_generation_of_its_pool(
    cluster: Cluster, address: str, tmp_path: Path
) -> None:
    for generation, uuid in ((1, "GPU-old0"), (2, "GPU-new0")):
        device = {"name": "gpu-0", "attributes": {"uuid": {"string": uuid}, "type": {"string": "gpu"}}}
        pool = {"name": "node-1", "generation": generation}
        cluster.slices.append(
            {
                "metadata": {"uid": f"slice-{generation}", "resourceVersion": "1"},
                "spec": {"driver": "gpu.nvidia.com", "pool": pool, "devices": [device]},
            }
        )
    result = {"driver": "gpu.nvidia.com", "pool": "node-1", "device": "gpu-0", "adminAccess": True}
    cluster.claims["monitor"] = {"status": {"allocation": {"devices": {"results": [result]}}}}
    claims = NodeClaims(connect(kubeconfig(tmp_path, address)), "node-1", "v1")
    claims.informer.start()
    until(claims.informer.synced.is_set)
    work, monitor = (Claimed(f"vision/{name}", "gpu.nvidia.com", "node-1", "gpu-0") for name in ("work", "monitor"))
    assert claims.place(work) == Place("GPU-new0")
    assert (claims.only_watches(work), claims.only_watches(monitor)) == (False, True)
    claims.informer.stop()


def test_the_kubelet_is_asked_over_its_socket(tmp_path: Path) -> None:
    kubelet = Kubelet(
        held={("vision", "a", "main"): {"nvidia.com/gpu": ["GPU-2222", "GPU-1111"], "rdma/hca": ["mlx5_0"]}},
        claimed={("vision", "b", "main"): [("claim", "gpu.nvidia.com", "node-1", "gpu-0")]},
        allocatable={"nvidia.com/gpu": ["GPU-1111", "GPU-2222"]},
    )
    with kubelet.serving(tmp_path / "kubelet.sock"):
        resources = PodResources(tmp_path / "kubelet.sock")
        a, b = resources.containers()
        assert (a.namespace, a.pod, a.name) == ("vision", "a", "main")
        assert a.ids["nvidia.com/gpu"] == ("GPU-1111", "GPU-2222")
        assert b.claimed == (Claimed("vision/claim", "gpu.nvidia.com", "node-1", "gpu-0"),)
        assert resources.allocatable() == {"nvidia.com/gpu": ("GPU-1111", "GPU-2222")}
        resources.close()


def test_a_kubelet_that_is_away_is_an_error_that_says_so(tmp_path: Path) -> None:
    resources = PodResources(tmp_path / "nobody.sock")
    with pytest.raises(UnavailableError, match="pod-resources socket"):
        resources.containers()
    resources.close()

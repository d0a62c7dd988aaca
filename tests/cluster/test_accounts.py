"""Tokens that the real API server projects: it names the node of the pod, and forgets the token with the pod."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from joulegate_api.cluster import Attributes, Cluster, ClusterAddress, ClusterError, Identity, deadline_in, path_to
from tests.cluster.api import Api, Object, eventually
from tests.cluster.controlplane import ControlPlane
from tests.cluster.node import FakeNode, joined

pytestmark = pytest.mark.cluster

NODE = "metered-1"
AUDIENCE = "joulegate"


@pytest.fixture(scope="module")
def node(control_plane: ControlPlane, api: Api) -> Iterator[FakeNode]:
    """A node that runs pods."""
    with joined(control_plane, api, NODE, 1) as made:
        yield made


@pytest.fixture
def meter(api: Api, node: FakeNode, namespace: str) -> Object:
    """A pod of the node meter's account on the node."""
    api.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "meter", "namespace": namespace}})
    pod = api.create(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "meter-1", "namespace": namespace},
            "spec": {
                "serviceAccountName": "meter",
                "nodeName": node.name,
                "containers": [{"name": "main", "image": "nothing"}],
            },
        }
    )
    return {"apiVersion": "v1", "kind": "Pod", **pod}


@pytest.fixture
def reviewer(api: Api, control_plane: ControlPlane, namespace: str) -> Iterator[Cluster]:
    """The API's client, under an account with the right to ask and no other."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "api", "namespace": namespace}}
    api.create(account)
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": f"{namespace}-reviews"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:auth-delegator"},
        "subjects": [{"kind": "ServiceAccount", "name": "api", "namespace": namespace}],
    }
    api.create(binding)
    file = control_plane.kubeconfig.parent / f"{namespace}.token"
    file.write_text(token_of(api, namespace, "api", audience=None))
    server = json.loads(control_plane.kubeconfig.read_text())["clusters"][0]["cluster"]
    cluster = Cluster(ClusterAddress(server["server"], Path(server["certificate-authority"]), file))
    yield cluster
    cluster.close()
    api.delete(binding)


def token_of(
    api: Api,
    namespace: str,
    account: str,
    *,
    audience: str | None = AUDIENCE,
    pod: Object | None = None,
    seconds: int = 600,
) -> str:
    """A token as the kubelet asks for it when it projects one into a pod."""
    spec: Object = {"audiences": [audience] if audience else [], "expirationSeconds": seconds}
    if pod is not None:
        uid = pod["metadata"]["uid"]
        spec["boundObjectRef"] = {"apiVersion": "v1", "kind": "Pod", "name": pod["metadata"]["name"], "uid": uid}
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
    return str(api.request("POST", path, body)["status"]["token"])


def test_a_projected_token_names_its_account_and_its_node(
    api: Api, namespace: str, meter: Object, reviewer: Cluster
) -> None:
    found = reviewer.token_review(token_of(api, namespace, "meter", pod=meter), AUDIENCE, deadline_in(10))
    assert found is not None
    assert found.username == f"system:serviceaccount:{namespace}:meter"
    assert found.node == NODE


def test_a_token_that_is_bound_to_no_pod_has_no_node(
    api: Api, namespace: str, meter: Object, reviewer: Cluster
) -> None:
    found = reviewer.token_review(token_of(api, namespace, "meter"), AUDIENCE, deadline_in(10))
    assert found is not None
    assert found.node is None


def test_a_token_for_another_audience_and_a_changed_one_are_nobodys(
    api: Api, namespace: str, meter: Object, reviewer: Cluster
) -> None:
    other = token_of(api, namespace, "meter", audience="other", pod=meter)
    assert reviewer.token_review(other, AUDIENCE, deadline_in(10)) is None
    head, body, proof = token_of(api, namespace, "meter", pod=meter).split(".")
    changed = ("A" if proof[0] != "A" else "B") + proof[1:]
    assert reviewer.token_review(f"{head}.{body}.{changed}", AUDIENCE, deadline_in(10)) is None


def test_a_token_ends_with_its_pod(api: Api, namespace: str, meter: Object, reviewer: Cluster) -> None:
    token = token_of(api, namespace, "meter", pod=meter)
    api.delete(meter)
    eventually(lambda: not api.exists(meter))
    # The API server itself remembers a token that it proved for some seconds.
    assert eventually(lambda: reviewer.token_review(token, AUDIENCE, deadline_in(10)) is None)


def test_the_clusters_rules_are_asked_and_nothing_else_is_allowed(
    api: Api, namespace: str, meter: Object, reviewer: Cluster
) -> None:
    who = Identity(f"system:serviceaccount:{namespace}:api", groups=("system:serviceaccounts",))
    create = Attributes("create", "authentication.k8s.io", "tokenreviews")
    assert reviewer.subject_access_review(who, create, deadline_in(10))
    assert not reviewer.subject_access_review(who, Attributes("use", "joulegate.io", "budgets", "x"), deadline_in(10))
    with pytest.raises(ClusterError) as raised:
        reviewer.get(path_to("api", "v1", "namespaces", namespace, "pods", "meter-1"), deadline_in(10))
    assert raised.value.status == 403

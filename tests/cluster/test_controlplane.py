"""The control plane is a real one: rights, certificates, tokens, controllers, a scheduler."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cluster.api import Api, RefusedError, eventually
from tests.cluster.controlplane import ControlPlane, running_since
from tests.cluster.programs import KUBERNETES, Clients

pytestmark = pytest.mark.cluster

JOB = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "one"}}
POD_SPEC = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "nothing"}]}


def test_it_is_the_kubernetes_that_was_asked_for(api: Api) -> None:
    assert api.request("GET", "/version")["gitVersion"] == f"v{KUBERNETES}"


def test_an_account_may_do_only_what_a_role_says(api: Api, namespace: str) -> None:
    user = api.as_user("jane")
    path = api.path("v1", "ConfigMap", namespace)
    with pytest.raises(RefusedError, match="cannot list resource"):
        user.request("GET", path)
    name, subject = {"name": "reader", "namespace": namespace}, {"kind": "User", "name": "jane"}
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]
    group = "rbac.authorization.k8s.io"
    api.create({"apiVersion": f"{group}/v1", "kind": "Role", "metadata": name, "rules": rules})
    api.create(
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": name,
            "roleRef": {"apiGroup": group, "kind": "Role", "name": "reader"},
            "subjects": [{**subject, "apiGroup": group}],
        }
    )
    assert eventually(lambda: allowed(user, path))


def allowed(user: Api, path: str) -> bool:
    try:
        user.request("GET", path)
    except RefusedError:
        return False
    return True


def test_the_token_of_an_account_is_reviewed_with_its_audience(api: Api, namespace: str) -> None:
    path = api.path("v1", "ServiceAccount", namespace, "default")
    eventually(lambda: api.exists({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account(namespace)}))
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": ["joulegate"]}}
    token = api.request("POST", f"{path}/token", asked)["status"]["token"]
    review = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "metadata": {},
        "spec": {"token": token, "audiences": ["joulegate"]},
    }
    status = api.create(review)["status"]
    assert status["user"]["username"] == f"system:serviceaccount:{namespace}:default"
    assert (status["authenticated"], status["audiences"]) == (True, ["joulegate"])
    other = {**review, "spec": {"token": token, "audiences": ["somebody-else"]}}
    assert "authenticated" not in api.create(other)["status"]


def account(namespace: str) -> dict[str, str]:
    return {"name": "default", "namespace": namespace}


def test_controllers_act_under_accounts_of_their_own_and_pods_wait_for_a_node(api: Api, namespace: str) -> None:
    api.create({**JOB, "metadata": {"name": "one", "namespace": namespace}, "spec": {"template": {"spec": POD_SPEC}}})
    (pod,) = eventually(lambda: api.all("v1", "Pod", namespace))
    assert pod["metadata"]["ownerReferences"][0]["kind"] == "Job"
    # The scheduler has looked at it.
    eventually(lambda: api.read(pod)["status"].get("conditions"), saying="scheduled or not")


def test_kubectl_and_helm_talk_to_it(control_plane: ControlPlane, tools: Clients) -> None:
    environment = {"KUBECONFIG": str(control_plane.kubeconfig), "HOME": str(control_plane.folder)}
    for command in ([str(tools.kubectl), "get", "namespaces", "-o", "name"], [str(tools.helm), "list", "-A", "-q"]):
        done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_what_a_killed_owner_left_is_stopped_and_a_stranger_is_not(tmp_path: Path) -> None:
    left, stranger = (os.posix_spawn("/bin/sleep", ["sleep", "30"], {}) for _ in range(2))
    # The stranger has the id of one of ours that ended long ago.
    started = {"etcd": (stranger, "earlier"), "kube-apiserver": (left, running_since(left))}
    (tmp_path / "pids.json").write_text(json.dumps(started), encoding="utf-8")
    plane = ControlPlane(tmp_path)
    assert not plane.is_running()
    plane.stop()
    assert running_since(left) is None
    assert running_since(stranger) is not None
    os.kill(stranger, signal.SIGKILL)
    os.waitpid(stranger, 0)

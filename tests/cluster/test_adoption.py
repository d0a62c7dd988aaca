"""A budget over a namespace where work runs: nothing that runs is disturbed, and it enforces once that is held for."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from joulegate.client import ApiError
from tests.cluster.api import Api, RefusedError, eventually
from tests.cluster.controlplane import ControlPlane
from tests.cluster.node import joined
from tests.cluster.operating import Operating, operating
from tests.cluster.programs import Clients
from tests.cluster.test_admission import A100, deployment, job, running
from tests.cluster.test_chart import bound
from tests.cluster.test_operator import budget, conditions, settled

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("crds")]


@pytest.fixture(scope="module")
def world(
    control_plane: ControlPlane, api: Api, tools: Clients, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Operating]:
    editors = bound("edit", "alice")
    api.apply(editors)
    with (
        joined(control_plane, api, "adopting-0", 8, {"nvidia.com/gpu.product": A100}),
        operating(control_plane, api, tools, tmp_path_factory.mktemp("operating")) as made,
    ):
        yield made
    api.delete(editors)


@pytest.fixture
def alice(api: Api) -> Api:
    return api.as_user("alice", "system:authenticated")


def test_a_budget_audits_until_the_operator_has_told_what_runs_and_then_it_enforces(
    api: Api, alice: Api, world: Operating, namespace: str
) -> None:
    served = alice.create(deployment(namespace, 1))
    eventually(lambda: len(running(api, namespace)) == 1, saying="it runs without a budget")
    # From here the operator is imitated by its own identity: it has brought the budget and told nothing yet.
    world.kill()
    source = budget(
        namespace, scope={"namespaces": [namespace]}, period={"unit": "Year"}, limits={"energyKwh": "0.001"}
    )
    made = api.apply(source)
    world.client.put(f"/v1/budgets/{namespace}", source)
    assert namespace in world.client.put("/v1/adoptions/local", {"told_since": None})["adopting"]
    (before,) = api.all("v1", "Pod", namespace)
    api.delete(before)
    eventually(lambda: running(api, namespace) - {before["metadata"]["uid"]}, saying="the pod is replaced")
    young = alice.create(job(namespace, name="young"))
    (hold,) = world.holds(young)
    assert (hold["verdict"]["outcome"], hold["verdict"]["reason"]) == ("allow", "Warned")
    assert "still being adopted" in hold["verdict"]["message"]
    world.start()
    settled(api, made)
    assert conditions(api, made)["Enforced"]["reason"] == "Adopted"
    assert world.holds(served), "what ran before is held for"
    with pytest.raises(RefusedError, match=f"exceeded quota: budget {namespace}"):
        alice.create(job(namespace, name="late"))


def test_budget_apply_writes_the_object_of_the_cluster_where_that_is_the_source(
    api: Api, tools: Clients, world: Operating, namespace: str, tmp_path: Path
) -> None:
    source = budget(namespace, scope={"namespaces": [namespace]}, period={"unit": "Year"}, limits={"energyKwh": "7"})
    with pytest.raises(ApiError, match="managed_by_cluster"):
        world.gate.client.put(f"/v1/budgets/{namespace}", source)
    file = tmp_path / "budget.yaml"
    file.write_text(json.dumps(source))
    command = [str(Path(sys.executable).parent / "joulegate"), "budget", "apply", "-f", str(file)]
    environment = world.gate.environment | {"KUBECONFIG": str(world.gate.plane.kubeconfig)}
    reaching = environment | {"PATH": f"{tools.kubectl.parent}:{environment['PATH']}"}
    done = subprocess.run(command, env=reaching, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "the cluster is the source" in done.stderr
    settled(api, source)
    assert world.gate.client.get(f"/v1/budgets/{namespace}")["spec"]["limits"] == {"energyKwh": "7"}
    without = subprocess.run(
        command, env=environment | {"PATH": str(tmp_path)}, check=False, capture_output=True, text=True
    )
    assert without.returncode == 1
    assert "there is no kubectl" in without.stderr

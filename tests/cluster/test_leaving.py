"""After an uninstall nothing hangs: what waited at a gate of Joulegate goes, by the account of the chart's hook."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.cluster.admitting import REGISTRATION
from tests.cluster.api import Api, Object, eventually
from tests.cluster.controlplane import ControlPlane
from tests.cluster.kueue import GATED_BY, QUEUE
from tests.cluster.node import joined
from tests.cluster.operating import Operating, operating
from tests.cluster.programs import Clients
from tests.cluster.test_admission import A100, job, pod_spec, work
from tests.cluster.test_chart import bound, rendered
from tests.cluster.test_processes import IMAGE, LEAVING
from tests.cluster.test_queue import limited

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("crds")]


@pytest.fixture(scope="module")
def world(
    control_plane: ControlPlane, api: Api, tools: Clients, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Operating]:
    editors = bound("edit", "alice")
    api.apply(editors)
    with (
        joined(control_plane, api, "leaving-0", 8, {"nvidia.com/gpu.product": A100}),
        operating(control_plane, api, tools, tmp_path_factory.mktemp("leaving")) as made,
    ):
        yield made
    api.delete(editors)


@pytest.fixture
def uninstalled(api: Api, tools: Clients, world: Operating) -> Iterator[list[Object]]:
    """What the hook has of its own once everything else of the release is gone; the webhooks come back afterwards."""
    own = [each for each in rendered(tools, *IMAGE) if each["metadata"]["name"] == LEAVING]
    yield own
    for source in world.gate.webhooks:
        api.apply(source)


def leave(world: Operating) -> str:
    kubeconfig = {"JOULEGATE_KUBECONFIG": str(world.gate.plane.kubeconfig_of(LEAVING))}
    environment = {key: value for key, value in os.environ.items() if not key.startswith("JOULEGATE_")} | kubeconfig
    command = [sys.executable, "-m", "joulegate_operators.leaving"]
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_waits_is_let_go_and_what_its_author_suspended_stays(
    api: Api, world: Operating, namespace: str, uninstalled: list[Object]
) -> None:
    limited(api, namespace, "0", enforcement="Queue")
    alice = api.as_user("alice", "system:authenticated")
    waiting = alice.create(job(namespace))
    gated = alice.create(work("Pod", namespace, pod_spec(), "by-itself"))
    own = alice.create(job(namespace, name="own", suspend=True))
    queued = job(namespace, name="queued", suspend=True)
    queued["metadata"]["labels"] = dict(QUEUE)
    kept = alice.create(queued)
    assert kept["metadata"]["annotations"][GATED_BY] == "joulegate.io/budget"
    world.kill()
    for source in world.gate.webhooks:
        if source["apiVersion"] == REGISTRATION:
            api.delete(source)
    (role,) = [each for each in uninstalled if each["kind"] == "ClusterRole"]
    api.apply(role)
    api.apply(bound(LEAVING, LEAVING))
    assert leave(world) == "3 objects were let go\n"
    eventually(lambda: api.read(waiting)["status"].get("active") == 1, saying="the job runs")
    eventually(lambda: api.read(gated)["status"].get("phase") == "Running", saying="the pod runs")
    assert api.read(own)["spec"]["suspend"] is True
    assert api.read(kept)["spec"]["suspend"] is True, "Kueue lets it go"
    assert GATED_BY not in api.read(kept)["metadata"].get("annotations", {})
    assert leave(world) == "0 objects were let go\n"

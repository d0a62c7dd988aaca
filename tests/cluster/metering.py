"""The real node meter on a fake node: its own process, account, projected token and scripted boards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.admitting import Admitting
from tests.cluster.api import Api, Object, eventually
from tests.cluster.boards import Boards
from tests.cluster.node import FakeNode
from tests.cluster.programs import Clients
from tests.cluster.test_accounts import token_of
from tests.cluster.test_chart import RBAC, rendered
from tests.nvml.fleet import compile_library

HOME = "joulegate-system"
ACCOUNT = "joulegate-node"


def _installed(api: Api, tools: Clients, node: str) -> Object:
    """The account with the chart's role for it and no more, and the pod that its token is bound to."""
    role = next(
        each for each in rendered(tools) if (each["kind"], each["metadata"]["name"]) == ("ClusterRole", ACCOUNT)
    )
    binding: Object = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "test-joulegate-node"},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": ACCOUNT},
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": HOME}],
    }
    for source in (
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": HOME}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT, "namespace": HOME}},
        role,
        binding,
    ):
        api.apply(source)
    container = {"name": "main", "image": "nothing"}
    spec = {"serviceAccountName": ACCOUNT, "nodeName": node, "containers": [container]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"meter-{node}", "namespace": HOME}, "spec": spec}
    return {**pod, **api.create(pod)}


def _kubeconfig(plane_kubeconfig: Path, path: Path, token: str) -> Path:
    """The settings of a client that has a token and nothing else."""
    settings = json.loads(plane_kubeconfig.read_text(encoding="utf-8"))
    settings["users"][0]["user"] = {"token": token}
    path.touch(0o600)
    path.write_text(json.dumps(settings), encoding="utf-8")
    return path


@contextmanager
def metered(
    gate: Admitting, api: Api, tools: Clients, node: FakeNode, boards: Boards, folder: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """The meter of `node`, from its first look at who holds its boards to an orderly end."""
    folder.mkdir(parents=True)
    pod = _installed(api, tools, node.name)
    token = folder / "token"
    token.touch(0o600)
    token.write_text(token_of(api, HOME, ACCOUNT, pod=pod))
    own = _kubeconfig(
        gate.plane.kubeconfig, folder / "kubeconfig", token_of(api, HOME, ACCOUNT, audience=None, pod=pod)
    )
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("JOULEGATE_")},
        "LD_LIBRARY_PATH": str(compile_library(folder).parent),
        "FLEET_SCRIPT": str(boards.fleet.write(folder)),
        "JOULEGATE_NODE": node.name,
        "JOULEGATE_ADDRESS": gate.client.address,
        "JOULEGATE_TOKEN_FILE": str(token),
        "JOULEGATE_METER_FOLDER": str(folder / "state"),
        "JOULEGATE_KUBELET_SOCKET": str(folder / "kubelet.sock"),
        "JOULEGATE_KUBECONFIG": str(own),
        "JOULEGATE_METER_PORT": "0",
        "JOULEGATE_METER_INTERVAL_MS": "100",
        "JOULEGATE_METER_ALLOCATION_MS": "100",
    }
    with boards.serving(folder / "kubelet.sock"), (folder / "meter.log").open("ab") as log:
        command = [sys.executable, "-m", "joulegate_operators.node.main"]
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            asked = boards.kubelet.asked
            # What ran before a node's first meter is measured by nobody; that is no part of what is shown here.
            eventually(lambda: boards.kubelet.asked > asked + 1 or process.poll() is not None, saying="the meter looks")
            yield process
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=30) == 0, (folder / "meter.log").read_text()
        finally:
            process.kill()
            process.wait()
            api.delete(pod)

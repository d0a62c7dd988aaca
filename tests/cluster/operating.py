"""A Joulegate API that admits, and an operator beside it under the chart's own role."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from joulegate.client import Client
from joulegate.core.objects import API_VERSION
from tests.cluster.admitting import Admitting, admitting
from tests.cluster.api import Api, Object
from tests.cluster.controlplane import ControlPlane
from tests.cluster.programs import Clients
from tests.cluster.test_accounts import token_of
from tests.cluster.test_chart import bound, rendered

HOME = "joulegate-system"
OPERATOR = "joulegate-operator"
_LASTS_S = 7_200
"""Longer than any module of tests: nobody renews the token here, as the kubelet would."""
QUICK = {"JOULEGATE_OPERATOR_RESYNC_S": "1", "JOULEGATE_OPERATOR_RELIST_S": "3"}
"""A pace for tests; an installation takes the operator's own."""


@dataclass(slots=True)
class Operating:
    """The API of `gate`, and operators that can be started and killed."""

    gate: Admitting
    api: Api
    address: str | None = None
    """Where the operators call; by default the API of `gate` itself."""
    operators: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    pace: Mapping[str, str] = field(default_factory=lambda: QUICK)

    def start(self, name: str = "operator") -> None:
        environment = {
            **self.gate.environment,
            "JOULEGATE_KUBECONFIG": str(self.gate.plane.kubeconfig_of(OPERATOR)),
            "JOULEGATE_ADDRESS": self.address or self.gate.client.address,
            "JOULEGATE_TOKEN_FILE": str(self.token),
            **self.pace,
        }
        with (self.gate.home / f"{name}.log").open("ab") as log:
            command = [sys.executable, "-m", "joulegate_operators.main"]
            self.operators[name] = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def kill(self, name: str = "operator", how: signal.Signals = signal.SIGKILL) -> int:
        process = self.operators.pop(name)
        process.send_signal(how)
        return process.wait(timeout=30)

    @property
    def token(self) -> Path:
        """The token of its own account, as the kubelet projects it; the API asks the cluster whose it is."""
        path = self.gate.home / "operator-token"
        if not path.exists():
            path.touch(0o600)
            path.write_text(token_of(self.api, HOME, OPERATOR, seconds=_LASTS_S))
        return path

    @property
    def client(self) -> Client:
        """The operator's own identity at the API."""
        return Client(self.gate.client.address, self.token.read_text())

    def holds(self, source: Object) -> list[dict[str, Any]]:
        return list(self.gate.client.get(f"/v1/holds?root_uid={source['metadata']['uid']}")["holds"])


@contextmanager
def operating(
    plane: ControlPlane, api: Api, tools: Clients, home: Path, database: str | None = None
) -> Iterator[Operating]:
    """Both, and the policy that lets the operator alone close namespaces."""
    with admitting(plane, api, tools, home, database) as gate, operates(api, tools, gate) as made:
        yield made


@contextmanager
def operates(
    api: Api, tools: Clients, gate: Admitting, address: str | None = None, pace: Mapping[str, str] = QUICK
) -> Iterator[Operating]:
    """An operator beside an API, and the policy that lets it alone close namespaces."""
    made = Operating(gate, api, address, pace=pace)
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": HOME}})
    api.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": OPERATOR, "namespace": HOME}})
    named = {OPERATOR, "joulegate-namespaces"}
    for source in rendered(tools, "--set", "admission.install=true", "--set", f"operator.username={OPERATOR}"):
        if source["metadata"]["name"] in named:
            api.apply(source)
    api.apply(bound(OPERATOR, OPERATOR))
    try:
        made.start()
        yield made
    finally:
        for name in list(made.operators):
            made.kill(name)
        for kind in ("BudgetException", "Budget"):
            for each in api.all(API_VERSION, kind):
                api.delete(each)


def events(api: Api, source: Object) -> dict[str, str]:
    """What people are told on an object: messages by reason."""
    found = api.all("v1", "Event", source["metadata"]["namespace"])
    uid = source["metadata"]["uid"]
    return {each["reason"]: each["message"] for each in found if each["involvedObject"].get("uid") == uid}
